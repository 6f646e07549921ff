"""Progress and submitted answers of a project.

Knows the rows of items and leases; each call is one transaction of its own. What the answers say of each other is known
to `quality`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, distinct, func, or_, select

from annotations.db.tables import ItemRow, LeaseRow, ProjectRow
from annotations.queue.leases import Outcome
from annotations.schema.annotation import Annotation, Status
from annotations.schema.project import Project, Use
from annotations.store import projects, revisions
from annotations.store.items import State
from annotations.store.store import Store


@dataclass(frozen=True)
class Extent:
    """How much of a project there is, and how much of that is done. Items of work, if nothing else is said."""

    items: int = 0
    done: int = 0  # nobody is asked any more; where as many answer as come, somebody has answered
    answers: int = 0
    gold: int = 0  # items whose right answers are known
    practice: int = 0
    people: int = 0  # who have completed an item


@dataclass(frozen=True)
class AnnotatorProgress:
    """What one person has done of a project, in items."""

    annotator: str
    completed: int
    skipped: int
    extra: int  # too late, or to decide what others disagreed on
    held: int  # now


@dataclass(frozen=True)
class Answered:
    """What counts in a project: current and submitted, without practice."""

    project: Project
    given: tuple[Annotation, ...]
    decided: tuple[Annotation, ...]  # by reviewers, about what others disagreed on
    gold: Mapping[int, tuple[dict[str, Any], ...]]  # the right answers, by item
    others: Mapping[int, str]  # the second of every pair, by item


def extents(store: Store) -> dict[str, Extent]:
    """How far every project is, by its id."""
    done = or_(ItemRow.state == State.CLOSED.value, ItemRow.answers >= func.coalesce(ProjectRow.overlap, 1))
    counted = func.count(), func.sum(case((done, 1), else_=0)), func.sum(ItemRow.answers)
    items_of_use = select(ItemRow.project_id, ItemRow.use, *counted).join(
        ProjectRow, ProjectRow.id == ItemRow.project_id
    )
    items_of_use = items_of_use.where(ItemRow.state != State.HIDDEN.value).group_by(ItemRow.project_id, ItemRow.use)
    people = select(LeaseRow.project_id, func.count(distinct(LeaseRow.annotator)))
    people = people.where(LeaseRow.outcome == Outcome.SUBMITTED.value).group_by(LeaseRow.project_id)
    with store.database.reading() as session:
        numbers_of: dict[str, dict[str, int]] = {project.id: {} for project in projects.get_all(session)}
        for project, use, items, finished, answers in session.execute(items_of_use):
            if use == Use.WORK:
                numbers_of[project] |= {"items": items, "done": int(finished), "answers": int(answers)}
            else:
                numbers_of[project][use] = items
        for project, number in session.execute(people):
            numbers_of[project]["people"] = number
    return {project: Extent(**numbers) for project, numbers in numbers_of.items()}


def shares(store: Store, project_id: str) -> list[AnnotatorProgress]:
    """Everybody's share of a project, the largest first."""
    row = LeaseRow
    query = select(row.annotator, row.outcome, func.count()).where(row.project_id == project_id)
    counts: dict[str, dict[str | None, int]] = {}
    with store.database.reading() as session:
        for annotator, outcome, number in session.execute(query.group_by(row.annotator, row.outcome)):
            counts.setdefault(annotator, {})[outcome] = number
    shares = [
        AnnotatorProgress(
            annotator,
            completed=numbers.get(Outcome.SUBMITTED, 0),
            skipped=numbers.get(Outcome.SKIPPED, 0),
            extra=numbers.get(Outcome.EXTRA, 0),
            held=numbers.get(None, 0),
        )
        for annotator, numbers in counts.items()
    ]
    return sorted(shares, key=lambda share: (-share.completed, share.annotator))


def answered(store: Store, project_id: str) -> Answered:
    """The counted annotations of a project. Raises NotFoundError."""
    with store.database.reading() as session:
        project = projects.get(session, project_id)
        submitted = revisions.current(session, project=project_id, status=Status.SUBMITTED)
        special = select(ItemRow).where(ItemRow.project_id == project_id, ItemRow.use != Use.WORK.value)
        rows = session.scalars(special).all()
        pairs = select(ItemRow.id, ItemRow.other_id).where(ItemRow.project_id == project_id)
        others = dict(session.execute(pairs.where(ItemRow.other_id.is_not(None))).all())
        practice = {row.id: revisions.last_before_practice(row) for row in rows if row.use == Use.PRACTICE}
        gold = {row.id: tuple(row.gold) for row in rows if row.use == Use.GOLD and row.gold}
    worked = [a for a in submitted if a.item not in practice or a.id <= practice[a.item]]
    return Answered(
        project,
        given=tuple(a for a in worked if a.decision is None),
        decided=tuple(a for a in worked if a.decision is not None),
        gold=gold,
        others=others,
    )
