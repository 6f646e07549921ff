"""Reordering and overlap changes of a project's items in short transactions; resumed after a kill.

A new order makes a new line, which lies behind the old one: items go over to it from the old one's end, so that whoever
takes the next item meets the old order, until the last few have gone over and the new order holds. What is broken off
shows in the rows themselves, and `recover` goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotations.db.engine import Database
from annotations.db.tables import ItemRow, TrajectoryRow
from annotations.queue import completion
from annotations.schema.project import Order, Project
from annotations.store import items, projects
from model.trajectory import Trajectory

STEP = 250  # items in one transaction


def recover(database: Database) -> None:
    """Go on with what was broken off, of every project."""
    with database.reading() as session:
        known = [project.id for project in projects.get_all(session)]
    for project_id in known:
        finish(database, project_id)


def finish(database: Database, project_id: str) -> None:
    """All items stand in the project's order, and are open or full as its overlap says. Of a large project this takes a
    while; raises NotFoundError.
    """
    while _move_on(database, project_id):
        pass
    while True:
        with database.reading() as session:
            wrong = items.misfilled(session, projects.get(session, project_id), STEP)
        if not wrong:
            return
        with database.writing() as session:
            items.refill(session, projects.get(session, project_id), wrong)


def _move_on(database: Database, project_id: str) -> bool:
    """Move what is in an older line into the newest; False where nothing was."""
    with database.reading() as session:
        project, line = projects.get(session, project_id), items.line_of(session, project_id)
        behind = items.behind(session, project_id, line)
    for start in range(0, len(behind), STEP):
        ids = behind[start : start + STEP]
        with database.reading() as session:
            ranks = _ranks(session, project, ids)
        with database.writing() as session:
            if items.line_of(session, project_id) != line:
                break  # somebody has changed the order again
            if project.order is Order.DISAGREEMENT:
                ranks |= completion.disagreements(session, project, ids)
            items.move(session, project_id, ranks, line)
    return bool(behind)


def _ranks(session: Session, project: Project, ids: Sequence[int]) -> dict[int, float]:
    wanted = select(ItemRow.id, TrajectoryRow.body, TrajectoryRow.created_at)
    wanted = wanted.join(TrajectoryRow, TrajectoryRow.id == ItemRow.trajectory_id).where(ItemRow.id.in_(ids))
    rows = session.execute(wanted)
    return {id: items.rank_of(project, Trajectory.from_dict(body), at.timestamp()) for id, body, at in rows}
