"""What an export would hold, without reading its pictures: rows, what is left out and why, the size, the first rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import func, select

from annotations.db.tables import ImageRow
from annotations.export.context import StoreContext
from annotations.export.exporter import made_rows
from annotations.export.kind import LeftOut, Row
from annotations.export.query import EVERYTHING, Query
from annotations.export.registry import KINDS
from annotations.store.store import Store

PLACEHOLDER = b"\x89PNG"  # stands for every picture


@dataclass
class Survey:
    """Counts of what an export of a kind would hold."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    trajectories: int = 0
    bytes: int = 0  # about
    first: list[Row] = field(default_factory=list)


def survey(
    store: Store, kind: str, query: Query = EVERYTHING, shown: int = 0, stopped: Callable[[], bool] = lambda: False
) -> Survey:
    """Of all that the query keeps, and the first `shown` rows, in which PLACEHOLDER stands for pictures."""
    with store.database.reading() as session:
        usual = int(session.scalar(select(func.avg(ImageRow.size))) or 0)
    read = 0

    def picture(_: str) -> bytes:
        nonlocal read
        read += 1
        return PLACEHOLDER

    found = Survey()
    for _, made in made_rows(StoreContext(store, query, picture), KINDS[kind]):
        for row in made:
            if isinstance(row, LeftOut):
                found.left_out[row.reason] += 1
                continue
            found.rows += 1
            found.bytes += row.size
            found.counts.update(row.labels)
            if len(found.first) < shown:
                found.first.append(row)
        found.trajectories += any(isinstance(row, Row) for row in made)
        if stopped():
            break
    found.bytes += read * usual
    return found
