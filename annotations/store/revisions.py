"""Rows of annotations: append-only revisions, of which the last one is current.

Opens no transaction. An undo is a revision that names the one it undoes and repeats the one before that, so that
repeated undos go back to the beginning.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, Select, func, insert, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, ItemRow, ProjectRow
from annotations.db.visibility import is_visible
from annotations.errors import AnswerError, ConflictError, NotFoundError
from annotations.schema.annotation import Annotation, Answers, Decision, Status, validate
from annotations.schema.project import ItemPurpose
from annotations.store import items, projects
from annotations.store.trajectories import get, mark_annotated

LONGEST_KEY = 64


def append(session: Session, annotation: Annotation, *, now: datetime) -> Annotation:
    """Check and store a revision; one whose key is already stored is returned as it was stored.

    Raises NotFoundError, AnswerError, and ConflictError when the key stands for something else.
    """
    stored = by_key(session, annotation.key)
    if stored is not None:
        if _content(stored) != _content(annotation) or stored.undoes != annotation.undoes:
            raise ConflictError(
                f"key {annotation.key} stands for another annotation; use a new key for every submission"
            )
        return stored
    trajectory = get(session, annotation.trajectory_id)
    project = projects.get(session, annotation.project)
    item = _item(session, annotation)
    other = get(session, item.other_id) if item and item.other_id else None
    kind = validate(annotation, trajectory, project.questions, other)
    values = {
        "project_id": annotation.project,
        "item_id": item and item.id,
        "trajectory_id": annotation.trajectory_id,
        "segment": annotation.segment,
        "kind": kind,
        "annotator": annotation.annotator,
        "status": annotation.status.value,
        "answers": Answers(annotation.answers).to_dict(),
        "seconds": annotation.seconds,
        "idempotency_key": annotation.key or uuid4().hex,
        "undoes": annotation.undoes,
        "decision": annotation.decision and annotation.decision.value,
        "created_at": now,
    }
    row = session.scalars(insert(AnnotationRow).values(**values).returning(AnnotationRow)).one()
    mark_annotated(session, annotation.trajectory_id)
    return _value(row)


def _item(session: Session, annotation: Annotation) -> ItemRow | None:
    """The item that the annotation is about; None where the trajectory is no item of the project."""
    if annotation.item is None:
        return items.find(session, annotation.project, annotation.trajectory_id)
    row = items.get(session, annotation.item)
    if (row.project_id, row.trajectory_id) != (annotation.project, annotation.trajectory_id):
        raise AnswerError(
            f"item {row.id} is trajectory {row.trajectory_id} in “{row.project_id}”, not "
            f"{annotation.trajectory_id} in “{annotation.project}”; open it again"
        )
    return row


def _content(annotation: Annotation) -> Annotation:
    """Without the time spent, which differs between a submission and its retry."""
    return replace(annotation, seconds=0.0)


def by_key(session: Session, key: str) -> Annotation | None:
    """The revision stored under an idempotency key."""
    if len(key) > LONGEST_KEY:
        raise AnswerError(f"got a key of {len(key)} characters, wanted at most {LONGEST_KEY}")
    row = session.scalar(select(AnnotationRow).where(AnnotationRow.idempotency_key == key)) if key else None
    return None if row is None else _value(row)


def undo(
    session: Session,
    trajectory_id: str,
    segment: int | None,
    annotator: str,
    *,
    project: str,
    item: int | None,
    key: str,
    now: datetime,
) -> Annotation:
    """Undo the last revision that was not undone yet. The one before it becomes current again; where there was none,
    its answers stay as unfinished ones.

    Raises NotFoundError when there is nothing left to undo.
    """
    place = (trajectory_id, segment, annotator, project)
    stored = by_key(session, key)
    if stored is not None:
        if _place(stored) != place or stored.undoes is None:
            raise ConflictError(f"key {key} stands for another annotation; use a new key for every undo")
        return stored
    not_undone: list[Annotation] = []
    for revision in history(session, trajectory_id, annotator=annotator):
        if _place(revision) != place or item not in (None, revision.item):
            continue
        if revision.undoes is None:
            not_undone.append(revision)
        else:
            not_undone.pop()
    if not not_undone:
        raise NotFoundError("there is nothing to undo here")
    undone = not_undone.pop()
    previous = not_undone[-1] if not_undone else replace(undone, status=Status.UNFINISHED, decision=None)
    return append(session, replace(previous, key=key, undoes=undone.id, seconds=0.0), now=now)


def _place(annotation: Annotation) -> tuple[str, int | None, str, str]:
    return annotation.trajectory_id, annotation.segment, annotation.annotator, annotation.project


def history(
    session: Session, trajectory_id: str, *, segment: int | None = None, annotator: str | None = None
) -> list[Annotation]:
    """Every revision, oldest first. Raises NotFoundError when the trajectory is hidden or there is none."""
    get(session, trajectory_id)
    return history_even_if_hidden(session, trajectory_id, segment=segment, annotator=annotator)


def history_even_if_hidden(
    session: Session, trajectory_id: str, *, segment: int | None = None, annotator: str | None = None
) -> list[Annotation]:
    """Every revision, oldest first, also of a hidden trajectory."""
    query = select(AnnotationRow).where(AnnotationRow.trajectory_id == trajectory_id)
    if segment is not None:
        query = query.where(AnnotationRow.segment == segment)
    if annotator is not None:
        query = query.where(AnnotationRow.annotator == annotator)
    return [_value(row) for row in session.scalars(query.order_by(AnnotationRow.id))]


def by_id(session: Session, revision: int) -> Annotation:
    """Raises NotFoundError."""
    row = session.get(AnnotationRow, revision)
    if row is None:
        raise NotFoundError(f"there is no revision {revision}; the trail of the trajectory lists those there are")
    return _value(row)


def after(session: Session, revision: int, limit: int) -> list[Annotation]:
    """At most `limit` revisions with higher ids than `revision`, oldest first, of visible trajectories."""
    query = select(AnnotationRow).where(AnnotationRow.id > revision, is_visible(AnnotationRow.trajectory_id))
    return [_value(row) for row in session.scalars(query.order_by(AnnotationRow.id).limit(limit))]


def on_gold(session: Session, annotator: str, project: str) -> list[Annotation]:
    """Everything that an annotator has submitted for gold items of a project, oldest first, undone or not; without
    decisions as a reviewer.
    """
    row = AnnotationRow
    query = select(row).join(ItemRow, ItemRow.id == row.item_id).where(row.annotator == annotator)
    query = query.where(ItemRow.project_id == project, ItemRow.use == ItemPurpose.GOLD.value, row.undoes.is_(None))
    query = query.where(row.status == Status.SUBMITTED.value, row.decision.is_(None), is_visible(row.trajectory_id))
    return [_value(revision) for revision in session.scalars(query.order_by(row.id))]


def newest(session: Session) -> int:
    """The id of the last revision; 0 where there is none."""
    return session.scalar(select(func.max(AnnotationRow.id))) or 0


def current_ids() -> Select[int]:
    """The last revision of each annotator per project, item, trajectory and segment, of visible trajectories."""
    row = AnnotationRow
    last = select(func.max(row.id)).where(is_visible(row.trajectory_id))
    return last.group_by(row.trajectory_id, row.segment, row.annotator, row.project_id, row.item_id)


def is_counted(trajectory_ids: Sequence[str] | None = None) -> ColumnElement[bool]:
    """Whether a row is current, submitted, not given for practice, and of no deleted project; of some trajectories,
    where they are given."""
    current = current_ids()
    if trajectory_ids is not None:
        current = current.where(AnnotationRow.trajectory_id.in_(trajectory_ids))
    last_work = func.coalesce(ItemRow.gold[(0, "after")].as_integer(), 0)
    practice = select(ItemRow.id).where(ItemRow.id == AnnotationRow.item_id, ItemRow.use == ItemPurpose.PRACTICE.value)
    practice = practice.where(AnnotationRow.id > last_work).correlate(AnnotationRow)
    submitted = AnnotationRow.status == Status.SUBMITTED.value
    deleted = select(ProjectRow.id).where(ProjectRow.deleted_at.is_not(None))
    left = AnnotationRow.project_id.not_in(deleted)
    return AnnotationRow.id.in_(current) & submitted & left & ~practice.exists()


def annotators(session: Session) -> list[str]:
    """The names of all whose annotations count, in order."""
    return list(session.scalars(select(AnnotationRow.annotator).where(is_counted()).distinct().order_by("annotator")))


def last_before_practice(item: ItemRow) -> int:
    """The last revision before an item became practice; 0 for one that is work, or was practice from the start."""
    return int((item.gold or [{}])[0].get("after", 0)) if item.use == ItemPurpose.PRACTICE else 0


def counted(session: Session, trajectory_ids: Sequence[str] | None = None) -> list[Annotation]:
    """The counted revisions, oldest first; of some trajectories, where they are given."""
    query = select(AnnotationRow).where(is_counted(trajectory_ids)).order_by(AnnotationRow.id)
    return [_value(row) for row in session.scalars(query)]


def current(
    session: Session,
    *,
    trajectory_ids: Sequence[str] | None = None,
    annotator: str | None = None,
    status: Status | None = None,
    project: str | None = None,
    item: int | None = None,
    newest: int | None = None,
) -> list[Annotation]:
    """Current revisions, oldest first; only the `newest` of them, where that is given."""
    row = AnnotationRow
    last = current_ids()
    if trajectory_ids is not None:
        last = last.where(row.trajectory_id.in_(trajectory_ids))
    if item is not None:  # few rows; with the annotator as well, SQLite would scan all revisions of this annotator
        last = last.where(row.item_id == item)
    elif annotator is not None:
        last = last.where(row.annotator == annotator)
    query = select(row).where(row.id.in_(last))
    if annotator is not None:
        query = query.where(row.annotator == annotator)
    if project is not None:
        query = query.where(row.project_id == project)
    if status is not None:
        query = query.where(row.status == status.value)
    newest_first = session.scalars(query.order_by(row.id.desc()).limit(newest)).all()
    return [_value(revision) for revision in reversed(newest_first)]


def _value(row: AnnotationRow) -> Annotation:
    return Annotation(
        trajectory_id=row.trajectory_id,
        segment=row.segment,
        annotator=row.annotator,
        answers=Answers(row.answers),
        status=Status(row.status),
        seconds=row.seconds,
        key=row.idempotency_key,
        id=row.id,
        undoes=row.undoes,
        project=row.project_id,
        item=row.item_id,
        created_at=row.created_at,
        decision=None if row.decision is None else Decision(row.decision),
    )
