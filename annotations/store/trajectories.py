"""Rows of trajectories and of their images: written once, read by id, hidden.

Opens no transaction and sees no file.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import exists, func, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.tables import DeletionRow, ImageRow, StagedRow, TrajectoryImageRow, TrajectoryRow
from annotations.db.visibility import is_staged, is_visible
from annotations.errors import ConflictError, NotFoundError
from annotations.pictures.images import PngFile
from annotations.store import items, search_index
from annotations.store.items import ItemState
from annotations.store.search_index import terms_of
from annotations.store.trajectory_columns import PreparedRows, pictures_by_position, prepare
from model.trajectory import Trajectory

MAX_IDS = 200  # in one query
# Inserting rows into tables costs a fraction of inserting mapped objects.
TRAJECTORIES, IMAGES, LINKS = TrajectoryRow.__table__, ImageRow.__table__, TrajectoryImageRow.__table__
STAGED = StagedRow.__table__


def add(session: Session, trajectory: Trajectory, files: Iterable[PngFile], *, owner: str, recorded: bool) -> None:
    """Write a trajectory and the descriptions of its pictures; the same one again changes nothing.

    Raises ConflictError when the id already stands for another trajectory.
    """
    if already_stored(session, [trajectory]):
        return
    if is_staged(session, trajectory.id):
        raise ConflictError(f"trajectory {trajectory.id} is being imported at this moment; save it when that is done")
    insert_rows(session, [prepare(trajectory, owner=owner, recorded=recorded)], files, visible=True)


def stage(session: Session, prepared: Sequence[PreparedRows], files: Mapping[str, PngFile], *, batch: str) -> None:
    """Write those trajectories of an import run that are not stored yet, invisible until the run is published.

    `files` describes their pictures by hash. Raises ConflictError when an id already stands for another trajectory.
    """
    by_id: dict[str, PreparedRows] = {}
    for rows in prepared:
        first = by_id.setdefault(rows.id, rows)
        if first is not rows and first.trajectory != rows.trajectory:
            raise conflict(rows.id)
    ids = set(session.scalars(select(TrajectoryRow.id).where(TrajectoryRow.id.in_(by_id))))
    stored = already_stored(session, [by_id[id].trajectory for id in ids]) if ids else set()
    new = [rows for id, rows in by_id.items() if id not in stored]
    if new:
        hashes = {sha256 for rows in new for sha256 in pictures_by_position(rows.outline).values()}
        insert_rows(session, new, [files[sha256] for sha256 in hashes], visible=False)
        session.execute(insert(STAGED), [{"trajectory_id": rows.id, "batch": batch} for rows in new])


def insert_rows(session: Session, prepared: Sequence[PreparedRows], files: Iterable[PngFile], *, visible: bool) -> None:
    """Write new trajectories, the descriptions of their pictures, and their items."""
    described = {file.sha256: file for file in files}
    stored = set(session.scalars(select(ImageRow.sha256).where(ImageRow.sha256.in_(described))))
    if new := [dict(vars(file)) for sha256, file in described.items() if sha256 not in stored]:
        session.execute(insert(IMAGES), new)
    numbered = list(enumerate(prepared, start=next_number(session)))
    session.execute(insert(TRAJECTORIES), [rows.columns | {"number": number} for number, rows in numbered])
    state = {search_index.VISIBLE} if visible else set()
    search_index.add(session, {number: rows.terms | state for number, rows in numbered})
    links = [
        {"trajectory_id": rows.id, "segment": segment, "frame": frame, "sha256": sha256}
        for rows in prepared
        for (segment, frame), sha256 in pictures_by_position(rows.outline).items()
    ]
    if links:
        session.execute(insert(LINKS), links)
    created = [(rows.outline, rows.columns["created_at"].timestamp()) for rows in prepared]
    items.collect(session, created, state=ItemState.OPEN if visible else ItemState.HIDDEN)


def publish(session: Session, numbers: Sequence[int]) -> None:
    """Make the trajectories of these numbers visible in lists."""
    search_index.add(session, {number: [search_index.VISIBLE] for number in numbers})


def next_number(session: Session) -> int:
    """The number of the trajectory that is stored next."""
    return 1 + (session.scalar(select(func.max(TrajectoryRow.number))) or 0)


class TakenIds(NamedTuple):
    """Ids that are not free."""

    same: set[str]  # stored with the same content
    others: set[str]  # stored with other content


def taken_ids(session: Session, trajectories: Sequence[Trajectory]) -> TakenIds:
    """Which ids of these trajectories are not free."""
    by_id = {trajectory.id: trajectory for trajectory in trajectories}
    bodies = session.execute(select(TrajectoryRow.id, TrajectoryRow.body).where(TrajectoryRow.id.in_(by_id)))
    same = {id: Trajectory.from_dict(body) == by_id[id] for id, body in bodies}
    return TakenIds({id for id, holds in same.items() if holds}, {id for id, holds in same.items() if not holds})


def already_stored(session: Session, trajectories: Sequence[Trajectory]) -> set[str]:
    """The ids of those that are stored. Raises ConflictError where an id stands for another trajectory."""
    taken = taken_ids(session, trajectories)
    if taken.others:
        raise conflict(min(taken.others))
    return taken.same


def conflict(trajectory_id: str) -> ConflictError:
    """The error of an id that stands for another trajectory."""
    return ConflictError(
        f"trajectory {trajectory_id} is stored with other content, and what is stored never changes; "
        "save this one under an id of its own"
    )


def get(session: Session, trajectory_id: str) -> Trajectory:
    """Raises NotFoundError when there is none or it is hidden."""
    visible = get_all(session, [trajectory_id])
    if not visible:
        raise NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; it may have been deleted")
    return visible[trajectory_id]


def get_all(session: Session, ids: Sequence[str]) -> dict[str, Trajectory]:
    """Those of the trajectories that exist and are visible, by id."""
    found: dict[str, Trajectory] = {}
    for start in range(0, len(ids), MAX_IDS):
        query = select(TrajectoryRow.id, TrajectoryRow.body)
        query = query.where(TrajectoryRow.id.in_(ids[start : start + MAX_IDS]), is_visible(TrajectoryRow.id))
        found |= {id: Trajectory.from_dict(body) for id, body in session.execute(query)}
    return found


def visible_ids(session: Session, ids: Sequence[str]) -> set[str]:
    """Those of the ids that stand for trajectories which exist and are visible."""
    visible: set[str] = set()
    for start in range(0, len(ids), MAX_IDS):
        some = TrajectoryRow.id.in_(ids[start : start + MAX_IDS])
        visible.update(session.scalars(select(TrajectoryRow.id).where(some, is_visible(TrajectoryRow.id))))
    return visible


def mark_annotated(session: Session, trajectory_id: str) -> None:
    """Let lists count the trajectory as annotated from now on."""
    number = session.scalar(select(TrajectoryRow.number).where(TrajectoryRow.id == trajectory_id))
    if number is not None:
        search_index.add(session, {number: [search_index.ANNOTATED]})


def set_columns(session: Session, trajectory_id: str, columns: Mapping[str, object]) -> None:
    """Correct columns that differ from the body, and the terms by which lists find the trajectory."""
    row = TrajectoryRow
    stored = session.execute(select(*TRAJECTORIES.columns).where(row.id == trajectory_id))
    before: dict[Any, Any] = dict(stored.mappings().one())
    session.execute(update(row).where(row.id == trajectory_id).values(**columns))
    old, new = terms_of(before), terms_of({**before, **columns})
    search_index.remove(session, {before["number"]: old - new})
    search_index.add(session, {before["number"]: new - old})


def shows_picture(session: Session, sha256: str) -> bool:
    """Whether a visible trajectory has this picture."""
    link = TrajectoryImageRow
    return bool(session.scalar(select(exists().where(link.sha256 == sha256, is_visible(link.trajectory_id)))))


def hide(session: Session, trajectory_id: str, *, by: str, now: datetime) -> None:
    """Delete it from every list. Raises NotFoundError when there is none; again it changes nothing, but that what could
    be shown again no longer can be.
    """
    row = session.get(TrajectoryRow, trajectory_id)
    if row is None or is_staged(session, trajectory_id):
        raise NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; nothing was deleted")
    if session.scalar(select(exists().where(DeletionRow.trajectory_id == trajectory_id))):
        hidden = DeletionRow.trajectory_id == trajectory_id, DeletionRow.restores.is_not(None)
        session.execute(update(DeletionRow).where(*hidden).values(restores=None, deleted_by=by, created_at=now))
        return
    session.execute(insert(DeletionRow).values(trajectory_id=trajectory_id, deleted_by=by, created_at=now))
    search_index.remove(session, {row.number: [search_index.VISIBLE]})
    items.hide(session, trajectory_id)
