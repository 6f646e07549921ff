"""Stock reasons of a project: those that an admin wrote, else those that people wrote most often, else usual ones.

Knows the rows of annotations; one transaction.
"""

from collections import Counter

from sqlalchemy import select

from annotations.db.tables import AnnotationRow
from annotations.schema.annotation import Status
from annotations.schema.project import MOST_REASONS, Project
from annotations.schema.questions import REASON_CORRECTION
from annotations.store.store import Store

RECENT = 2000  # annotations that are looked through
TWICE = 2  # how often a reason is written until it is offered
USUAL_RIGHT = "everything that was asked for is there."  # the one of USUAL that is a reason for “yes”
USUAL = (
    "something that was asked for is missing.",
    "the count is wrong.",
    "a colour is wrong.",
    "something stands in the wrong place.",
    "there is something that was not asked for.",
    "a shape is broken.",
    USUAL_RIGHT,
)


def stock_reasons(store: Store, project: Project) -> tuple[str, ...]:
    """At most MOST_REASONS, in a fixed order: they are on keys."""
    if project.reasons:
        return project.reasons
    written = AnnotationRow.answers[REASON_CORRECTION].as_string()
    query = select(written).where(AnnotationRow.project_id == project.id, written.is_not(None))
    query = query.where(AnnotationRow.status == Status.SUBMITTED.value).order_by(AnnotationRow.id.desc())
    with store.database.reading() as session:
        counted = Counter(" ".join(reason.split()) for reason in session.scalars(query.limit(RECENT)))
    often = [reason for reason, times in counted.most_common(MOST_REASONS - len(USUAL)) if times >= TWICE]
    return (*USUAL, *(reason for reason in often if reason not in USUAL))
