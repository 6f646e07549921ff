"""Rows of annotations: append-only revisions, the last one is current.

Knows the rows of annotations and turns them into values and back; opens no transaction. An undo is a revision
that takes another back and repeats the one before it, so that undo after undo walks back to the beginning.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, Select, func, insert, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, ItemRow
from annotations.errors import AnswerError, ConflictError, NotFoundError
from annotations.schema.annotation import Annotation, Answers, Status, validate
from annotations.schema.project import Use
from annotations.store import items, projects
from annotations.store.trajectories import get, mark_annotated
from annotations.store.visibility import is_visible

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
        "answers": annotation.answers.to_dict(),
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
    """What of the project it is about; None for a trajectory that the project does not ask about."""
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
    """A retry is the same submission although the clock went on."""
    return replace(annotation, seconds=0.0)


def by_key(session: Session, key: str) -> Annotation | None:
    """What was stored under a key before."""
    if len(key) > LONGEST_KEY:
        raise AnswerError(f"got a key of {len(key)} characters, wanted at most {LONGEST_KEY}")
    row = session.scalar(select(AnnotationRow).where(AnnotationRow.idempotency_key == key)) if key else None
    return row and _value(row)


def take_back(
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
    """Undo the last revision that was not undone yet. The one before it counts again; where there was none,
    its answers are kept as unfinished, to be corrected.

    Raises NotFoundError when there is nothing left to undo.
    """
    place = (trajectory_id, segment, annotator, project)
    stored = by_key(session, key)
    if stored is not None:
        if _place(stored) != place or stored.undoes is None:
            raise ConflictError(f"key {key} stands for another annotation; use a new key for every undo")
        return stored
    standing: list[Annotation] = []
    for revision in history(session, trajectory_id, annotator=annotator):
        if _place(revision) != place or item not in (None, revision.item):
            continue
        if revision.undoes is None:
            standing.append(revision)
        else:
            standing.pop()
    if not standing:
        raise NotFoundError("there is nothing to undo here")
    undone = standing.pop()
    again = standing[-1] if standing else replace(undone, status=Status.UNFINISHED, decision=None)
    return append(session, replace(again, key=key, undoes=undone.id, seconds=0.0), now=now)


def _place(annotation: Annotation) -> tuple[str, int | None, str, str]:
    return annotation.trajectory_id, annotation.segment, annotation.annotator, annotation.project


def history(
    session: Session, trajectory_id: str, *, segment: int | None = None, annotator: str | None = None
) -> list[Annotation]:
    """Every revision, oldest first. Raises NotFoundError when the trajectory is hidden or there is none."""
    get(session, trajectory_id)
    return written(session, trajectory_id, segment=segment, annotator=annotator)


def written(
    session: Session, trajectory_id: str, *, segment: int | None = None, annotator: str | None = None
) -> list[Annotation]:
    """Every revision, oldest first, also of what is hidden."""
    wanted = select(AnnotationRow).where(AnnotationRow.trajectory_id == trajectory_id)
    if segment is not None:
        wanted = wanted.where(AnnotationRow.segment == segment)
    if annotator is not None:
        wanted = wanted.where(AnnotationRow.annotator == annotator)
    return [_value(row) for row in session.scalars(wanted.order_by(AnnotationRow.id))]


def find(session: Session, revision: int) -> Annotation:
    """A revision by its id. Raises NotFoundError."""
    row = session.get(AnnotationRow, revision)
    if row is None:
        raise NotFoundError(f"there is no revision {revision}; the trail of the trajectory lists those there are")
    return _value(row)


def after(session: Session, revision: int, limit: int) -> list[Annotation]:
    """The revisions that were added after one, oldest first, of what is visible."""
    wanted = select(AnnotationRow).where(AnnotationRow.id > revision, is_visible(AnnotationRow.trajectory_id))
    return [_value(row) for row in session.scalars(wanted.order_by(AnnotationRow.id).limit(limit))]


def on_gold(session: Session, annotator: str, project: str) -> list[Annotation]:
    """Everything that somebody has submitted of a project's gold items, oldest first, whatever became of it; without
    what they decided as a reviewer.
    """
    row = AnnotationRow
    wanted = select(row).join(ItemRow, ItemRow.id == row.item_id).where(row.annotator == annotator)
    wanted = wanted.where(ItemRow.project_id == project, ItemRow.use == Use.GOLD.value, row.undoes.is_(None))
    wanted = wanted.where(row.status == Status.SUBMITTED.value, row.decision.is_(None), is_visible(row.trajectory_id))
    return [_value(one) for one in session.scalars(wanted.order_by(row.id))]


def newest(session: Session) -> int:
    """The id of the last revision; 0 where there is none."""
    return session.scalar(select(func.max(AnnotationRow.id))) or 0


def is_current() -> Select:
    """The ids of current revisions: the last of each annotator about each thing in each project, of what is visible."""
    row = AnnotationRow
    last = select(func.max(row.id)).where(is_visible(row.trajectory_id))
    return last.group_by(row.trajectory_id, row.segment, row.annotator, row.project_id, row.item_id)


def counts() -> ColumnElement[bool]:
    """Whether a row is what somebody says now, submitted, and not for practice."""
    after = func.coalesce(ItemRow.gold[(0, "after")].as_integer(), 0)
    learnt = select(ItemRow.id).where(ItemRow.id == AnnotationRow.item_id, ItemRow.use == Use.PRACTICE.value)
    learnt = learnt.where(AnnotationRow.id > after).correlate(AnnotationRow)
    submitted = AnnotationRow.status == Status.SUBMITTED.value
    return AnnotationRow.id.in_(is_current()) & submitted & ~learnt.exists()


def given_as_work(item: ItemRow) -> int:
    """Of an item of practice that was one of work before: the last revision of then; 0 where it always was one."""
    return int((item.gold or [{}])[0].get("after", 0)) if item.use == Use.PRACTICE else 0


def counted(session: Session) -> list[Annotation]:
    """All that counts, in the order it was written."""
    return [_value(row) for row in session.scalars(select(AnnotationRow).where(counts()).order_by(AnnotationRow.id))]


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
    """Current revisions in the order they were written; `newest`: no more than so many, the latest."""
    row = AnnotationRow
    last = is_current()
    if trajectory_ids is not None:
        last = last.where(row.trajectory_id.in_(trajectory_ids))
    if item is not None:  # few rows; with a name beside it, SQLite would look through all that this person ever said
        last = last.where(row.item_id == item)
    elif annotator is not None:
        last = last.where(row.annotator == annotator)
    wanted = select(row).where(row.id.in_(last))
    narrowed = {row.annotator: annotator, row.project_id: project}
    wanted = wanted.where(*(column == value for column, value in narrowed.items() if value is not None))
    if status is not None:
        wanted = wanted.where(row.status == status.value)
    found = session.scalars(wanted.order_by(row.id.desc()).limit(newest)).all()
    return [_value(one) for one in reversed(found)]


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
        decision=row.decision,
    )
