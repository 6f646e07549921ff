"""Practice of one person in a project: feedback on an answer, the score, a restart.

Knows the rows of items, leases and annotations; each call is one transaction.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from annotations.db.tables import ItemRow, LeaseRow
from annotations.metrics import gold_answers
from annotations.metrics.gold_answers import Feedback
from annotations.schema.annotation import Status
from annotations.schema.project import ItemPurpose, Project
from annotations.store import completion, items, leases, projects, revisions
from annotations.store.leases import COMPLETED, LeaseOutcome
from annotations.store.store import Store


@dataclass(frozen=True)
class PracticeResult:
    """How many items of practice somebody has completed, and how many of them are right in all that is known."""

    right: int
    done: int
    over: bool  # whether no more are asked before work begins


def feedback(store: Store, item_id: int, annotator: str, segments: Collection[int | None]) -> tuple[Feedback, ...]:
    """What is known of these segments of an item of practice, beside what this person submitted."""
    with store.database.reading() as session:
        item = items.get(session, item_id)
        known = [answer for answer in item.gold or () if answer.get("segment") in segments]
        return _compared(session, projects.get(session, item.project_id), item, known, annotator)


def result(store: Store, annotator: str, project_id: str) -> PracticeResult:
    """Of this person in this project, so far. Raises NotFoundError."""
    with store.database.reading() as session:
        project = projects.get(session, project_id)
        practised = _practised(session, project_id, annotator)
        compared = [_compared(session, project, item, item.gold or (), annotator) for item, _ in practised]
        there = session.scalars(select(ItemRow.id).where(*_is_practice(project_id), ItemRow.state == "open")).all()
    right = sum(all(answer.right for answer in answers) for answers in compared)
    return PracticeResult(right, len(compared), over=len(compared) >= min(project.practice, len(there)))


def again(store: Store, annotator: str, project_id: str) -> int:
    """Take back what this person submitted in practice, so that it is asked again, before what they hold already; how
    many items that were.
    """
    mine = LeaseRow.project_id == project_id, LeaseRow.annotator == annotator, LeaseRow.outcome.is_(None)
    with store.database.writing() as session:
        for lease in session.scalars(select(LeaseRow).where(*mine)).all():
            leases.end(session, lease, LeaseOutcome.LEFT)
        practised = _practised(session, project_id, annotator)
        for item, lease in practised:
            submitted = revisions.current(session, item=item.id, annotator=annotator, status=Status.SUBMITTED)
            blank = [replace(each, answers={}, status=Status.UNFINISHED, seconds=0.0, key="") for each in submitted]
            completion.record(session, [replace(each, id=None, created_at=None) for each in blank], now=store.clock())
            leases.end(session, lease, LeaseOutcome.LEFT)
        return len(practised)


def _is_practice(project_id: str) -> tuple[ColumnElement[bool], ...]:
    return ItemRow.project_id == project_id, ItemRow.use == ItemPurpose.PRACTICE.value


def _practised(session: Session, project_id: str, annotator: str) -> list[tuple[ItemRow, LeaseRow]]:
    """The items of practice that somebody has completed, in the order in which they did."""
    query = select(ItemRow, LeaseRow).join(LeaseRow, LeaseRow.item_id == ItemRow.id)
    query = query.where(*_is_practice(project_id), LeaseRow.annotator == annotator, LeaseRow.outcome.in_(COMPLETED))
    return [(item, lease) for item, lease in session.execute(query.order_by(LeaseRow.renewed_at))]


def _compared(
    session: Session, project: Project, item: ItemRow, known: Iterable[Mapping[str, Any]], annotator: str
) -> tuple[Feedback, ...]:
    submitted = revisions.current(session, item=item.id, annotator=annotator, status=Status.SUBMITTED)
    return gold_answers.compare(project.questions, known, submitted)
