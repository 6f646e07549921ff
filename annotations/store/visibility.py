"""Visibility of trajectories: not deleted, and not of an unpublished import.

Conditions for queries; whoever reads trajectories, or rows that refer to them, filters by these.
"""

from enum import StrEnum

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from annotations.db.tables import DeletionRow, ImportRunRow, StagedRow


class RunState(StrEnum):
    """How far an import run is."""

    CHECKING = "checking"  # its rows are read
    STORING = "storing"  # in short transactions, which nobody sees
    CANCELLED = "cancelled"  # what was stored of it is removed
    PUBLISHED = "published"  # all of it is visible


def is_visible(trajectory_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether the trajectory in this column is not deleted, and not of an import that is still to be published."""
    return ~exists().where(DeletionRow.trajectory_id == trajectory_id) & ~_is_staged(trajectory_id)


def is_published(batch: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether the import in this column is not under way, nor broken off."""
    return ~exists().where(ImportRunRow.batch == batch, ImportRunRow.state != RunState.PUBLISHED.value)


def is_staged(session: Session, trajectory_id: str) -> bool:
    """Whether a trajectory belongs to an import that is not published yet."""
    return bool(session.scalar(select(_is_staged(trajectory_id))))


def _is_staged(trajectory_id: InstrumentedAttribute[str] | str) -> ColumnElement[bool]:
    staged = exists().where(StagedRow.trajectory_id == trajectory_id, StagedRow.batch == ImportRunRow.batch)
    return staged.where(ImportRunRow.state != RunState.PUBLISHED.value)
