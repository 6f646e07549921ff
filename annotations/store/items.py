"""Rows of items: what a project asks about, in which order, and whether it is open.

Opens no transaction. Who holds an item is known to `leases`. Each annotator has a cursor (`QueueCursorRow`) before
which nothing is left for them to do; an item that is added or reopened before it moves the cursor back.

After a change of the order items get the ranks of the new order a few at a time. Until then the project has two
generations of items: priorities of a newer generation are higher by PRIORITIES, so that it comes after the older one.
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
    PropertyRow,
    QueueCursorRow,
    TrajectoryImageRow,
    TrajectoryRow,
)
from annotations.db.visibility import is_visible
from annotations.errors import NotFoundError, ProjectError
from annotations.schema.annotation import Annotation, Status, validate
from annotations.schema.project import ItemPurpose, Project
from annotations.schema.question_targets import PAIR, WHOLE
from annotations.store import item_ranks, projects
from model.trajectory import Trajectory

ITEMS_PER_CHECK = 1000  # items checked in one transaction
PRIORITIES = 1000  # between two generations of a project's items
MOST_PRIORITY = PRIORITIES // 2 - 1


class ItemState(StrEnum):
    """Whether an item is still assigned to annotators."""

    OPEN = "open"
    FULL = "full"  # as many have completed it as were wanted
    CLOSED = "closed"  # somebody has skipped it for everybody
    HIDDEN = "hidden"  # a trajectory of it is deleted, or of an import that is not published yet


@dataclass(frozen=True)
class NewItem:
    """An item to be added to a project. `gold`: the right answers, [{segment, answers, because}, …]."""

    trajectory_id: str
    other_id: str | None = None
    use: ItemPurpose = ItemPurpose.WORK
    priority: int = 0  # lower comes first; at most MOST_PRIORITY either way
    gold: tuple[dict[str, Any], ...] = ()


def collect(
    session: Session, created: Sequence[tuple[Trajectory, float]], *, state: ItemState = ItemState.OPEN
) -> None:
    """Add new trajectories, each with the time of its creation in seconds, to every project that collects trajectories,
    where they have segments that it asks about. Hidden items are opened by `open_staged`.
    """
    finished = [(trajectory, seconds) for trajectory, seconds in created if trajectory.stop_reason is not None]
    for project in projects.collecting(session):
        generation = generation_of(session, project.id)
        asked = [(each, parts) for each in finished if (parts := parts_of(project, each[0]))]
        ranks = item_ranks.of(session, project, [each for each, _ in asked])
        rows = [
            _values(project, NewItem(trajectory.id), parts, rank, generation) | {"state": state.value}
            for ((trajectory, _), parts), rank in zip(asked, ranks, strict=True)
        ]
        if rows:
            session.execute(insert(ItemRow.__table__), rows)
        if rows and state is ItemState.OPEN:
            move_cursors_back(session, project.id, *min((row["priority"], row["rank"]) for row in rows), item_id=0)


def open_staged(session: Session, trajectory_ids: Sequence[str]) -> None:
    """Open the staged items of these trajectories, but for deleted ones."""
    deleted = exists().where(DeletionRow.trajectory_id == ItemRow.trajectory_id)
    query = select(ItemRow.project_id, ItemRow.priority, ItemRow.rank, ItemRow.id)
    query = query.where(ItemRow.trajectory_id.in_(trajectory_ids), ItemRow.other_id.is_(None), ~deleted)
    rows = session.execute(query.where(ItemRow.state == ItemState.HIDDEN.value)).all()
    session.execute(update(ItemRow).where(ItemRow.id.in_([row.id for row in rows])).values(state=ItemState.OPEN.value))
    for project_id in {row.project_id for row in rows}:
        first = min((row.priority, row.rank, row.id) for row in rows if row.project_id == project_id)
        move_cursors_back(session, project_id, *first)


def add(session: Session, project: Project, new: NewItem) -> int:
    """Add an item to a project; its id, or that of the same item added before. Raises NotFoundError, ProjectError,
    and AnswerError for invalid gold answers.
    """
    trajectory, other, parts = _checked(session, project, new)
    existing = select(ItemRow.id).where(ItemRow.project_id == project.id, ItemRow.trajectory_id == trajectory.id)
    existing = existing.where(ItemRow.other_id.is_(None) if other is None else ItemRow.other_id == other.id)
    if (item_id := session.scalar(existing)) is not None:
        return item_id
    created = select(TrajectoryRow.created_at).where(TrajectoryRow.id == trajectory.id)
    seconds = session.scalars(created).one().timestamp()
    rank = item_ranks.of(session, project, [(trajectory, seconds)])[0]
    values = _values(project, new, parts, rank, generation_of(session, project.id))
    item_id = session.scalars(insert(ItemRow).values(**values).returning(ItemRow.id)).one()
    move_cursors_back(session, project.id, values["priority"], values["rank"], item_id)
    return item_id


def check(session: Session, project: Project, new: Sequence[NewItem]) -> None:
    """Raises what adding one of these would raise."""
    for item in new:
        _checked(session, project, item)


def _checked(session: Session, project: Project, new: NewItem) -> tuple[Trajectory, Trajectory | None, int]:
    trajectory, other = _read(session, new.trajectory_id), _read(session, new.other_id) if new.other_id else None
    parts = parts_of(project, trajectory)
    _check(project, new, trajectory, other, parts)
    return trajectory, other, parts


def _read(session: Session, trajectory_id: str) -> Trajectory:
    visible = TrajectoryRow.id == trajectory_id, is_visible(TrajectoryRow.id)
    body = session.scalar(select(TrajectoryRow.body).where(*visible))
    if body is None:
        raise NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; it may have been deleted")
    return Trajectory.from_dict(body)


def _check(project: Project, new: NewItem, trajectory: Trajectory, other: Trajectory | None, parts: int) -> None:
    if (project.subject == PAIR) != (other is not None):
        expected = "two trajectories" if project.subject == PAIR else "one trajectory"
        raise ProjectError(f"an item of “{project.name}” is {expected}")
    if other is not None and (other.id == trajectory.id or other.prompt != trajectory.prompt):
        raise ProjectError("a pair is two different trajectories of one prompt, which is what they are compared by")
    if abs(new.priority) > MOST_PRIORITY:
        raise ProjectError(f"got the priority {new.priority}, wanted one from {-MOST_PRIORITY} to {MOST_PRIORITY}")
    if not parts:
        raise ProjectError(f"trajectory {trajectory.id} has no finished {project.subject}, which the project is about")
    if (new.use is ItemPurpose.WORK) == bool(new.gold):
        raise ProjectError("the right answers belong to items of gold and of practice, and each of those needs them")
    for gold in new.gold:
        annotation = Annotation(trajectory.id, gold.get("segment"), "gold", gold.get("answers", {}), Status.UNFINISHED)
        validate(annotation, trajectory, project.questions, other)


def _values(project: Project, new: NewItem, parts: int, rank: float, generation: int) -> dict[str, Any]:
    return {
        "project_id": project.id,
        "trajectory_id": new.trajectory_id,
        "other_id": new.other_id,
        "use": new.use.value,
        "state": ItemState.OPEN.value,
        "priority": PRIORITIES * generation + new.priority,
        "rank": rank,
        "parts": parts,
        "answers": 0,
        "gold": list(new.gold) or None,
    }


def parts_of(project: Project, trajectory: Trajectory) -> int:
    """How many subjects of the item need answers."""
    return len(subjects_of(project, trajectory))


def subjects_of(project: Project, trajectory: Trajectory) -> list[int | None]:
    """The subjects that need answers: indices of segments, or None for the whole trajectory or pair."""
    if project.subject in (WHOLE, PAIR):
        return [None]
    return [i for i, s in enumerate(trajectory.segments) if s.kind == project.subject and s.finished]


def get(session: Session, item_id: int) -> ItemRow:
    """The row, to be read and changed within the transaction. Raises NotFoundError."""
    row = session.get(ItemRow, item_id)
    if row is None or row.state == ItemState.HIDDEN:
        raise NotFoundError(f"there is no item {item_id}; its drawing may have been deleted")
    return row


def find(session: Session, project_id: str, trajectory_id: str) -> ItemRow | None:
    """The item of a single trajectory, not of a pair."""
    query = select(ItemRow).where(ItemRow.project_id == project_id, ItemRow.trajectory_id == trajectory_id)
    return session.scalar(query.where(ItemRow.other_id.is_(None)))


def is_identical_pair(session: Session, item: ItemRow) -> bool:
    """Whether it is a pair whose last pictures are the same file, so that neither can be preferred."""
    return session.scalar(select(ItemRow.id).where(ItemRow.id == item.id, _is_identical_pair())) is not None


def close_identical_pairs(session: Session, project: Project) -> None:
    """Stop assigning pairs of the same picture; their answers stay."""
    open_ = ItemRow.project_id == project.id, ItemRow.state == ItemState.OPEN.value
    session.execute(update(ItemRow).where(*open_, _is_identical_pair()).values(state=ItemState.CLOSED.value))


def _is_identical_pair() -> ColumnElement[bool]:
    return ItemRow.other_id.is_not(None) & (_last_picture(ItemRow.trajectory_id) == _last_picture(ItemRow.other_id))


def _last_picture(trajectory_id: InstrumentedAttribute[Any]) -> ColumnElement[str]:
    row = TrajectoryImageRow
    pictures = select(row.sha256).where(row.trajectory_id == trajectory_id, row.frame == 0)
    last = pictures.order_by(row.segment.desc()).limit(1)
    return last.correlate(ItemRow).scalar_subquery()


def hide(session: Session, trajectory_id: str) -> None:
    """Hide the items of a deleted trajectory from assignment and from everybody's progress."""
    shows_it = or_(ItemRow.trajectory_id == trajectory_id, ItemRow.other_id == trajectory_id)
    ids = list(session.scalars(select(ItemRow.id).where(shows_it)))
    session.execute(update(ItemRow).where(ItemRow.id.in_(ids)).values(state=ItemState.HIDDEN.value))
    session.execute(update(LeaseRow).where(LeaseRow.item_id.in_(ids)).values(outcome="hidden"))


def generation_of(session: Session, project_id: str) -> int:
    """The generation of a project's new items; each change of its order begins one."""
    value = session.scalar(select(PropertyRow.value).where(PropertyRow.name == _generation_property(project_id)))
    return int(value or 0)


def begin_generation(session: Session, project_id: str) -> None:
    """Add items to a new generation from now on."""
    name, generation = _generation_property(project_id), generation_of(session, project_id) + 1
    session.execute(delete(PropertyRow).where(PropertyRow.name == name))
    session.execute(insert(PropertyRow).values(name=name, value=str(generation)))


def _generation_property(project_id: str) -> str:
    return f"line {hashlib.sha256(project_id.encode()).hexdigest()[:32]}"  # as long as a property's name may be


def of_older_generations(session: Session, project_id: str, generation: int) -> list[int]:
    """The ids of items of earlier generations, the last in order first."""
    older = ItemRow.project_id == project_id, ItemRow.priority < PRIORITIES * generation - MOST_PRIORITY
    last_first = ItemRow.priority.desc(), ItemRow.rank.desc(), ItemRow.id.desc()
    return list(session.scalars(select(ItemRow.id).where(*older).order_by(*last_first)))


def move_to_generation(session: Session, project_id: str, ranks: Mapping[int, float], generation: int) -> None:
    """Move items to a newer generation, with their ranks in it."""
    query = select(ItemRow.id, ItemRow.priority).where(ItemRow.id.in_(ranks))
    rows = [
        {"id": id, "rank": ranks[id], "priority": PRIORITIES * generation + _own_priority(priority)}
        for id, priority in session.execute(query)
    ]
    if rows:  # else all were deleted meanwhile
        session.execute(update(ItemRow), rows)
        move_cursors_back(session, project_id, *min((row["priority"], row["rank"], row["id"]) for row in rows))


def _own_priority(priority: int) -> int:
    """Without the part that encodes the generation."""
    return (priority + PRIORITIES // 2) % PRIORITIES - PRIORITIES // 2


def with_outdated_state(session: Session, project: Project, limit: int) -> list[int]:
    """Ids of items that are open with enough answers, or full with fewer, since the overlap was changed."""
    return list(session.scalars(select(ItemRow.id).where(*_is_outdated(project)).limit(limit)))


def update_states(session: Session, project: Project, ids: Sequence[int]) -> None:
    """Open or fill those of these items whose state does not fit the overlap."""
    query = select(ItemRow.id, ItemRow.state, ItemRow.priority, ItemRow.rank)
    rows = session.execute(query.where(ItemRow.id.in_(ids), *_is_outdated(project))).all()
    for before, after in ((ItemState.FULL, ItemState.OPEN), (ItemState.OPEN, ItemState.FULL)):
        changed = [row.id for row in rows if row.state == before]
        session.execute(update(ItemRow).where(ItemRow.id.in_(changed)).values(state=after.value))
    if reopened := [(row.priority, row.rank, row.id) for row in rows if row.state == ItemState.FULL]:
        move_cursors_back(session, project.id, *min(reopened))


def _is_outdated(project: Project) -> tuple[ColumnElement[bool], ...]:
    enough = ItemRow.answers >= project.overlap if project.overlap is not None else false()
    full, open_ = ItemRow.state == ItemState.FULL.value, ItemRow.state == ItemState.OPEN.value
    work = ItemRow.project_id == project.id, ItemRow.use == ItemPurpose.WORK.value
    return *work, or_(and_(full, ~enough), and_(open_, enough))


def move_cursors_back(session: Session, project_id: str, priority: int, rank: float, item_id: int) -> None:
    """Move the cursors of annotators that are after this item back to it."""
    cursor = tuple_(QueueCursorRow.priority, QueueCursorRow.rank, QueueCursorRow.item_id)
    later = update(QueueCursorRow).where(
        QueueCursorRow.project_id == project_id, cursor > tuple_(priority, rank, item_id)
    )
    session.execute(later.values(priority=priority, rank=rank, item_id=item_id))
