"""Rows of items: what a project asks about, its order, what is open.

Knows the rows of items; opens no transaction. Who holds an item is known to `leases`. An item that comes in or back
makes everybody look at it: their place in the line is moved up to it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, false, insert, or_, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from annotations.db.tables import (
    DeletionRow,
    ItemRow,
    LeaseRow,
    PlaceRow,
    PropertyRow,
    TrajectoryImageRow,
    TrajectoryRow,
)
from annotations.errors import NotFoundError, ProjectError
from annotations.schema.annotation import Annotation, Status, validate
from annotations.schema.project import Order, Project, Use
from annotations.schema.subjects import PAIR, WHOLE
from annotations.store import projects
from annotations.store.visibility import is_visible
from model.trajectory import Trajectory

AT_ONCE = 1000  # rows
NO_MARGIN = 1.0  # of a trajectory that judged nothing
PRIORITIES = 1000  # between two lines of a project
MOST_PRIORITY = PRIORITIES // 2 - 1


class State(StrEnum):
    """Whether an item is still given to people."""

    OPEN = "open"
    FULL = "full"  # as many have completed it as were wanted
    CLOSED = "closed"  # somebody has skipped it for everybody
    HIDDEN = "hidden"  # a trajectory of it is deleted, or of an import that is not published yet


@dataclass(frozen=True)
class NewItem:
    """What is put into a project. `gold` says the right answers: [{segment, answers, because}, …]."""

    trajectory_id: str
    other_id: str | None = None
    use: Use = Use.WORK
    priority: int = 0  # lower comes first; at most MOST_PRIORITY either way
    gold: tuple[dict[str, Any], ...] = ()


def collect(session: Session, trajectory: Trajectory, rank: float) -> None:
    """A new trajectory becomes an item of every project that collects them, where it has what they ask about."""
    if trajectory.stop_reason is None:
        return
    for project in projects.collecting(session):
        if parts := parts_of(project, trajectory):
            _insert(session, project, NewItem(trajectory.id), parts, rank_of(project, trajectory, rank))


def stage(session: Session, made: Sequence[tuple[Trajectory, float]]) -> None:
    """As `collect` of trajectories, each with its rank, that nobody sees yet: their items are hidden until they are
    opened.
    """
    finished = [(one, rank) for one, rank in made if one.stop_reason is not None]
    rows = []
    for project in projects.collecting(session):
        line = line_of(session, project.id)
        rows += [
            _values(project, NewItem(one.id), parts, rank_of(project, one, rank), line) | {"state": State.HIDDEN.value}
            for one, rank in finished
            if (parts := parts_of(project, one))
        ]
    if rows:
        session.execute(insert(ItemRow.__table__), rows)


def open_staged(session: Session, trajectory_ids: Sequence[str]) -> None:
    """People are asked about these trajectories from now on, but about none that was deleted."""
    deleted = exists().where(DeletionRow.trajectory_id == ItemRow.trajectory_id)
    theirs = select(ItemRow.project_id, ItemRow.priority, ItemRow.rank, ItemRow.id)
    theirs = theirs.where(ItemRow.trajectory_id.in_(trajectory_ids), ItemRow.other_id.is_(None), ~deleted)
    rows = session.execute(theirs.where(ItemRow.state == State.HIDDEN.value)).all()
    session.execute(update(ItemRow).where(ItemRow.id.in_([row.id for row in rows])).values(state=State.OPEN.value))
    for project_id in {row.project_id for row in rows}:
        first = min((row.priority, row.rank, row.id) for row in rows if row.project_id == project_id)
        move_up(session, project_id, *first)


def add(session: Session, project: Project, new: NewItem) -> int:
    """Put one thing into a project; its id, the old one where it is there already. Raises NotFoundError, ProjectError,
    and AnswerError for right answers that are none.
    """
    trajectory, other, parts = _checked(session, project, new)
    there = select(ItemRow.id).where(ItemRow.project_id == project.id, ItemRow.trajectory_id == trajectory.id)
    there = there.where(ItemRow.other_id.is_(None) if other is None else ItemRow.other_id == other.id)
    found = session.scalar(there)
    if found is not None:
        return found
    return _insert(session, project, new, parts, rank_of(project, trajectory, _seconds(session, trajectory.id)))


def check(session: Session, project: Project, new: Sequence[NewItem]) -> None:
    """Raises what adding one of these would raise."""
    for one in new:
        _checked(session, project, one)


def _checked(session: Session, project: Project, new: NewItem) -> tuple[Trajectory, Trajectory | None, int]:
    trajectory, other = _read(session, new.trajectory_id), _read(session, new.other_id) if new.other_id else None
    parts = parts_of(project, trajectory)
    _check(project, new, trajectory, other, parts)
    return trajectory, other, parts


def _read(session: Session, trajectory_id: str) -> Trajectory:
    shown = TrajectoryRow.id == trajectory_id, is_visible(TrajectoryRow.id)
    body = session.scalar(select(TrajectoryRow.body).where(*shown))
    if body is None:
        raise NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; it may have been deleted")
    return Trajectory.from_dict(body)


def _seconds(session: Session, trajectory_id: str) -> float:
    return session.scalars(select(TrajectoryRow.created_at).where(TrajectoryRow.id == trajectory_id)).one().timestamp()


def _check(project: Project, new: NewItem, trajectory: Trajectory, other: Trajectory | None, parts: int) -> None:
    if (project.subject == PAIR) != (other is not None):
        wanted = "two trajectories" if project.subject == PAIR else "one trajectory"
        raise ProjectError(f"an item of “{project.name}” is {wanted}")
    if other is not None and (other.id == trajectory.id or other.prompt != trajectory.prompt):
        raise ProjectError("a pair is two different trajectories of one prompt, which is what they are compared by")
    if abs(new.priority) > MOST_PRIORITY:
        raise ProjectError(f"got the priority {new.priority}, wanted one from {-MOST_PRIORITY} to {MOST_PRIORITY}")
    if not parts:
        raise ProjectError(f"trajectory {trajectory.id} has no finished {project.subject}, which the project is about")
    if (new.use is Use.WORK) == bool(new.gold):
        raise ProjectError("the right answers belong to items of gold and of practice, and each of those needs them")
    for known in new.gold:
        said = Annotation(trajectory.id, known.get("segment"), "gold", known.get("answers", {}), Status.UNFINISHED)
        validate(said, trajectory, project.questions, other)


def _insert(session: Session, project: Project, new: NewItem, parts: int, rank: float) -> int:
    values = _values(project, new, parts, rank, line_of(session, project.id))
    made = session.scalars(insert(ItemRow).values(**values).returning(ItemRow.id)).one()
    move_up(session, project.id, values["priority"], rank, made)
    return made


def _values(project: Project, new: NewItem, parts: int, rank: float, line: int) -> dict[str, Any]:
    values = {"project_id": project.id, "trajectory_id": new.trajectory_id, "other_id": new.other_id}
    values |= {
        "use": new.use.value,
        "priority": PRIORITIES * line + new.priority,
        "rank": rank,
        "parts": parts,
        "answers": 0,
    }
    return values | {"state": State.OPEN.value, "gold": list(new.gold) or None}


def parts_of(project: Project, trajectory: Trajectory) -> int:
    """How many things of an item an answer is required about."""
    if project.subject in (WHOLE, PAIR):
        return 1
    return sum(segment.kind == project.subject and segment.finished for segment in trajectory.segments)


def subjects_of(project: Project, trajectory: Trajectory) -> list[int | None]:
    """Which those are, by segment."""
    if project.subject in (WHOLE, PAIR):
        return [None]
    return [i for i, s in enumerate(trajectory.segments) if s.kind == project.subject and s.finished]


def rank_of(project: Project, trajectory: Trajectory, moment: float) -> float:
    """The place in the line by the project's order, lower first; `moment` is when it was made, in seconds."""
    match project.order:
        case Order.OLDEST:
            return moment
        case Order.NEWEST:
            return -moment
        case Order.MARGIN:
            return min((abs(2 * r.p_yes - 1) for r in trajectory.reflections if r.finished), default=NO_MARGIN)
        case Order.DISAGREEMENT:
            return 0.0


def get(session: Session, item_id: int) -> ItemRow:
    """The row, to be read and changed within the transaction. Raises NotFoundError."""
    row = session.get(ItemRow, item_id)
    if row is None or row.state == State.HIDDEN:
        raise NotFoundError(f"there is no item {item_id}; its drawing may have been deleted")
    return row


def find(session: Session, project_id: str, trajectory_id: str) -> ItemRow | None:
    """The item that is this one trajectory."""
    wanted = select(ItemRow).where(ItemRow.project_id == project_id, ItemRow.trajectory_id == trajectory_id)
    return session.scalar(wanted.where(ItemRow.other_id.is_(None)))


def is_alike(session: Session, item: ItemRow) -> bool:
    """Whether it is a pair whose last pictures are the same file: nobody can prefer one of them."""
    return session.scalar(select(ItemRow.id).where(ItemRow.id == item.id, _alike())) is not None


def close_alike(session: Session, project: Project) -> None:
    """Nobody is asked about a pair of one picture; what was said of it stays."""
    open_ = ItemRow.project_id == project.id, ItemRow.state == State.OPEN.value
    session.execute(update(ItemRow).where(*open_, _alike()).values(state=State.CLOSED.value))


def _alike() -> ColumnElement[bool]:
    return ItemRow.other_id.is_not(None) & (_last_picture(ItemRow.trajectory_id) == _last_picture(ItemRow.other_id))


def _last_picture(trajectory_id: InstrumentedAttribute) -> ColumnElement[str]:
    row = TrajectoryImageRow
    wanted = select(row.sha256).where(row.trajectory_id == trajectory_id).order_by(row.segment.desc()).limit(1)
    return wanted.correlate(ItemRow).scalar_subquery()


def hide(session: Session, trajectory_id: str) -> None:
    """Nobody is asked about a deleted trajectory any more, and it counts in nobody's progress."""
    of_it = or_(ItemRow.trajectory_id == trajectory_id, ItemRow.other_id == trajectory_id)
    ids = list(session.scalars(select(ItemRow.id).where(of_it)))
    session.execute(update(ItemRow).where(ItemRow.id.in_(ids)).values(state=State.HIDDEN.value))
    session.execute(update(LeaseRow).where(LeaseRow.item_id.in_(ids)).values(outcome="hidden"))


def line_of(session: Session, project_id: str) -> int:
    """Which line of a project its items are put into: each new order makes one, behind those before it."""
    value = session.scalar(select(PropertyRow.value).where(PropertyRow.name == _line_name(project_id)))
    return int(value or 0)


def begin_line(session: Session, project_id: str) -> None:
    """From now on items are put into a new line."""
    name, line = _line_name(project_id), line_of(session, project_id) + 1
    session.execute(delete(PropertyRow).where(PropertyRow.name == name))
    session.execute(insert(PropertyRow).values(name=name, value=str(line)))


def _line_name(project_id: str) -> str:
    return f"line {hashlib.sha256(project_id.encode()).hexdigest()[:32]}"  # as long as a property's name may be


def behind(session: Session, project_id: str, line: int) -> list[int]:
    """The items of older lines, the last of them first."""
    older = ItemRow.project_id == project_id, ItemRow.priority < PRIORITIES * line - MOST_PRIORITY
    last_first = ItemRow.priority.desc(), ItemRow.rank.desc(), ItemRow.id.desc()
    return list(session.scalars(select(ItemRow.id).where(*older).order_by(*last_first)))


def move(session: Session, project_id: str, ranks: Mapping[int, float], line: int) -> None:
    """Move items into a newer line, by their ranks in it."""
    wanted = select(ItemRow.id, ItemRow.priority).where(ItemRow.id.in_(ranks))
    rows = [
        {"id": id, "rank": ranks[id], "priority": PRIORITIES * line + _own_priority(priority)}
        for id, priority in session.execute(wanted)
    ]
    if rows:  # else all were deleted meanwhile
        session.execute(update(ItemRow), rows)
        move_up(session, project_id, *min((row["priority"], row["rank"], row["id"]) for row in rows))


def _own_priority(priority: int) -> int:
    """Without its line."""
    return (priority + PRIORITIES // 2) % PRIORITIES - PRIORITIES // 2


def misfilled(session: Session, project: Project, most: int) -> list[int]:
    """Some items that are open with enough answers, or full with fewer: of before the overlap was changed."""
    return list(session.scalars(select(ItemRow.id).where(*_misfilled(project)).limit(most)))


def refill(session: Session, project: Project, ids: Sequence[int]) -> None:
    """Open and close those of these items that the overlap says."""
    wanted = select(ItemRow.id, ItemRow.state, ItemRow.priority, ItemRow.rank)
    rows = session.execute(wanted.where(ItemRow.id.in_(ids), *_misfilled(project))).all()
    for before, after in ((State.FULL, State.OPEN), (State.OPEN, State.FULL)):
        theirs = [row.id for row in rows if row.state == before]
        session.execute(update(ItemRow).where(ItemRow.id.in_(theirs)).values(state=after.value))
    if reopened := [(row.priority, row.rank, row.id) for row in rows if row.state == State.FULL]:
        move_up(session, project.id, *min(reopened))


def _misfilled(project: Project) -> tuple[ColumnElement[bool], ...]:
    enough = ItemRow.answers >= project.overlap if project.overlap is not None else false()
    full, open_ = ItemRow.state == State.FULL.value, ItemRow.state == State.OPEN.value
    work = ItemRow.project_id == project.id, ItemRow.use == Use.WORK.value
    return *work, or_(and_(full, ~enough), and_(open_, enough))


def move_up(session: Session, project_id: str, priority: int, rank: float, item_id: int) -> None:
    """Nobody's place in the line is behind this item."""
    place = tuple_(PlaceRow.priority, PlaceRow.rank, PlaceRow.item_id)
    behind = update(PlaceRow).where(PlaceRow.project_id == project_id, place > tuple_(priority, rank, item_id))
    session.execute(behind.values(priority=priority, rank=rank, item_id=item_id))
