"""Reordering and overlap changes of a project's items in short transactions; resumed after a kill.

A new order begins a new generation of items, which comes after the old one. Items are moved to it from the end of the
old one, so that the old order holds for whoever takes the next item until the last few have been moved. An interrupted
change shows in the rows themselves, and `recover` resumes it.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotations.db.engine import Database
from annotations.db.tables import ItemRow, TrajectoryRow
from annotations.schema.project import Order, Project
from annotations.store import completion, item_ranks, items, projects
from model.trajectory import Trajectory

STEP = 250  # items in one transaction


def recover(database: Database) -> None:
    """Resume interrupted changes of every project."""
    with database.reading() as session:
        project_ids = [project.id for project in projects.get_all(session)]
    for project_id in project_ids:
        finish(database, project_id)


def finish(database: Database, project_id: str) -> None:
    """Bring all items into the project's order, and open or fill them by its overlap; slow for a large project. Raises
    NotFoundError.
    """
    while _move_older(database, project_id):
        pass
    while True:
        with database.reading() as session:
            outdated = items.with_outdated_state(session, projects.get(session, project_id), STEP)
        if not outdated:
            return
        with database.writing() as session:
            items.update_states(session, projects.get(session, project_id), outdated)


def rank_anew(database: Database, order: Order) -> None:
    """Rank the items of all projects of an order that goes by what was stored since they came in."""
    with database.reading() as session:
        project_ids = [project.id for project in projects.get_all(session) if project.order is order]
    for project_id in project_ids:
        with database.writing() as session:
            items.begin_generation(session, project_id)
        finish(database, project_id)


def _move_older(database: Database, project_id: str) -> bool:
    """Move items of older generations to the newest; False where there were none."""
    with database.reading() as session:
        project, generation = projects.get(session, project_id), items.generation_of(session, project_id)
        older = items.of_older_generations(session, project_id, generation)
    for start in range(0, len(older), STEP):
        ids = older[start : start + STEP]
        with database.reading() as session:
            ranks = _ranks(session, project, ids)
        with database.writing() as session:
            if items.generation_of(session, project_id) != generation:
                break  # the order was changed again meanwhile
            if project.order is Order.DISAGREEMENT:
                ranks |= completion.disagreements(session, project, ids)
            items.move_to_generation(session, project_id, ranks, generation)
    return bool(older)


def _ranks(session: Session, project: Project, ids: Sequence[int]) -> dict[int, float]:
    query = select(ItemRow.id, TrajectoryRow.body, TrajectoryRow.created_at)
    query = query.join(TrajectoryRow, TrajectoryRow.id == ItemRow.trajectory_id).where(ItemRow.id.in_(ids))
    rows = session.execute(query).all()
    created = [(Trajectory.from_dict(row.body), row.created_at.timestamp()) for row in rows]
    return dict(zip([row.id for row in rows], item_ranks.of(session, project, created), strict=True))
