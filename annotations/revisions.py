"""Annotations in a transaction: revisions are appended, never changed; the current one is the last.

Knows the rows of annotations and turns them into values and back; opens no transaction. An undo is a revision
that takes another back and repeats the one before it, so that undo after undo walks back to the beginning.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Select, func, insert, select
from sqlalchemy.orm import Session

from annotations.annotation import Annotation, Answers, Status, validate
from annotations.errors import AnswerError, ConflictError, NotFoundError
from annotations.tables import AnnotationRow
from annotations.trajectories import get, is_visible

LONGEST_KEY = 64


def append(session: Session, annotation: Annotation, *, now: datetime) -> Annotation:
    """Check and store a revision; one whose key is already stored is returned as it was stored.

    Raises NotFoundError, AnswerError, and ConflictError when the key stands for something else.
    """
    stored = _by_key(session, annotation.key)
    if stored is not None:
        if _content(stored) != _content(annotation) or stored.undoes != annotation.undoes:
            raise ConflictError(
                f"key {annotation.key} stands for another annotation; use a new key for every submission"
            )
        return stored
    kind = validate(annotation, get(session, annotation.trajectory_id)).kind
    values = {
        "trajectory_id": annotation.trajectory_id,
        "segment": annotation.segment,
        "kind": kind,
        "annotator": annotation.annotator,
        "status": annotation.status.value,
        "answers": dict(annotation.answers),
        "seconds": annotation.seconds,
        "idempotency_key": annotation.key or uuid4().hex,
        "undoes": annotation.undoes,
        "created_at": now,
    }
    row = session.scalars(insert(AnnotationRow).values(**values).returning(AnnotationRow)).one()
    return _value(row)


def _content(annotation: Annotation) -> Annotation:
    """A retry is the same submission although the clock went on."""
    return replace(annotation, seconds=0.0)


def _by_key(session: Session, key: str) -> Annotation | None:
    if len(key) > LONGEST_KEY:
        raise AnswerError(f"got a key of {len(key)} characters, wanted at most {LONGEST_KEY}")
    row = session.scalar(select(AnnotationRow).where(AnnotationRow.idempotency_key == key)) if key else None
    return row and _value(row)


def take_back(
    session: Session, trajectory_id: str, segment: int, annotator: str, *, key: str, now: datetime
) -> Annotation:
    """Undo the last revision that was not undone yet. The one before it counts again; where there was none,
    its answers are kept as unfinished, to be corrected.

    Raises NotFoundError when there is nothing left to undo.
    """
    stored = _by_key(session, key)
    if stored is not None:
        place = (stored.trajectory_id, stored.segment, stored.annotator)
        if place != (trajectory_id, segment, annotator) or stored.undoes is None:
            raise ConflictError(f"key {key} stands for another annotation; use a new key for every undo")
        return stored
    standing: list[Annotation] = []
    for revision in history(session, trajectory_id, segment=segment, annotator=annotator):
        if revision.undoes is None:
            standing.append(revision)
        else:
            standing.pop()
    if not standing:
        raise NotFoundError("there is nothing to undo here")
    undone = standing.pop()
    again = standing[-1] if standing else replace(undone, status=Status.UNFINISHED)
    return append(session, replace(again, key=key, undoes=undone.id, seconds=0.0), now=now)


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


def newest(session: Session) -> int:
    """The id of the last revision; 0 where there is none."""
    return session.scalar(select(func.max(AnnotationRow.id))) or 0


def is_current() -> Select:
    """The ids of current revisions: the last of each annotator about each segment of what is visible."""
    last = select(func.max(AnnotationRow.id)).where(is_visible(AnnotationRow.trajectory_id))
    return last.group_by(AnnotationRow.trajectory_id, AnnotationRow.segment, AnnotationRow.annotator)


def current(
    session: Session,
    *,
    trajectory_ids: Sequence[str] | None = None,
    annotator: str | None = None,
    status: Status | None = None,
) -> list[Annotation]:
    """Current revisions in the order they were written."""
    last = is_current()
    if trajectory_ids is not None:
        last = last.where(AnnotationRow.trajectory_id.in_(trajectory_ids))
    if annotator is not None:
        last = last.where(AnnotationRow.annotator == annotator)
    wanted = select(AnnotationRow).where(AnnotationRow.id.in_(last))
    if status is not None:
        wanted = wanted.where(AnnotationRow.status == status.value)
    return [_value(row) for row in session.scalars(wanted.order_by(AnnotationRow.id))]


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
        created_at=row.created_at,
    )
