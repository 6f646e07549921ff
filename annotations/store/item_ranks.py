"""Ranks of a project's items in its order: by time, by the judge's margin, by the acquisition score of active learning.

Reads critics' scores and counts of answers; opens no transaction.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotations.db.tables import CriticScoreRow, ItemRow, TrajectoryRow
from annotations.metrics.acquisition_score import acquisition_score
from annotations.schema.project import Order, Project
from annotations.store.trajectory_columns import category
from model.trajectory import Image, Reflection, Source, Trajectory

NO_MARGIN = 1.0  # of a trajectory without a finished reflection
Committees = Mapping[tuple[str, int], Mapping[str, float]]  # p_yes by critic, of each picture


def of(session: Session, project: Project, created: Sequence[tuple[Trajectory, float]]) -> list[float]:
    """The ranks in the project's order, lower first, of trajectories with the time when they were made, in seconds."""
    if project.order is Order.ACQUISITION_SCORE:
        return _acquisition_scores(session, project.id, [trajectory for trajectory, _ in created])
    return [by_trajectory(project, *each) for each in created]


def by_trajectory(project: Project, trajectory: Trajectory, created: float) -> float:
    """The rank in an order that the trajectory alone decides on; `created`: when it was made, in seconds."""
    match project.order:
        case Order.OLDEST:
            return created
        case Order.NEWEST:
            return -created
        case Order.MARGIN:
            return min((abs(2 * r.p_yes - 1) for r in trajectory.reflections if r.finished), default=NO_MARGIN)
        case Order.DISAGREEMENT | Order.ACQUISITION_SCORE:  # of what else is stored
            return 0.0


def _acquisition_scores(session: Session, project_id: str, trajectories: Sequence[Trajectory]) -> list[float]:
    """For each trajectory minus its acquisition score."""
    committees = _scores(session, [trajectory.id for trajectory in trajectories])
    answered = _answered(session, project_id)
    return [
        -acquisition_score(_committees(trajectory, committees), answered.get(category(trajectory.prompt), 0))
        for trajectory in trajectories
    ]


def _committees(trajectory: Trajectory, committees: Committees) -> list[list[float]]:
    """For each picture that was reflected on, what all critics say of it, the drawing's own first."""
    made: list[list[float]] = []
    picture: int | None = None
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
