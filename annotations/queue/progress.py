"""Progress and submitted answers of a project.

Knows the rows of items and leases; each call is one transaction of its own. What the answers say of each other is known
to `quality`.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import case, distinct, func, or_, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, DeletionRow, ItemRow, LeaseRow, ProjectRow
from annotations.schema.annotation import Annotation, Status
from annotations.schema.project import ItemPurpose
from annotations.schema.project_answers import ProjectAnswers
from annotations.schema.questions import Question
from annotations.store import projects, revisions
from annotations.store.items import ItemState
from annotations.store.leases import LeaseOutcome
from annotations.store.store import Store


@dataclass(frozen=True)
class ProjectCounts:
    """Counts of a project's items and answers; of work items unless the field says otherwise."""

    items: int = 0
    done: int = 0  # nobody is asked any more; where as many answer as come, somebody has answered
    answers: int = 0
    gold: int = 0  # items whose right answers are known
    practice: int = 0
    people: int = 0  # who have completed an item


@dataclass(frozen=True)
class AnnotatorProgress:
    """Counts of one annotator's items in a project."""

    annotator: str
    completed: int
    skipped: int
    held: int  # now


def first_item(store: Store, project_id: str) -> tuple[str, str | None] | None:
    """The ids of the trajectory, and of the second of a pair, of a project's oldest visible item."""
    row = ItemRow
    visible = row.project_id == project_id, row.state != ItemState.HIDDEN.value
    query = select(row.trajectory_id, row.other_id).where(*visible).order_by(row.id).limit(1)
    with store.database.reading() as session:
        item = session.execute(query).first()
    return (item[0], item[1]) if item is not None else None


def project_counts(store: Store) -> dict[str, ProjectCounts]:
    """Counts of every project, by its id."""
    done = or_(ItemRow.state == ItemState.CLOSED.value, ItemRow.answers >= func.coalesce(ProjectRow.overlap, 1))
    counted = func.count(), func.sum(case((done, 1), else_=0)), func.sum(ItemRow.answers)
    items_of_use = select(ItemRow.project_id, ItemRow.use, *counted).join(
        ProjectRow, ProjectRow.id == ItemRow.project_id
    )
    items_of_use = items_of_use.where(ItemRow.state != ItemState.HIDDEN.value).group_by(ItemRow.project_id, ItemRow.use)
    people = select(LeaseRow.project_id, func.count(distinct(LeaseRow.annotator)))
    people = people.where(LeaseRow.outcome == LeaseOutcome.SUBMITTED.value).group_by(LeaseRow.project_id)
    with store.database.reading() as session:
        numbers_of: dict[str, dict[str, int]] = {project.id: {} for project in projects.get_all(session)}
        for project, use, items, finished, answers in session.execute(items_of_use):
            if use == ItemPurpose.WORK:
                numbers_of[project] |= {"items": items, "done": int(finished), "answers": int(answers)}
            else:
                numbers_of[project][use] = items
        for project, number in session.execute(people):
            numbers_of[project]["people"] = number
    return {project: ProjectCounts(**numbers) for project, numbers in numbers_of.items()}


def annotator_progress(store: Store, project_id: str) -> list[AnnotatorProgress]:
    """Progress of every annotator in a project, most completed items first."""
    row = LeaseRow
    query = select(row.annotator, row.outcome, func.count()).where(row.project_id == project_id)
    counts: dict[str, dict[str | None, int]] = {}
    with store.database.reading() as session:
        for annotator, outcome, number in session.execute(query.group_by(row.annotator, row.outcome)):
            counts.setdefault(annotator, {})[outcome] = number
    shares = [
        AnnotatorProgress(
            annotator,
            completed=numbers.get(LeaseOutcome.SUBMITTED, 0),
            skipped=numbers.get(LeaseOutcome.SKIPPED, 0),
            held=numbers.get(None, 0),
        )
        for annotator, numbers in counts.items()
    ]
    return sorted(shares, key=lambda share: (-share.completed, share.annotator))


def project_answers(store: Store, project_id: str, items: Collection[int] | None = None) -> ProjectAnswers:
    """The counted answers of a project, or of these items of it. Raises NotFoundError."""
    with store.database.reading() as session:
        project = projects.get(session, project_id)
        mine = [ItemRow.project_id == project_id, *([] if items is None else [ItemRow.id.in_(items)])]
        submitted = _submitted(session, project_id, items)
        rows = session.scalars(select(ItemRow).where(*mine, ItemRow.use != ItemPurpose.WORK.value)).all()
        pairs = select(ItemRow.id, ItemRow.other_id).where(*mine, ItemRow.other_id.is_not(None))
        others = dict(session.execute(pairs).all())
        practice = {row.id: revisions.last_before_practice(row) for row in rows if row.use == ItemPurpose.PRACTICE}
        gold = {row.id: tuple(row.gold) for row in rows if row.use == ItemPurpose.GOLD and row.gold}
    worked = [a for a in submitted if a.item not in practice or a.id <= practice[a.item]]
    return ProjectAnswers(
        project,
        submitted=tuple(a for a in worked if a.decision is None),
        decisions=tuple(a for a in worked if a.decision is not None),
        gold=gold,
        others=others,
    )


def _submitted(session: Session, project_id: str, items: Collection[int] | None) -> list[Annotation]:
    narrowed = {"project": project_id, "status": Status.SUBMITTED}
    if items is None:
        return revisions.current(session, **narrowed)
    return [annotation for item in items for annotation in revisions.current(session, item=item, **narrowed)]


@dataclass(frozen=True)
class AnswersVersion:
    """Version of a project's answers. Where two differ in `revision` alone, answers were only added since."""

    revision: int = 0  # the newest of all
    deletions: tuple[int, int] = (0, 0)  # the newest of all, and how many
    questions: tuple[Question, ...] = ()
    special: tuple[tuple[int, str], ...] = ()  # items of gold and of practice


def changes_since(store: Store, project_id: str, since: AnswersVersion) -> tuple[AnswersVersion, set[int] | None]:
    """The version now, and the ids of items with revisions newer than `since`; None where all answers must be read
    anew. Raises NotFoundError."""
    row = AnnotationRow
    with store.database.reading() as session:
        special = select(ItemRow.id, ItemRow.use).where(
            ItemRow.project_id == project_id, ItemRow.use != ItemPurpose.WORK.value
        )
        now = AnswersVersion(
            revisions.newest(session),
            tuple(session.execute(select(func.coalesce(func.max(DeletionRow.id), 0), func.count())).one()),
            projects.get(session, project_id).questions,
            tuple(tuple(values) for values in session.execute(special.order_by(ItemRow.id))),
        )
        if replace(now, revision=since.revision) != since:
            return now, None
        touched = select(row.item_id).where(row.id > since.revision, row.project_id == project_id)
        return now, set(session.scalars(touched.where(row.item_id.is_not(None)).distinct()))
