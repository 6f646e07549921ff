"""Audit trail of a trajectory: who changed what when; restores a revision by writing it again as a new row.

Each function is one transaction. Hidden trajectories have a trail, too; the caller decides who may see it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, DeletionRow, ImportRow, RestorationRow, TrajectoryRow
from annotations.db.visibility import is_published, is_staged
from annotations.errors import NotFoundError
from annotations.schema.annotation import Annotation, Status, Value
from annotations.store.completion import record
from annotations.store.revisions import by_id, history_even_if_hidden
from annotations.store.store import Store
from model.trajectory import Trajectory


class AuditEntry(StrEnum):
    """Kinds of changes."""

    SAVED = "saved"  # the drawing
    IMPORTED = "imported"
    BEGAN = "began"  # answers that are not submitted yet
    SUBMITTED = "submitted"
    DISCARDED = "discarded"
    UNDID = "undid"  # the revision before counts again
    DELETED = "deleted"  # the drawing, from every list
    HIDDEN = "hidden"  # … until it is shown again


@dataclass(frozen=True)
class Change:
    """One line of the trail. `before`: the current revision until then, of the same annotator and segment."""

    at: datetime  # UTC
    who: str
    act: AuditEntry
    segment: int | None = None  # None: the whole trajectory
    before: Annotation | None = None
    after: Annotation | None = None
    by: str = ""  # who brought the revision back, where that was not its annotator

    @property
    def answers(self) -> dict[str, tuple[Value | None, Value | None]]:
        """The answers that changed, as (before, after), by question."""
        before: Mapping[str, Value] = self.before.answers if self.before else {}
        after: Mapping[str, Value] = self.after.answers if self.after else {}
        names = dict.fromkeys([*before, *after])
        pairs = {name: (before.get(name), after.get(name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def trail(store: Store, trajectory_id: str) -> list[Change]:
    """Every change, oldest first. Raises NotFoundError where there is no such trajectory."""
    with store.database.reading() as session:
        changes = [*_creation(session, trajectory_id), *_revisions(session, trajectory_id)]
        row = DeletionRow
        hidden = select(row.created_at, row.deleted_by, row.restores).where(row.trajectory_id == trajectory_id)
        for at, who, restores in session.execute(hidden.order_by(row.id)):
            changes.append(Change(at, who, AuditEntry.DELETED if restores is None else AuditEntry.HIDDEN))
    return sorted(changes, key=lambda change: change.at)  # stable: equal times stay in the order of their rows


def trajectory(store: Store, trajectory_id: str) -> Trajectory:
    """What a trail is about, also where it is hidden. Raises NotFoundError."""
    with store.database.reading() as session:
        row = session.get(TrajectoryRow, trajectory_id)
        if row is None or is_staged(session, trajectory_id):
            raise _no_trajectory(trajectory_id)
        return Trajectory.from_dict(row.body)


def _no_trajectory(trajectory_id: str) -> NotFoundError:
    return NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; its trail begins where it was saved")


def restore(store: Store, revision: int, *, key: str = "", by: str = "") -> Annotation:
    """Append a copy of a revision as its annotator's newest one, and return it; the trail names `by`.

    The same key again changes nothing. Raises NotFoundError for an unknown revision, AnswerError where its answers do
    not fit the questions of today.
    """
    with store.database.writing() as session:
        old = by_id(session, revision)
        [restored] = record(session, [replace(old, key=key, undoes=None, seconds=0.0)], now=store.clock())
        record_restorer(session, restored, revision, by)
        return restored


def record_restorer(session: Session, copy: Annotation, original: int, by: str) -> None:
    """Record the actor who restored the revision `original` as `copy`, unless that is recorded."""
    if by and session.get(RestorationRow, copy.id) is None:
        values = {"revision_id": copy.id, "restored_id": original, "actor": by, "created_at": copy.created_at}
        session.execute(insert(RestorationRow).values(**values))


def _creation(session: Session, trajectory_id: str) -> list[Change]:
    row = TrajectoryRow
    saved = session.execute(select(row.created_at, row.owner).where(row.id == trajectory_id)).first()
    if saved is None or is_staged(session, trajectory_id):
        raise _no_trajectory(trajectory_id)
    query = select(ImportRow.created_at, ImportRow.imported_by).order_by(ImportRow.id)
    query = query.where(ImportRow.trajectory_id == trajectory_id, is_published(ImportRow.batch))
    imported = [Change(at, who, AuditEntry.IMPORTED) for at, who in session.execute(query)]
    return imported or [Change(saved.created_at, saved.owner, AuditEntry.SAVED)]


def _revisions(session: Session, trajectory_id: str) -> list[Change]:
    acts = {
        Status.UNFINISHED: AuditEntry.BEGAN,
        Status.SUBMITTED: AuditEntry.SUBMITTED,
        Status.DISCARDED: AuditEntry.DISCARDED,
    }
    current: dict[tuple[object, ...], Annotation] = {}
    query = select(RestorationRow.revision_id, RestorationRow.actor)
    query = query.join(AnnotationRow, AnnotationRow.id == RestorationRow.revision_id)
    restored_by = dict(session.execute(query.where(AnnotationRow.trajectory_id == trajectory_id)).all())
    changes = []
    for after in history_even_if_hidden(session, trajectory_id):
        assert after.id is not None and after.created_at is not None  # stored revisions have both
        place = after.project, after.item, after.segment, after.annotator
        act = acts[after.status] if after.undoes is None else AuditEntry.UNDID
        by = restored_by.get(after.id, "")
        changes.append(Change(after.created_at, after.annotator, act, after.segment, current.get(place), after, by))
        current[place] = after
    return changes
