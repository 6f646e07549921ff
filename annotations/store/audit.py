"""Audit trail of a trajectory: who changed what when, and restoring of revisions.

And back to any revision: what it said is written once more, as a new row. Knows the store's rows; opens transactions of
its own. Hidden trajectories have their trail, too: whoever shows it decides who may see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, DeletionRow, ImportRow, RestorationRow, TrajectoryRow
from annotations.errors import NotFoundError
from annotations.queue.completion import record
from annotations.schema.annotation import Annotation, Status
from annotations.store.revisions import find, written
from annotations.store.store import Store
from annotations.store.visibility import is_published, is_staged


class AuditEntry(StrEnum):
    """What somebody did."""

    SAVED = "saved"  # the drawing
    IMPORTED = "imported"
    BEGAN = "began"  # answers that are not submitted yet
    SUBMITTED = "submitted"
    DISCARDED = "discarded"
    UNDID = "undid"  # the revision before counts again
    DELETED = "deleted"  # the drawing, from every list


@dataclass(frozen=True)
class Change:
    """One line of the trail. `before` is what counted until then, of the same person about the same segment."""

    at: datetime  # UTC
    who: str
    act: AuditEntry
    segment: int | None = None  # None: the whole trajectory
    before: Annotation | None = None
    after: Annotation | None = None
    by: str = ""  # who brought the revision back, where that was not its annotator

    @property
    def answers(self) -> dict[str, tuple[str | int | None, str | int | None]]:
        """The answers that changed, as (before, after), by question."""
        was: Mapping = self.before.answers if self.before else {}
        now: Mapping = self.after.answers if self.after else {}
        names = dict.fromkeys([*was, *now])
        return {name: (was.get(name), now.get(name)) for name in names if was.get(name) != now.get(name)}


def trail(store: Store, trajectory_id: str) -> list[Change]:
    """Everything that was done, oldest first. Raises NotFoundError where there is no such trajectory."""
    with store.database.reading() as session:
        changes = [*_drawn(session, trajectory_id), *_annotated(session, trajectory_id)]
        row = DeletionRow
        hidden = select(row.created_at, row.deleted_by).where(row.trajectory_id == trajectory_id).order_by(row.id)
        changes += [Change(at, who, AuditEntry.DELETED) for at, who in session.execute(hidden)]
    return sorted(changes, key=lambda change: change.at)  # stable: equal times stay in the order of their rows


def restore(store: Store, revision: int, *, key: str = "", by: str = "") -> Annotation:
    """Write what a revision said once more, as its annotator's newest; what counts now. The trail says `by` whom.

    The same key again changes nothing. Raises NotFoundError for an unknown revision, AnswerError where its answers do
    not fit the questions of today.
    """
    with store.database.writing() as session:
        old = find(session, revision)
        [again] = record(session, [replace(old, key=key, undoes=None, seconds=0.0)], now=store.clock())
        sign(session, again, revision, by)
        return again


def sign(session: Session, again: Annotation, restored: int, by: str) -> None:
    """Record, within the transaction, who brought a revision back as another one; said once, it stays said."""
    if by and session.get(RestorationRow, again.id) is None:
        values = {"revision_id": again.id, "restored_id": restored, "actor": by, "created_at": again.created_at}
        session.execute(insert(RestorationRow).values(**values))


def _drawn(session: Session, trajectory_id: str) -> list[Change]:
    row = TrajectoryRow
    drawn = session.execute(select(row.created_at, row.owner).where(row.id == trajectory_id)).first()
    if drawn is None or is_staged(session, trajectory_id):
        raise NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; its trail begins where it was saved")
    theirs = ImportRow.trajectory_id == trajectory_id, is_published(ImportRow.batch)
    brought = select(ImportRow.created_at, ImportRow.imported_by).where(*theirs)
    imported = [Change(at, who, AuditEntry.IMPORTED) for at, who in session.execute(brought.order_by(ImportRow.id))]
    return imported or [Change(drawn[0], drawn[1], AuditEntry.SAVED)]


def _annotated(session: Session, trajectory_id: str) -> list[Change]:
    acts = {
        Status.UNFINISHED: AuditEntry.BEGAN,
        Status.SUBMITTED: AuditEntry.SUBMITTED,
        Status.DISCARDED: AuditEntry.DISCARDED,
    }
    counted: dict[tuple, Annotation] = {}
    wanted = select(RestorationRow.revision_id, RestorationRow.actor)
    wanted = wanted.join(AnnotationRow, AnnotationRow.id == RestorationRow.revision_id)
    by = dict(session.execute(wanted.where(AnnotationRow.trajectory_id == trajectory_id)).all())
    changes = []
    for after in written(session, trajectory_id):
        place = after.project, after.item, after.segment, after.annotator
        act = acts[after.status] if after.undoes is None else AuditEntry.UNDID
        changes.append(
            Change(
                after.created_at, after.annotator, act, after.segment, counted.get(place), after, by.get(after.id, "")
            )
        )
        counted[place] = after
    return changes
