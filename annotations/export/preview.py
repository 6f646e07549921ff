"""Preview of an export: numbers of rows and exclusions, size, and the first rows with their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import func, select

from annotations.db.tables import ImageRow
from annotations.export.exporter import made_rows
from annotations.export.kind import Excluded, ExportRow
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
    first: list[ExportRow] = field(default_factory=list)  # as an export would have them
    complete: bool = True  # whether all trajectories were looked at


def survey(
    store: Store, kind: str, query: Query = EVERYTHING, stopped: Callable[[], bool] = lambda: False, *, first: int = 0
) -> Survey:
    """A preview of all that the query keeps, or of what was read before `stopped` was true, with the `first` rows."""
    with store.database.reading() as session:
        usual = int(session.scalar(select(func.avg(ImageRow.size))) or 0)
    unread = 0
    held = Survey()

    def picture(sha256: str) -> bytes:
        nonlocal unread
        if len(held.first) < first:
            return store.picture(sha256)
        unread += 1
        return PLACEHOLDER

    for _, made in made_rows(StoreContext(store, query, picture), KINDS[kind]):
        for row in made:
            if isinstance(row, Excluded):
                held.left_out[row.reason] += 1
                continue
            held.rows += 1
            held.bytes += row.size
            held.counts.update(row.labels)
            held.first += [row] if len(held.first) < first else []
        held.trajectories += any(isinstance(row, ExportRow) for row in made)
        if stopped():
            held.complete = False
            break
    held.bytes += unread * usual
    return held
