"""Purge of deleted trajectories that nothing refers to; `Store.erase` removes their picture files.

Opens no transaction and touches no file. Annotated and flagged trajectories, parents of visible branches, and recorded
examples, which would be added again at the next start, stay hidden.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session, aliased

from annotations.db.administration_tables import ReportRow
from annotations.db.tables import (
    AnnotationRow,
    CriticScoreRow,
    DeletionRow,
    FlagRow,
    ImageRow,
    ImportFileRow,
    ImportRow,
    ItemRow,
    LeaseRow,
    StagedRow,
    TrajectoryImageRow,
    TrajectoryRow,
)
from annotations.db.visibility import is_visible
from annotations.store import search_index
from annotations.store.search_index import terms_of

TRAJECTORIES_PER_PURGE = 200


def purgeable(session: Session, before: datetime) -> list[str]:
    """At most TRAJECTORIES_PER_PURGE ids of trajectories that were deleted before then and that nothing refers to."""
    branch = aliased(TrajectoryRow)
    has_branch = exists().where(branch.parent_id == TrajectoryRow.id, is_visible(branch.id))
    annotated = exists().where(AnnotationRow.trajectory_id == TrajectoryRow.id)
    flagged = exists().where(
        FlagRow.item_id == ItemRow.id,
        or_(ItemRow.trajectory_id == TrajectoryRow.id, ItemRow.other_id == TrajectoryRow.id),
    )
    compared = exists().where(ItemRow.other_id == TrajectoryRow.id, AnnotationRow.item_id == ItemRow.id)
    unreferenced = (
        DeletionRow.restores.is_(None),
        ~annotated,
        ~flagged,
        ~compared,
        ~has_branch,
        TrajectoryRow.recorded.is_(False),
    )
    query = select(TrajectoryRow.id).join(DeletionRow, DeletionRow.trajectory_id == TrajectoryRow.id)
    query = query.where(DeletionRow.created_at < before, *unreferenced)
    return list(session.scalars(query.limit(TRAJECTORIES_PER_PURGE)))


def purge(session: Session, ids: Sequence[str]) -> list[str]:
    """Delete the rows of trajectories; returns the hashes of pictures that no trajectory has any more."""
    links = TrajectoryImageRow
    hashes = list(session.scalars(select(links.sha256).where(links.trajectory_id.in_(ids)).distinct()))
    items = select(ItemRow.id).where(or_(ItemRow.trajectory_id.in_(ids), ItemRow.other_id.in_(ids)))
    session.execute(delete(LeaseRow).where(LeaseRow.item_id.in_(items)))
    session.execute(delete(ItemRow).where(ItemRow.id.in_(items)))
    imports = select(ImportRow.id).where(ImportRow.trajectory_id.in_(ids))
    session.execute(delete(ImportFileRow).where(ImportFileRow.import_id.in_(imports)))
    for row in (links, CriticScoreRow, DeletionRow, ImportRow, ReportRow, StagedRow):
        session.execute(delete(row).where(row.trajectory_id.in_(ids)))
    rows = session.execute(select(*search_index.COLUMNS).where(TrajectoryRow.id.in_(ids))).mappings().all()
    search_index.remove(session, {row["number"]: terms_of(row) for row in rows})
    session.execute(delete(TrajectoryRow).where(TrajectoryRow.id.in_(ids)))
    orphans = [sha256 for sha256 in hashes if not session.scalar(select(exists().where(links.sha256 == sha256)))]
    session.execute(delete(ImageRow).where(ImageRow.sha256.in_(orphans)))
    return orphans
