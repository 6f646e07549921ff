"""Visibility of trajectories: not deleted, and not of an unpublished import.

Conditions for the WHERE clauses of all queries for trajectories and for rows that refer to them.
"""

from enum import StrEnum

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from annotations.db.tables import DeletionRow, ImportRunRow, StagedRow


class ImportState(StrEnum):
    """State of an import run."""

    CHECKING = "checking"  # its records are read and validated
    STORING = "storing"  # in short transactions, invisible
    CANCELLED = "cancelled"  # its rows are being removed
    PUBLISHED = "published"  # all of it is visible


def is_visible(trajectory_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether the trajectory of this column is visible."""
    return ~exists().where(DeletionRow.trajectory_id == trajectory_id) & ~_is_staged(trajectory_id)


def is_published(batch: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether the import of this column is complete."""
    return ~exists().where(ImportRunRow.batch == batch, ImportRunRow.state != ImportState.PUBLISHED.value)


def is_staged(session: Session, trajectory_id: str) -> bool:
    """Whether a trajectory belongs to an import that is not published yet."""
    return bool(session.scalar(select(_is_staged(trajectory_id))))


def _is_staged(trajectory_id: InstrumentedAttribute[str] | str) -> ColumnElement[bool]:
    staged = exists().where(StagedRow.trajectory_id == trajectory_id, StagedRow.batch == ImportRunRow.batch)
    return staged.where(ImportRunRow.state != ImportState.PUBLISHED.value)
