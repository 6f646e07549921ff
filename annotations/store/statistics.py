"""Counts of visible trajectories, images, annotations and people, for the Datasets page."""

from dataclasses import dataclass

from sqlalchemy import Select, distinct, func, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, TrajectoryImageRow
from annotations.db.visibility import is_visible
from annotations.schema.questions import NO, REASON_CORRECTION, VERDICT_RIGHT
from annotations.store import search_index
from annotations.store.revisions import is_counted
from model.trajectory import Reflection


@dataclass(frozen=True)
class StoreCounts:
    """Numbers of visible rows; annotations are the counted ones of `revisions.is_counted`."""

    trajectories: int
    recorded: int  # of these, shipped with the studio
    aha: int  # of these, with an aha moment
    images: int
    annotations: int
    annotators: int
    reflections: int  # with an annotation
    corrected: int  # reflections with a corrected reason
    wrong_verdicts: int  # reflections whose verdict was rated wrong


def count(session: Session) -> StoreCounts:
    images = select(func.count(distinct(TrajectoryImageRow.sha256))).where(TrajectoryImageRow.frame == 0)
    row = AnnotationRow
    submitted = is_counted()
    annotated = select(row.trajectory_id, row.segment).where(submitted, row.kind == Reflection.kind).distinct()
    corrected = annotated.where(row.answers[REASON_CORRECTION].as_string().is_not(None))
    wrong = annotated.where(row.answers[VERDICT_RIGHT].as_string() == NO)

    def number(query: Select[int]) -> int:
        return session.scalar(query) or 0

    return StoreCounts(
        trajectories=search_index.count(session),
        recorded=search_index.count(session, search_index.RECORDED),
        aha=search_index.count(session, search_index.AHA),
        images=number(images.where(is_visible(TrajectoryImageRow.trajectory_id))),
        annotations=number(select(func.count()).select_from(row).where(submitted)),
        annotators=number(select(func.count(distinct(row.annotator))).where(submitted)),
        reflections=number(select(func.count()).select_from(annotated.subquery())),
        corrected=number(select(func.count()).select_from(corrected.subquery())),
        wrong_verdicts=number(select(func.count()).select_from(wrong.subquery())),
    )
