"""Leases of items, which bound the annotators of an item by the project's overlap.

Invariant: counted answers plus held leases of an item never exceed the overlap. Opens no transaction; correct only in a
transaction that excludes other writers. Expiry is recorded in the row, so that a clock that jumps back revives no
lease; a lease whose renewal lies in the future is renewed to now, so that none is held for ever.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.tables import ItemRow, LeaseRow
from annotations.schema.project import ItemPurpose, Project

LEASE = timedelta(minutes=10)  # how long an item is held after the last sign of life
HEARTBEAT = 60  # seconds between two signs of life of an open page


class LeaseOutcome(StrEnum):
    """How a lease ended. What is left, lapsed or postponed may be taken up again."""

    LEFT = "left"  # the page went away
    LAPSED = "lapsed"  # its time ran out
    POSTPONED = "postponed"  # skipped, to come back last
    SUBMITTED = "submitted"  # completed, and it counts
    OVER_QUOTA = "extra"  # answered when others had completed it; kept, does not count
    SKIPPED = "skipped"
    HIDDEN = "hidden"  # the trajectory was deleted


COMPLETED = (LeaseOutcome.SUBMITTED, LeaseOutcome.SKIPPED)


def expire(session: Session, now: datetime) -> int:
    """End expired leases; returns their number. Must run first in its transaction, before any row is read."""
    held = LeaseRow.outcome.is_(None)
    quick = {"synchronize_session": False}
    ahead = update(LeaseRow).where(held, LeaseRow.renewed_at > now).values(renewed_at=now, expires_at=now + LEASE)
    session.execute(ahead, execution_options=quick)
    over = update(LeaseRow).where(held, LeaseRow.expires_at <= now).values(outcome=LeaseOutcome.LAPSED.value)
    return len(session.scalars(over.returning(LeaseRow.item_id), execution_options=quick).all())


def get(session: Session, item: ItemRow, annotator: str) -> LeaseRow | None:
    return session.get(LeaseRow, (item.id, annotator))


def held_by(session: Session, annotator: str) -> int:
    """Number of items that an annotator holds."""
    held = select(func.count()).select_from(LeaseRow).where(LeaseRow.outcome.is_(None))
    return session.scalar(held.where(LeaseRow.annotator == annotator)) or 0


def skipped_since(session: Session, project_id: str, annotator: str, moment: datetime) -> int:
    """Number of items of a project that an annotator has skipped or postponed since `moment`."""
    row = LeaseRow
    skips = row.outcome.in_((LeaseOutcome.SKIPPED.value, LeaseOutcome.POSTPONED.value)), row.renewed_at > moment
    mine = row.project_id == project_id, row.annotator == annotator
    return session.scalar(select(func.count()).select_from(row).where(*mine, *skips)) or 0


def is_held(lease: LeaseRow | None) -> bool:
    return lease is not None and lease.outcome is None


def has_room(session: Session, project: Project, item: ItemRow, annotator: str) -> bool:
    """Whether an answer of this annotator keeps the invariant: it is counted already, or counted answers and leases of
    others are fewer than the overlap. Always true without an overlap, for gold and for practice.
    """
    if item.use != ItemPurpose.WORK or project.overlap is None:
        return True
    mine = get(session, item, annotator)
    answers = item.answers - (mine is not None and mine.outcome == LeaseOutcome.SUBMITTED)
    others = select(func.count()).where(LeaseRow.item_id == item.id, LeaseRow.outcome.is_(None))
    held = session.scalar(others.where(LeaseRow.annotator != annotator)) or 0
    return answers + held < project.overlap


def hold(session: Session, item: ItemRow, annotator: str, now: datetime) -> LeaseRow:
    """Create or renew the lease, for LEASE from now. The caller has checked `has_room`."""
    lease = get(session, item, annotator)
    if lease is None:
        values = {"item_id": item.id, "annotator": annotator, "project_id": item.project_id}
        values |= {"taken_at": now, "renewed_at": now, "expires_at": now + LEASE}
        session.execute(insert(LeaseRow).values(**values))
        return session.get_one(LeaseRow, (item.id, annotator))
    lease.outcome, lease.renewed_at, lease.expires_at = None, now, now + LEASE
    session.flush()
    return lease


def end(session: Session, lease: LeaseRow, outcome: LeaseOutcome) -> None:
    lease.outcome = outcome.value
    session.flush()
