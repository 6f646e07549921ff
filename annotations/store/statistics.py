"""Counts of visible trajectories, images, annotations and people, for the Datasets page."""

from dataclasses import dataclass

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, TrajectoryImageRow
from annotations.schema.questions import NO, REASON_CORRECTION, VERDICT_RIGHT
from annotations.store import facets
from annotations.store.revisions import counts
from annotations.store.visibility import is_visible
from model.trajectory import Reflection


@dataclass(frozen=True)
class Counts:
    """Numbers of visible things. Annotations are those that count, people count by their names."""

    trajectories: int
    recorded: int  # of these, shipped with the studio
    aha: int  # of these, with an aha moment
    images: int
    annotations: int
    annotators: int
    reflections: int  # that somebody has annotated
    corrected: int  # reflections whose reason somebody has corrected
    wrong_verdicts: int  # reflections whose verdict somebody has called wrong


def count(session: Session) -> Counts:
    images = select(func.count(distinct(TrajectoryImageRow.sha256)))
    row = AnnotationRow
    submitted = counts()
    judged = select(row.trajectory_id, row.segment).where(submitted, row.kind == Reflection.kind).distinct()
    corrected = judged.where(row.answers[REASON_CORRECTION].as_string().is_not(None))
    wrong = judged.where(row.answers[VERDICT_RIGHT].as_string() == NO)

    def number(wanted) -> int:
        return session.scalar(wanted) or 0

    return Counts(
        trajectories=facets.count(session),
        recorded=facets.count(session, facets.RECORDED),
        aha=facets.count(session, facets.AHA),
        images=number(images.where(is_visible(TrajectoryImageRow.trajectory_id))),
        annotations=number(select(func.count()).select_from(row).where(submitted)),
        annotators=number(select(func.count(distinct(row.annotator))).where(submitted)),
        reflections=number(select(func.count()).select_from(judged.subquery())),
        corrected=number(select(func.count()).select_from(corrected.subquery())),
        wrong_verdicts=number(select(func.count()).select_from(wrong.subquery())),
    )
