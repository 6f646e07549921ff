"""Reviewers' decisions on items, and restoring of any revision, decision or not.

Knows the store and the queue's rows; each call is one transaction. A decision is a submitted annotation whose writer
holds the item as an extra one: it takes nobody's place, agreement is measured without it, and it has its revisions and
its trail like every other answer.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotations.db.tables import LeaseRow
from annotations.errors import AnswerError, ProjectError
from annotations.queue import leases
from annotations.queue.leases import COMPLETED, Outcome
from annotations.schema.annotation import Annotation, Status
from annotations.store import items, revisions
from annotations.store.audit import restore, sign
from annotations.store.store import Store


def decide(
    store: Store, item_id: int, reviewer: str, given: Sequence[Annotation], *, restored: tuple[int, str] | None = None
) -> tuple[Annotation, ...]:
    """Store a reviewer's answers about an item, all or none; decided again, the later ones stand. `restored`: the
    revision that is brought back, and by whom.

    Raises NotFoundError, AnswerError, ConflictError, and ProjectError for who has answered the item like the others.
    """
    with store.database.writing() as session:
        item, now = items.get(session, item_id), store.clock()
        lease = leases.get(session, item, reviewer)
        if lease is not None and lease.outcome in COMPLETED:
            raise ProjectError("you are one of those who answered this; let another reviewer decide")
        if not given:
            raise AnswerError("got no answers; answer what is to be decided")
        made = []
        for annotation in given:
            if (annotation.trajectory_id, annotation.annotator) != (item.trajectory_id, reviewer):
                raise AnswerError(f"got answers about {annotation.trajectory_id}, not about this item; open it again")
            ours = replace(annotation, project=item.project_id, item=item.id, status=Status.SUBMITTED, undoes=None)
            made.append(revisions.append(session, ours, now=now))
        leases.end(session, lease or leases.hold(session, item, reviewer, now), Outcome.EXTRA)
        if restored is not None:
            sign(session, made[0], *restored)
        return tuple(made)


def bring_back(store: Store, revision: int, *, key: str = "", by: str = "") -> Annotation:
    """Restore any revision; one of a decision stays a decision. `by`: who does it, for the trail. Raises what
    `audit.restore` and `decide` raise.
    """
    with store.database.reading() as session:
        old = revisions.find(session, revision)
        row = items.get(session, old.item) if old.item is not None else None
        lease = leases.get(session, row, old.annotator) if row is not None else None
        decided = lease is not None and lease.outcome == Outcome.EXTRA and old.status is Status.SUBMITTED
    if decided:
        given = [replace(old, key=key, seconds=0.0, id=None, created_at=None)]
        [again] = decide(store, old.item, old.annotator, given, restored=(revision, by))
        return again
    return restore(store, revision, key=key, by=by)


def decisions_among(session: Session, given: Sequence[Annotation]) -> set[int]:
    """The ids of those revisions that are decisions."""
    extra = select(LeaseRow.item_id, LeaseRow.annotator).where(LeaseRow.outcome == Outcome.EXTRA.value)
    held = {(item, who) for item, who in session.execute(extra)}
    submitted = (a for a in given if a.status is Status.SUBMITTED)
    return {a.id for a in submitted if a.id is not None and (a.item, a.annotator) in held}


def decided(store: Store, given: Sequence[Annotation]) -> dict[tuple[int | None, int | None], Annotation]:
    """What was decided last about each item and segment, among these annotations."""
    with store.database.reading() as session:
        ids = decisions_among(session, given)
    ordered = sorted((a for a in given if a.id in ids), key=lambda a: a.id)
    return {(a.item, a.segment): a for a in ordered}
