"""Flags of items: a note for the reviewers, and a reviewer's answer. Append-only.

Knows the rows of flags and items; each call is one transaction, but for `flags_of`, which reads in the caller's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.orm import Session, aliased

from annotations.db.tables import FlagRow, ItemRow, LeaseRow, ReturnRow, TrajectoryRow
from annotations.db.visibility import is_visible
from annotations.errors import AnswerError, ConflictError, LeaseError, NotFoundError
from annotations.schema.field_types import is_storable
from annotations.store import items
from annotations.store.store import Store

LONGEST = 1000  # characters of a note or an answer
MOST = 200  # flags that are listed


@dataclass(frozen=True)
class Flag:
    """A note about an item, and its answer, where there is one."""

    id: int
    project: str
    item: int
    trajectory_id: str
    prompt: str
    person: str
    note: str
    created_at: datetime  # UTC
    answer: str | None = None
    answered_by: str | None = None


def flag(store: Store, item_id: int, person: str, note: str) -> int:
    """Flag an item that this person was given; the id of the flag. The same open note again is the same flag.

    Raises NotFoundError, AnswerError for a blank or long note, LeaseError for an item that they were never given.
    """
    note = checked_note(note)
    with store.database.writing() as session:
        item = items.get(session, item_id)
        if session.get(LeaseRow, (item_id, person)) is None:
            raise LeaseError("this was not given to you; load the page again, and flag what it shows")
        known = [f for f in flags_of(session, FlagRow.item_id == item_id, FlagRow.person == person) if f.note == note]
        if known and known[0].answer is None:
            return known[0].id
        values = {"item_id": item.id, "trajectory_id": item.trajectory_id, "project_id": item.project_id}
        return _append(session, values | {"person": person, "note": note, "created_at": store.clock()})


def answer(store: Store, flag_id: int, reviewer: str, note: str) -> int:
    """Answer a flag; the id of the answer. Raises NotFoundError, AnswerError, and ConflictError for one that is
    answered.
    """
    note = checked_note(note)
    with store.database.writing() as session:
        row = session.get(FlagRow, flag_id)
        if row is None or row.answers_id is not None:
            raise NotFoundError("there is no such flag; load the page again")
        if session.scalar(select(FlagRow.id).where(FlagRow.answers_id == flag_id)) is not None:
            raise ConflictError("somebody has answered this meanwhile; load the page again")
        values = {"item_id": row.item_id, "trajectory_id": row.trajectory_id, "project_id": row.project_id}
        values |= {"person": reviewer, "note": note, "answers_id": flag_id, "created_at": store.clock()}
        return _append(session, values)


def flags(store: Store, project_id: str, *, person: str | None = None) -> list[Flag]:
    """Flags of visible drawings in a project, those without an answer first, then the newest; of one person or all."""
    mine = [] if person is None else [FlagRow.person == person]
    with store.database.reading() as session:
        known = flags_of(session, FlagRow.project_id == project_id, *mine)
    return sorted(known, key=lambda f: f.answer is not None)[:MOST]


def flags_of(session: Session, *conditions: ColumnElement[bool]) -> list[Flag]:
    """The flags of visible drawings that fulfil all conditions, the newest first."""
    reply = aliased(FlagRow)
    query = select(FlagRow, TrajectoryRow.prompt, reply.note, reply.person)
    query = query.join(TrajectoryRow, TrajectoryRow.id == FlagRow.trajectory_id)
    query = query.outerjoin(reply, reply.answers_id == FlagRow.id).order_by(FlagRow.id.desc())
    rows = session.execute(query.where(FlagRow.answers_id.is_(None), is_visible(FlagRow.trajectory_id), *conditions))
    return [
        Flag(
            id=row.id,
            project=row.project_id,
            item=row.item_id,
            trajectory_id=row.trajectory_id,
            prompt=prompt,
            person=row.person,
            note=row.note,
            created_at=row.created_at,
            answer=answered,
            answered_by=by,
        )
        for row, prompt, answered, by in rows
    ]


def flags_by_trajectory(session: Session, ids: Sequence[str]) -> dict[str, list[Flag]]:
    """Of some visible trajectories, the flags and the notes of answers that were sent back, the oldest first."""
    by_id: dict[str, list[Flag]] = {}
    noted = [*flags_of(session, FlagRow.trajectory_id.in_(ids)), *_returns(session, ids)] if ids else []
    for each in sorted(noted, key=lambda flag: flag.created_at):
        by_id.setdefault(each.trajectory_id, []).append(each)
    return by_id


def _returns(session: Session, ids: Sequence[str]) -> list[Flag]:
    row, item = ReturnRow, ItemRow
    query = select(row, item.project_id, item.trajectory_id, TrajectoryRow.prompt)
    query = query.join(item, item.id == row.item_id).join(TrajectoryRow, TrajectoryRow.id == item.trajectory_id)
    rows = session.execute(query.where(item.trajectory_id.in_(ids), is_visible(item.trajectory_id)))
    return [
        Flag(each.id, project, each.item_id, trajectory, prompt, each.reviewer, each.note, each.created_at)
        for each, project, trajectory, prompt in rows
    ]


def _append(session: Session, values: dict[str, object]) -> int:
    return session.execute(insert(FlagRow).values(**values).returning(FlagRow.id)).scalar_one()


def checked_note(note: str) -> str:
    """A note without blanks around it. Raises AnswerError."""
    note = note.strip()
    if not note:
        raise AnswerError("got no note; write what is the matter")
    if len(note) > LONGEST or not is_storable(note):
        raise AnswerError(f"got a note that cannot be stored; wanted at most {LONGEST} plain characters")
    return note
