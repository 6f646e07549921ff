"""One person's items in a project: the list, how many today, seconds per item.

Knows the rows of leases and annotations; each call is one transaction.
"""

import statistics
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from annotations.db.tables import AnnotationRow, ItemRow, LeaseRow, TrajectoryRow
from annotations.db.visibility import is_visible
from annotations.schema.annotation import Status
from annotations.schema.project import ItemPurpose
from annotations.store.leases import LeaseOutcome
from annotations.store.store import Store

MOST = 200  # items that are listed
RECENT = 60  # annotations that the pace is taken from


@dataclass(frozen=True)
class OwnItem:
    """An item that somebody has had."""

    item: int
    prompt: str
    outcome: LeaseOutcome | None  # None while it is held
    at: datetime  # UTC, of the last change


@dataclass(frozen=True)
class Pace:
    """How many items somebody has completed since midnight (UTC), and the median seconds of the newest ones."""

    today: int = 0
    seconds: float | None = None


def own_items(store: Store, annotator: str, project_id: str) -> list[OwnItem]:
    """Items of work and gold that this person has had, the newest first; gold is not told apart."""
    row = LeaseRow
    query = select(row.item_id, TrajectoryRow.prompt, row.outcome, row.renewed_at)
    query = query.join(ItemRow, ItemRow.id == row.item_id).join(
        TrajectoryRow, TrajectoryRow.id == ItemRow.trajectory_id
    )
    query = query.where(
        row.project_id == project_id, row.annotator == annotator, ItemRow.use != ItemPurpose.PRACTICE.value
    )
    query = query.where(is_visible(TrajectoryRow.id)).order_by(row.renewed_at.desc(), row.item_id.desc()).limit(MOST)
    with store.database.reading() as session:
        rows = session.execute(query).all()
    return [OwnItem(item, prompt, outcome and LeaseOutcome(outcome), at) for item, prompt, outcome, at in rows]


def pace(store: Store, annotator: str, project_id: str) -> Pace:
    """Of this person in this project, now."""
    midnight = store.clock().replace(hour=0, minute=0, second=0, microsecond=0)
    lease, row = LeaseRow, AnnotationRow
    mine = lease.project_id == project_id, lease.annotator == annotator, lease.outcome == LeaseOutcome.SUBMITTED.value
    spent = select(row.item_id, row.seconds).where(row.annotator == annotator, row.project_id == project_id)
    spent = spent.where(row.status == Status.SUBMITTED.value, row.item_id.is_not(None))
    with store.database.reading() as session:
        today = session.scalar(select(func.count()).where(*mine, lease.renewed_at >= midnight)) or 0
        recent = session.execute(spent.order_by(row.id.desc()).limit(RECENT)).all()
    seconds: dict[int, float] = {}
    for item, some in recent:
        seconds[item] = seconds.get(item, 0.0) + some
    return Pace(today, statistics.median(seconds.values()) if seconds else None)
