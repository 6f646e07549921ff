"""Ranks of a project's items by the expected use of an answer; reads scores and counts, opens no transaction."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotations.db.tables import CriticScoreRow, ItemRow, TrajectoryRow
from annotations.metrics.expected_use import expected_use
from annotations.store.trajectory_columns import category
from model.trajectory import Image, Reflection, Source, Trajectory

Committees = Mapping[tuple[str, int], Mapping[str, float]]  # p_yes by critic, of each picture


def ranks(session: Session, project_id: str, trajectories: Sequence[Trajectory]) -> list[float]:
    """For each trajectory, lower first."""
    committees = _scores(session, [trajectory.id for trajectory in trajectories])
    answered = _answered(session, project_id)
    return [
        -expected_use(_committees(trajectory, committees), answered.get(category(trajectory.prompt), 0))
        for trajectory in trajectories
    ]


def _committees(trajectory: Trajectory, committees: Committees) -> list[list[float]]:
    """For each picture that was reflected on, what all critics say of it, the drawing's own first."""
    made, picture = [], None
    for number, segment in enumerate(trajectory.segments):
        if isinstance(segment, Image | Source):
            picture = number
        elif isinstance(segment, Reflection) and segment.finished and picture is not None:
            made.append([segment.p_yes, *committees.get((trajectory.id, picture), {}).values()])
    return made


def _scores(session: Session, trajectory_ids: Sequence[str]) -> Committees:
    """The newest of each critic."""
    row = CriticScoreRow
    query = select(row.trajectory_id, row.segment, row.critic, row.p_yes).where(row.trajectory_id.in_(trajectory_ids))
    scores: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for id, segment, critic, p_yes in session.execute(query.order_by(row.id)):
        scores[id, segment][critic] = p_yes
    return scores


def _answered(session: Session, project_id: str) -> dict[str | None, int]:
    """How many items of each category somebody has answered."""
    query = select(TrajectoryRow.category, func.count()).join(ItemRow, ItemRow.trajectory_id == TrajectoryRow.id)
    query = query.where(ItemRow.project_id == project_id, ItemRow.answers > 0)
    return dict(session.execute(query.group_by(TrajectoryRow.category)).all())
