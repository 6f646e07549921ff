"""Reviewers' decisions on items, answers sent back, and restoring of any revision, decision or not.

Knows the store and the queue's rows; each call is one transaction. A decision is a submitted annotation that says of
what kind it is. Its writer holds the item as an extra one: it takes nobody's place, agreement is measured without it,
and it has its revisions and its trail like every other answer.
"""

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from sqlalchemy import insert, or_, select

from annotations.db.tables import ReturnRow
from annotations.errors import AnswerError, ProjectError
from annotations.queue.audit import record_restorer, restore
from annotations.queue.flags import checked_note
from annotations.schema.annotation import Annotation, Decision, Status, validate
from annotations.schema.project import ItemPurpose
from annotations.schema.questions import Question
from annotations.store import completion, items, leases, projects, revisions
from annotations.store.leases import COMPLETED, LeaseOutcome
from annotations.store.store import Store
from annotations.store.trajectories import get


def decide(
    store: Store,
    item_id: int,
    reviewer: str,
    annotations: Sequence[Annotation],
    *,
    restored: tuple[int, str] | None = None,
) -> tuple[Annotation, ...]:
    """Store a reviewer's answers about an item, all or none; decided again, the later ones stand. `restored`: the
    revision that is brought back, and by whom.

    Raises NotFoundError, AnswerError, ConflictError, and ProjectError for a reviewer who has answered the item.
    """
    with store.database.writing() as session:
        item, now = items.get(session, item_id), store.clock()
        lease = leases.get(session, item, reviewer)
        if lease is not None and lease.outcome in COMPLETED:
            raise ProjectError("you are one of those who answered this; let another reviewer decide")
        if not annotations:
            raise AnswerError("got no answers; answer what is to be decided")
        project, answered = projects.get(session, item.project_id), revisions.current(session, item=item.id)
        pair = get(session, item.trajectory_id), get(session, item.other_id) if item.other_id else None
        made = []
        for annotation in annotations:
            if (annotation.trajectory_id, annotation.annotator) != (item.trajectory_id, reviewer):
                raise AnswerError(f"got answers about {annotation.trajectory_id}, not about this item; open it again")
            ours = replace(annotation, project=item.project_id, item=item.id, status=Status.SUBMITTED, undoes=None)
            validate(ours, pair[0], project.questions, pair[1])
            ours = replace(ours, decision=kind_of_decision(project.questions, ours, answered))
            made.append(revisions.append(session, ours, now=now))
        leases.end(session, lease or leases.hold(session, item, reviewer, now), LeaseOutcome.OVER_QUOTA)
        if restored is not None:
            record_restorer(session, made[0], *restored)
        return tuple(made)


def kind_of_decision(questions: Sequence[Question], decided: Annotation, answered: Sequence[Annotation]) -> Decision:
    """By what people have submitted, among `answered`, about the segment that is decided."""
    forms = {question.name: question.form for question in questions}
    people = [a for a in answered if a.segment == decided.segment and _counts(a)]

    def same(name: str, other: Annotation) -> bool:
        pair = decided.answers[name], other.answers.get(name)
        return None not in pair and (name not in forms or len(set(map(forms[name].comparable, pair))) == 1)

    if any(all(same(name, person) for name in decided.answers) for person in people):
        return Decision.ACCEPTED
    for name in decided.answers:
        asked = [person for person in people if name in person.answers]
        compared = name in forms and forms[name].level is not None
        if compared and asked and not any(same(name, person) for person in asked):
            return Decision.REJECTED
    return Decision.REWRITTEN


def send_back(store: Store, item_id: int, annotator: str, reviewer: str, note: str, *, to_others: bool) -> None:
    """Take back what a person submitted about an item: they or somebody else are asked again and shown the note. Their
    answers stay as unfinished ones.

    Raises NotFoundError, AnswerError for a blank or long note, ProjectError where there is nothing to send back.
    """
    note = checked_note(note)
    with store.database.writing() as session:
        item, now = items.get(session, item_id), store.clock()
        submitted = [a for a in revisions.current(session, item=item_id, annotator=annotator) if _counts(a)]
        if not submitted or item.use != ItemPurpose.WORK:
            raise ProjectError("nothing of theirs counts here any more; load the page again")
        for annotation in submitted:
            place = {"project": item.project_id, "item": item_id, "key": uuid4().hex, "now": now}
            undone = completion.undo(session, annotation.trajectory_id, annotation.segment, annotator, **place)
            record_restorer(session, undone, annotation.id or 0, reviewer)
        lease = leases.get(session, item, annotator)
        leases.end(session, lease, LeaseOutcome.OVER_QUOTA if to_others else LeaseOutcome.LEFT)
        values = {"item_id": item_id, "annotator": annotator, "reviewer": reviewer, "note": note}
        session.execute(insert(ReturnRow).values(**values, to_others=to_others, created_at=now))


def _counts(annotation: Annotation) -> bool:
    return annotation.status is Status.SUBMITTED and annotation.decision is None


def returned(store: Store, item_id: int, annotator: str) -> str | None:
    """The last note with which an item came back to this person, or was sent on from others; None where they have
    answered it since, or nobody sent it back."""
    row = ReturnRow
    with store.database.reading() as session:
        if any(_counts(a) for a in revisions.current(session, item=item_id, annotator=annotator)):
            return None
        to_them = or_(row.annotator == annotator, row.to_others)
        query = select(row.note).where(row.item_id == item_id, to_them).order_by(row.id.desc()).limit(1)
        return session.scalar(query)


def restore_revision(store: Store, revision: int, *, key: str = "", by: str = "") -> Annotation:
    """Restore any revision; one of a decision stays a decision. `by`: who does it, for the trail. Raises what
    `audit.restore` and `decide` raise.
    """
    with store.database.reading() as session:
        old = revisions.by_id(session, revision)
    if old.decision is None:
        return restore(store, revision, key=key, by=by)
    restored = [replace(old, key=key, seconds=0.0, id=None, created_at=None)]
    [again] = decide(store, old.item, old.annotator, restored, restored=(revision, by))
    return again
