"""Who is asked about what next, as a rule that can be read. It knows the store; it opens transactions of its
own.

A trajectory waits for an annotator while it is finished, visible, and has a reflection of which this
annotator's current annotation is neither submitted nor discarded. The oldest comes first. Nothing is
reserved: two people may be shown the same trajectory, and both their answers count.
"""

from dataclasses import dataclass

from sqlalchemy import Select, and_, func, select

from annotations.annotation import Annotation, Status
from annotations.revisions import append, current, is_current
from annotations.store import Store
from annotations.tables import AnnotationRow, TrajectoryRow
from annotations.trajectories import get, is_visible
from model.trajectory import Reflection, Trajectory

DONE = (Status.SUBMITTED.value, Status.DISCARDED.value)


@dataclass(frozen=True)
class Progress:
    """How far one annotator is, in trajectories."""

    done: int
    waiting: int


def waiting(annotator: str) -> Select:
    """The rule: ids of the trajectories that wait for this annotator, oldest first."""
    done = _done(annotator).subquery()
    wanted = _askable().outerjoin(done, done.c.trajectory_id == TrajectoryRow.id)
    return wanted.where(func.coalesce(done.c.reflections, 0) < TrajectoryRow.num_reflections)


def next_trajectory(store: Store, annotator: str, *, after: str | None = None) -> str | None:
    """The trajectory to show next, None when nothing waits. `after` leaves out one that was just seen."""
    wanted = waiting(annotator)
    if after is not None:
        wanted = wanted.where(TrajectoryRow.id != after)
    with store.database.reading() as session:
        return session.scalar(wanted.limit(1))


def skip(store: Store, trajectory_id: str, annotator: str) -> list[Annotation]:
    """Discard what this annotator has not answered yet of a trajectory; what is submitted stays. An undo
    brings it back. Raises NotFoundError.
    """
    with store.database.writing() as session:
        trajectory = get(session, trajectory_id)
        answered = current(session, trajectory_ids=[trajectory_id], annotator=annotator)
        done = {annotation.segment for annotation in answered if annotation.status in DONE}
        return [
            append(
                session,
                Annotation(trajectory_id, segment, annotator, status=Status.DISCARDED),
                now=store.clock(),
            )
            for segment in _asked(trajectory)
            if segment not in done
        ]


def progress(store: Store, annotator: str) -> Progress:
    """Trajectories that this annotator is done with, and those still waiting."""
    with store.database.reading() as session:
        everything = session.scalar(select(func.count()).select_from(_askable().subquery())) or 0
        left = session.scalar(select(func.count()).select_from(waiting(annotator).subquery())) or 0
    return Progress(done=everything - left, waiting=left)


def _asked(trajectory: Trajectory) -> list[int]:
    return [i for i, s in enumerate(trajectory.segments) if isinstance(s, Reflection) and s.finished]


def _askable() -> Select:
    askable = and_(
        TrajectoryRow.stop_reason.is_not(None),
        TrajectoryRow.num_reflections > 0,
        is_visible(TrajectoryRow.id),
    )
    return select(TrajectoryRow.id).where(askable).order_by(TrajectoryRow.created_at, TrajectoryRow.id)


def _done(annotator: str) -> Select:
    """How many reflections of each trajectory this annotator is done with."""
    row = AnnotationRow
    last = is_current().where(row.annotator == annotator)
    done = select(row.trajectory_id, func.count().label("reflections"))
    done = done.where(row.id.in_(last), row.kind == Reflection.kind, row.status.in_(DONE))
    return done.group_by(row.trajectory_id)
