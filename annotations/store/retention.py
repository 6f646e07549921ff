"""Rows of deleted trajectories that nothing refers to: found and removed; `Store.erase` unlinks their pictures.

Knows the rows; opens no transaction and touches no file. A drawing that somebody has annotated, or that a visible one
goes on from, stays hidden and is kept; so does a recorded example, which would come back at the next start.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session, aliased

from annotations.db.tables import (
    AnnotationRow,
    DeletionRow,
    ImageRow,
    ImportFileRow,
    ImportRow,
    ItemRow,
    LeaseRow,
    StagedRow,
    TrajectoryImageRow,
    TrajectoryRow,
)
from annotations.store import facets
from annotations.store.facets import traits_of
from annotations.store.visibility import is_visible

LISTED_BY = [column for column in TrajectoryRow.__table__.columns if column.name != "body"]
AT_ONCE = 200  # trajectories


def purgeable(session: Session, before: datetime) -> list[str]:
    """At most AT_ONCE ids of trajectories that were deleted before then and that nobody's work refers to."""
    branch = aliased(TrajectoryRow)
    goes_on = exists().where(branch.parent_id == TrajectoryRow.id, is_visible(branch.id))
    annotated = exists().where(AnnotationRow.trajectory_id == TrajectoryRow.id)
    compared = exists().where(ItemRow.other_id == TrajectoryRow.id, AnnotationRow.item_id == ItemRow.id)
    wanted = select(TrajectoryRow.id).join(DeletionRow, DeletionRow.trajectory_id == TrajectoryRow.id)
    others = ~annotated, ~compared, ~goes_on, TrajectoryRow.recorded.is_(False)
    wanted = wanted.where(DeletionRow.created_at < before, *others).limit(AT_ONCE)
    return list(session.scalars(wanted))


def purge(session: Session, ids: Sequence[str]) -> list[str]:
    """Delete the rows of trajectories; the hashes of pictures that nothing shows any more."""
    links = TrajectoryImageRow
    shown = list(session.scalars(select(links.sha256).where(links.trajectory_id.in_(ids)).distinct()))
    items = select(ItemRow.id).where(or_(ItemRow.trajectory_id.in_(ids), ItemRow.other_id.in_(ids)))
    session.execute(delete(LeaseRow).where(LeaseRow.item_id.in_(items)))
    session.execute(delete(ItemRow).where(ItemRow.id.in_(items)))
    brought = select(ImportRow.id).where(ImportRow.trajectory_id.in_(ids))
    session.execute(delete(ImportFileRow).where(ImportFileRow.import_id.in_(brought)))
    for row in (links, DeletionRow, ImportRow, StagedRow):
        session.execute(delete(row).where(row.trajectory_id.in_(ids)))
    rows = session.execute(select(*LISTED_BY).where(TrajectoryRow.id.in_(ids))).mappings().all()
    facets.remove(session, {row["number"]: traits_of(row) for row in rows})
    session.execute(delete(TrajectoryRow).where(TrajectoryRow.id.in_(ids)))
    orphans = [one for one in shown if not session.scalar(select(exists().where(links.sha256 == one)))]
    session.execute(delete(ImageRow).where(ImageRow.sha256.in_(orphans)))
    return orphans
