"""What an export would hold: rows, what is left out and why and the size, without reading pictures; the first rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import func, select

from annotations.db.tables import ImageRow
from annotations.export.exporter import made_rows
from annotations.export.kind import LeftOut, Row
from annotations.export.query import EVERYTHING, Query
from annotations.export.registry import KINDS
from annotations.export.store_context import StoreContext
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
    complete: bool = True  # whether all trajectories were looked at


def survey(store: Store, kind: str, query: Query = EVERYTHING, stopped: Callable[[], bool] = lambda: False) -> Survey:
    """Of all that the query keeps, or of what was looked at until `stopped` said so."""
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
        found.trajectories += any(isinstance(row, Row) for row in made)
        if stopped():
            found.complete = False
            break
    found.bytes += read * usual
    return found


def first_rows(store: Store, kind: str, query: Query = EVERYTHING, count: int = 6) -> list[Row]:
    """The first rows with their pictures, as an export would have them."""
    every = (row for _, made in made_rows(StoreContext(store, query), KINDS[kind]) for row in made)
    return list(islice((row for row in every if isinstance(row, Row)), count))
