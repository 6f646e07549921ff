"""Appends revisions and updates their items: answers counted, lease outcome, state, rank by disagreement.

Every revision is appended through this module, so that items and leases stay consistent with the annotations. Opens no
transaction.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, ItemRow, LeaseRow
from annotations.errors import LeaseError
from annotations.metrics.disagreement import disagreement
from annotations.schema.annotation import Annotation, Status
from annotations.schema.project import ItemPurpose, Order, Project, Skipping
from annotations.store import items, leases, projects, revisions
from annotations.store.items import ItemState
from annotations.store.leases import COMPLETED, LeaseOutcome


def record(session: Session, annotations: Sequence[Annotation], *, now: datetime) -> list[Annotation]:
    """Append revisions, all or none, and update their items.

    Raises NotFoundError, AnswerError, ConflictError, and LeaseError where one more answer would be too many.
    """
    made = [revisions.append(session, annotation, now=now) for annotation in annotations]
    for item_id, annotator in dict.fromkeys((a.item, a.annotator) for a in made if a.item is not None):
        item = items.get(session, item_id)
        project = projects.get(session, item.project_id)
        submits = any(a.item == item_id and a.status is Status.SUBMITTED for a in made)
        held = leases.is_held(leases.get(session, item, annotator))
        if submits and not held and not leases.has_room(session, project, item, annotator):
            raise LeaseError("others have completed this one meanwhile, so that one more answer would be too many")
        update_item(session, project, item, annotator, now)
    return made


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
    """Append a revision that undoes the last one; its annotator holds the item again. Raises NotFoundError."""
    made = revisions.undo(session, trajectory_id, segment, annotator, project=project, item=item, key=key, now=now)
    if made.item is not None:
        row = items.get(session, made.item)
        update_item(session, projects.get(session, row.project_id), row, annotator, now)
    return made


def update_item(session: Session, project: Project, item: ItemRow, annotator: str, now: datetime) -> None:
    """After a revision of `annotator`: the outcome of their lease, the item's count of answers, state and rank."""
    lease = leases.get(session, item, annotator)
    if lease is None:
        room = leases.has_room(session, project, item, annotator)
        lease = leases.hold(session, item, annotator, now)
        if not room:
            leases.end(session, lease, LeaseOutcome.LAPSED)
    before, after = lease.outcome, _outcome(session, project, item, annotator)
    if after is None and before in COMPLETED:  # taken back: it is theirs again, as far as there is room
        item.answers -= before == LeaseOutcome.SUBMITTED
        lease.outcome = LeaseOutcome.LAPSED.value
        if leases.has_room(session, project, item, annotator):
            leases.hold(session, item, annotator, now)
    elif after is not None:
        item.answers += (after is LeaseOutcome.SUBMITTED) - (before == LeaseOutcome.SUBMITTED)
        lease.outcome = after.value
    if before != lease.outcome:
        was = item.state, item.rank
        item.state = state_of(session, project, item).value
        if project.order is Order.DISAGREEMENT:
            item.rank = -_disagreement(session, project, item)
        session.flush()
        if item.state == ItemState.OPEN and was != (item.state, item.rank):
            items.move_cursors_back(session, project.id, item.priority, item.rank, item.id)
    session.flush()


def _outcome(session: Session, project: Project, item: ItemRow, annotator: str) -> LeaseOutcome | None:
    """SUBMITTED, SKIPPED, or None where parts of the item are unanswered."""
    row = AnnotationRow
    last = select(func.max(row.id)).where(row.item_id == item.id, row.annotator == annotator).group_by(row.segment)
    statuses = select(row.status).where(row.id.in_(last), row.kind == project.subject, row.decision.is_(None))
    done = list(session.scalars(statuses.where(row.status != Status.UNFINISHED.value)))
    if len(done) < item.parts:
        return None
    return LeaseOutcome.SUBMITTED if Status.SUBMITTED.value in done else LeaseOutcome.SKIPPED


def state_of(session: Session, project: Project, item: ItemRow) -> ItemState:
    """OPEN, FULL (overlap reached) or CLOSED (skipped for everybody)."""
    if item.use != ItemPurpose.WORK:
        return ItemState.OPEN
    if project.overlap is not None and item.answers >= project.overlap:
        return ItemState.FULL
    skipped = select(exists().where(LeaseRow.item_id == item.id, LeaseRow.outcome == LeaseOutcome.SKIPPED.value))
    closed = project.skipping is Skipping.EVERYBODY and session.scalar(skipped)
    return ItemState.CLOSED if closed else ItemState.OPEN


def disagreements(session: Session, project: Project, ids: Sequence[int]) -> dict[int, float]:
    """Ranks of those of these items that have two answers or more, for a project ordered by disagreement."""
    several = session.scalars(select(ItemRow).where(ItemRow.id.in_(ids), ItemRow.answers > 1))
    return {item.id: -_disagreement(session, project, item) for item in several}


def _disagreement(session: Session, project: Project, item: ItemRow) -> float:
    """Disagreement of an item's submitted answers, 0…1, without reviewers' decisions."""
    submitted = revisions.current(session, item=item.id, status=Status.SUBMITTED)
    return disagreement(project.questions, [annotation for annotation in submitted if annotation.decision is None])
