"""Rows of drawings under way: their events, published by the studio that draws, read by others.

A drawing whose rows are no longer renewed was left by a process that ended.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select, update

from annotations.db.engine import Database
from annotations.db.process_tables import LiveEventsRow


class EventBatch(NamedTuple):
    """Events of one drawing that follow each other."""

    trajectory_id: str
    number: int  # of the first, from 0
    events: list[dict[str, Any]]
    owner: str


def publish(
    database: Database, batches: Sequence[EventBatch], live: Sequence[str], ended: Sequence[str], now: datetime
) -> None:
    """Store new events, a sign of life of the drawings `live`, and that others have `ended`."""
    row = LiveEventsRow
    with database.writing() as session:
        if batches:
            session.execute(insert(row), [batch._asdict() | {"ended": False, "renewed_at": now} for batch in batches])
        session.execute(update(row).where(row.trajectory_id.in_(live), row.number == 0).values(renewed_at=now))
        session.execute(update(row).where(row.trajectory_id.in_(ended), row.number == 0).values(ended=True))


def after(database: Database, trajectory_id: str, number: int) -> list[dict[str, Any]]:
    """The events of a drawing from this number on."""
    row = LiveEventsRow
    query = select(row.events).where(row.trajectory_id == trajectory_id, row.number >= number).order_by(row.number)
    with database.reading() as session:
        return [event for events in session.scalars(query) for event in events]


def is_live(database: Database, trajectory_id: str, since: datetime) -> bool:
    """Whether a drawing is under way, and has given a sign of life since then."""
    with database.reading() as session:
        row = session.get(LiveEventsRow, (trajectory_id, 0))
        return row is not None and not row.ended and row.renewed_at >= since


def silent(database: Database, before: datetime) -> dict[str, str | None]:
    """The drawings without a sign of life since then: of each its owner, None where it has ended."""
    row = LiveEventsRow
    with database.reading() as session:
        query = select(row.trajectory_id, row.owner, row.ended).where(row.number == 0, row.renewed_at < before)
        return {run: None if ended else owner for run, owner, ended in session.execute(query)}


def remove(database: Database, trajectory_ids: Sequence[str]) -> None:
    with database.writing() as session:
        session.execute(delete(LiveEventsRow).where(LiveEventsRow.trajectory_id.in_(trajectory_ids)))
