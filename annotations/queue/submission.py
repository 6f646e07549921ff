"""Submission of answers: submitted, unfinished, skipped; idempotent by key.

Knows the store and the queue's rows; each call is one transaction. An answer that comes too late, when others have
completed the item, is kept as unfinished and its writer is told; unfinished work never takes the place of what was
submitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from uuid import uuid4

from sqlalchemy.orm import Session

from annotations.db.tables import ItemRow
from annotations.errors import AnswerError, ProjectError
from annotations.metrics import gold_answers
from annotations.metrics.gold_answers import Feedback
from annotations.queue.seeded_choice import left_of
from annotations.schema.annotation import DONE, Annotation, Status
from annotations.schema.forms.preference import Preference
from annotations.schema.project import ItemPurpose, Project, Skipping
from annotations.schema.questions import SKIP_REASON
from annotations.store import completion, items, leases, projects, revisions
from annotations.store.items import subjects_of
from annotations.store.leases import COMPLETED, LeaseOutcome
from annotations.store.store import Store
from annotations.store.trajectories import get

ENDED = (*COMPLETED, LeaseOutcome.OVER_QUOTA)
MOST_SKIPS, SKIPS_IN = 100, timedelta(minutes=10)  # of one person in one project


class SubmitResult(StrEnum):
    """What became of what was sent."""

    COUNTED = "counted"
    CHANGED = "changed"  # this person had completed it before; the new answer counts, the old one is in the history
    OVER_QUOTA = "extra"  # others had completed it; kept as unfinished, does not count
    KEPT = "kept"  # unfinished work
    BEHIND = "behind"  # unfinished work of what this person had completed; kept in the history, the submitted counts


SAYS = {
    SubmitResult.COUNTED: "",
    SubmitResult.CHANGED: "You had submitted this before, perhaps in another tab; what you sent now counts.",
    SubmitResult.OVER_QUOTA: "Your time on this ran out; others completed it. Your answers are kept, but do not count.",
    SubmitResult.KEPT: "",
    SubmitResult.BEHIND: "You have submitted this in another tab, which counts; what you wrote here is in the history.",
}


@dataclass(frozen=True)
class Receipt:
    """The result of a submission, for the person who sent it."""

    result: SubmitResult
    annotations: tuple[Annotation, ...]  # as stored
    completed: bool  # whether nothing more is asked about the item
    feedback: tuple[Feedback, ...] = ()  # of practice, once all of the item is answered
    is_practice: bool = False

    @property
    def message(self) -> str:
        return SAYS[self.result]


def submit(store: Store, item_id: int, annotator: str, annotations: Sequence[Annotation]) -> Receipt:
    """Store what a person submits about an item, all of it or none. Sent again with the same keys, it is stored once.

    When their time ran out and others have completed the item, it is kept as unfinished and the receipt says so.
    Raises NotFoundError, AnswerError, ConflictError, each with nothing stored.
    """
    with store.database.writing() as session:
        now = store.clock()
        leases.expire(session, now)
        item = items.get(session, item_id)
        project = projects.get(session, item.project_id)
        lease = leases.get(session, item, annotator)
        before = lease.outcome if lease is not None else None
        if not annotations:
            raise AnswerError("got no answers; answer what is required, or skip it")
        again = all(a.key and revisions.by_key(session, a.key) for a in annotations)
        late = not leases.is_held(lease) and not leases.has_room(session, project, item, annotator)
        late = before == LeaseOutcome.OVER_QUOTA if again else late
        status = Status.UNFINISHED if late else Status.SUBMITTED
        if not late and before not in ENDED:
            leases.hold(session, item, annotator, now)
        ours = [_checked(session, project, item, annotator, a, status) for a in annotations]
        made = tuple(completion.record(session, ours, now=now))
        if late:
            leases.end(session, leases.get(session, item, annotator), LeaseOutcome.OVER_QUOTA)
            return Receipt(SubmitResult.OVER_QUOTA, made, completed=True)
        result = SubmitResult.CHANGED if before in COMPLETED and not again else SubmitResult.COUNTED
        completed = leases.get(session, item, annotator).outcome in COMPLETED
        feedback: tuple[Feedback, ...] = ()
        if completed and item.use == ItemPurpose.PRACTICE:
            feedback = gold_answers.compare(project.questions, item.gold or (), _said(session, item, annotator))
        return Receipt(result, made, completed, feedback, is_practice=item.use == ItemPurpose.PRACTICE)


def save(store: Store, item_id: int, annotator: str, annotations: Sequence[Annotation]) -> Receipt:
    """Keep unfinished work, which is a sign of life as well. It never takes the place of what was submitted.

    Raises NotFoundError, AnswerError, ConflictError.
    """
    with store.database.writing() as session:
        now = store.clock()
        leases.expire(session, now)
        item = items.get(session, item_id)
        project = projects.get(session, item.project_id)
        done = {a.segment for a in _said(session, item, annotator) if a.status in DONE}
        lease = leases.get(session, item, annotator)
        completed = lease is not None and lease.outcome in ENDED
        if not completed and leases.has_room(session, project, item, annotator):
            leases.hold(session, item, annotator, now)
        made, behind = [], False
        for annotation in annotations:
            ours = _checked(session, project, item, annotator, annotation, Status.UNFINISHED)
            known = ours.key and revisions.by_key(session, ours.key)
            made += completion.record(session, [ours], now=now)
            if ours.segment in done:
                behind = True
                if not known:
                    place = {"project": project.id, "item": item.id, "key": "", "now": now}
                    completion.undo(session, item.trajectory_id, ours.segment, annotator, **place)
        return Receipt(SubmitResult.BEHIND if behind else SubmitResult.KEPT, tuple(made), completed)


def skip_item(store: Store, item_id: int, annotator: str, *, reason: str = "") -> list[Annotation]:
    """Leave an item unanswered, by the project's policy; what is submitted of it stays. What that stored: an undo
    takes it back. Raises NotFoundError.
    """
    with store.database.writing() as session:
        now = store.clock()
        leases.expire(session, now)
        item = items.get(session, item_id)
        project = projects.get(session, item.project_id)
        if leases.skipped_since(session, project.id, annotator, now - SKIPS_IN) >= MOST_SKIPS:
            minutes = int(SKIPS_IN.total_seconds() // 60)
            raise ProjectError(
                f"you have skipped {MOST_SKIPS} items in {minutes} minutes; answer this one, or go on a little later"
            )
        by_segment = {a.segment: a for a in _said(session, item, annotator)}
        asked = subjects_of(project, get(session, item.trajectory_id))
        left = [at for at in asked if at not in by_segment or by_segment[at].status not in DONE]
        later = project.skipping is Skipping.LATER
        status = Status.UNFINISHED if later else Status.DISCARDED
        why = {SKIP_REASON.name: reason} if reason.strip() else {}
        made = []
        for at in left:
            known = dict(by_segment[at].answers) if at in by_segment else {}
            if why or not later:
                new = Annotation(item.trajectory_id, at, annotator, known | why if later else why, status)
                made.append(replace(new, project=project.id, item=item.id))
        stored = completion.record(session, made, now=now)
        if left:
            lease = leases.get(session, item, annotator) or leases.hold(session, item, annotator, now)
            lease.renewed_at = now  # when it was skipped
            if later:
                leases.end(session, lease, LeaseOutcome.POSTPONED)
        return stored


def _said(session: Session, item: ItemRow, annotator: str) -> list[Annotation]:
    return revisions.current(session, item=item.id, annotator=annotator)


def _checked(
    session: Session, project: Project, item: ItemRow, annotator: str, annotation: Annotation, status: Status
) -> Annotation:
    """What a person sent as it is stored: in their name, of this item. Raises AnswerError."""
    if annotation.trajectory_id != item.trajectory_id or annotation.annotator != annotator:
        raise AnswerError(
            f"got answers of {annotation.annotator} about {annotation.trajectory_id}, which are not of this item"
        )
    left = left_of(session, item, annotator)
    for question in project.questions:
        value = annotation.answers.get(question.name)
        if isinstance(question.form, Preference) and value is not None and value.get("left") != left:
            raise AnswerError(f"{question.title} What was said to stand on the left did not; open the pair again")
    ours = {"project": project.id, "item": item.id, "status": status, "undoes": None, "decision": None}
    return replace(annotation, **ours, key=annotation.key or uuid4().hex)
