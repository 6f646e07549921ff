"""Rows of trajectories: written once, read, listed newest first, hidden.

Knows the rows of trajectories and their images and turns them into values and back; sees no file and opens no
transaction. Used by the store; pages see its values `TrajectorySummary` and `Cursor`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import exists, func, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.json_text import JsonText, sorted_json
from annotations.db.tables import DeletionRow, ImageRow, StagedRow, TrajectoryImageRow, TrajectoryRow
from annotations.errors import ConflictError, NotFoundError, TrajectoryError
from annotations.store import facets, items
from annotations.store.facets import Traits, exactly, named, of_search, traits_of
from annotations.store.images import PngFile
from annotations.store.visibility import is_staged, is_visible
from model.trajectory import Image, Reflection, Segment, Source, StopReason, Thought, Trajectory
from model.world.language import category_of, parse

MOST = 200  # rows of one page
# many rows at a time are inserted into tables, which costs a fraction of what objects cost
TRAJECTORIES, IMAGES, LINKS = TrajectoryRow.__table__, ImageRow.__table__, TrajectoryImageRow.__table__
STAGED = StagedRow.__table__


class Cursor(NamedTuple):
    """A place in the list, newest first; `str(cursor)` goes into a URL and `Cursor.parse` reads it."""

    number: int  # of the last that was seen

    def __str__(self) -> str:
        return str(self.number)

    @staticmethod
    def parse(text: str) -> "Cursor":
        """Raises NotFoundError for what no cursor looks like."""
        if not re.fullmatch("[0-9]{1,9}", text):
            raise NotFoundError(f"{text[:80]!r} is no place in the list; start at its beginning")
        return Cursor(int(text))


@dataclass(frozen=True)
class TrajectorySummary:
    """A trajectory as a list shows it."""

    id: str
    prompt: str
    created_at: datetime  # UTC
    checkpoint: str
    aha: bool
    stop_reason: StopReason | None
    recorded: bool  # shipped with the studio
    cover: str | None  # sha256 of the last image, of a given one where none was drawn
    owner: str
    answers: tuple[str, ...]  # of the reflections, in order
    parent_id: str | None = None  # what it goes on from
    number: int = 0  # its place in the list

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.number)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a list keeps; None keeps all."""

    checkpoint: str | None = None
    category: str | None = None  # of the prompt, as model.world.language names it
    aha: bool | None = None
    recorded: bool | None = None
    owner: str | None = None
    verdict: str | None = None  # the last one: "yes" or "no"
    branch: bool | None = None  # whether it goes on from another
    annotated: bool | None = None  # whether somebody has judged it, whatever became of the judgement
    search: str | None = None  # words that begin words of the prompt, all of them


EVERYTHING = Filter()


def pictures_of(trajectory: Trajectory) -> dict[int, str]:
    """The hash of the picture of each segment that has one, by index."""
    shown = (Image, Source)
    return {i: s.sha256 for i, s in enumerate(trajectory.segments) if isinstance(s, shown) and s.sha256}


def add(session: Session, trajectory: Trajectory, files: Iterable[PngFile], *, owner: str, recorded: bool) -> None:
    """Write a trajectory and what is known of its pictures; the same one again changes nothing.

    Raises ConflictError when the id already stands for another trajectory.
    """
    if not check_free(session, trajectory):
        return
    if is_staged(session, trajectory.id):
        raise ConflictError(f"trajectory {trajectory.id} is being imported at this moment; save it when that is done")
    _insert(session, [prepared(trajectory, owner=owner, recorded=recorded)], files, visible=True)
    items.collect(session, trajectory, moment_of(trajectory).timestamp())


class PreparedRows(NamedTuple):
    """What is written of a trajectory, worked out before others have to wait."""

    outline: Trajectory  # without its codes and words
    columns: dict[str, Any]  # all but its number; the body is JsonText
    traits: set[bytes]

    @property
    def id(self) -> str:
        return self.outline.id

    @property
    def trajectory(self) -> Trajectory:
        """All of it."""
        return Trajectory.from_dict(json.loads(self.columns["body"]))


def prepared(
    trajectory: Trajectory, *, owner: str, recorded: bool = False, body: JsonText | None = None
) -> PreparedRows:
    """`body`: the trajectory as JSON, where that was written already. Raises TrajectoryError."""
    try:
        columns = copied(trajectory) | {"id": trajectory.id, "body": body or sorted_json(trajectory.to_dict())}
    except ValueError as error:
        raise TrajectoryError(f"trajectory {trajectory.id} cannot be kept as JSON: {str(error)[:200]}") from error
    columns |= {"owner": owner, "recorded": recorded}
    return PreparedRows(outline_of(trajectory), columns, traits_of(columns))


def outline_of(trajectory: Trajectory) -> Trajectory:
    """The trajectory without its codes and words: all that its items and its pictures follow from."""
    return replace(trajectory, segments=tuple(_outline(segment) for segment in trajectory.segments))


def _outline(segment: Segment) -> Segment:
    match segment:
        case Image():
            return Image((), segment.sha256, (), segment.finished)
        case Source():
            return Source((), segment.sha256, segment.finished)
        case Reflection():
            return Reflection(segment.answer, segment.p_yes, (), segment.finished)
        case Thought():
            return Thought((), segment.finished)


def stage(session: Session, made: Sequence[PreparedRows], files: Mapping[str, PngFile], *, batch: str) -> None:
    """Write those trajectories of an import run that are not stored yet; nobody sees them before it is published.

    `files` describes their pictures by hash. Raises ConflictError when an id already stands for another trajectory.
    """
    by_id: dict[str, PreparedRows] = {}
    for one in made:
        other = by_id.setdefault(one.id, one)
        if other is not one and other.trajectory != one.trajectory:
            raise taken(one.id)
    there = set(session.scalars(select(TrajectoryRow.id).where(TrajectoryRow.id.in_(by_id))))
    stored = free_or_same(session, [by_id[id].trajectory for id in there]) if there else set()
    new = [one for id, one in by_id.items() if id not in stored]
    if new:
        shown = {sha256 for one in new for sha256 in pictures_of(one.outline).values()}
        _insert(session, new, [files[sha256] for sha256 in shown], visible=False)
        session.execute(insert(STAGED), [{"trajectory_id": one.id, "batch": batch} for one in new])
        items.stage(session, [(one.outline, one.columns["created_at"].timestamp()) for one in new])


def _insert(session: Session, made: Sequence[PreparedRows], files: Iterable[PngFile], *, visible: bool) -> None:
    described = {file.sha256: file for file in files}
    known = set(session.scalars(select(ImageRow.sha256).where(ImageRow.sha256.in_(described))))
    if missing := [dict(vars(file)) for sha256, file in described.items() if sha256 not in known]:
        session.execute(insert(IMAGES), missing)
    numbered = list(enumerate(made, start=next_number(session)))
    session.execute(insert(TRAJECTORIES), [one.columns | {"number": number} for number, one in numbered])
    shown = {facets.VISIBLE} if visible else set()
    facets.add(session, {number: one.traits | shown for number, one in numbered})
    links = [
        {"trajectory_id": one.id, "segment": index, "sha256": sha256}
        for one in made
        for index, sha256 in pictures_of(one.outline).items()
    ]
    if links:
        session.execute(insert(LINKS), links)


def publish(session: Session, numbers: Sequence[int]) -> None:
    """Lists show the trajectories of these numbers from now on."""
    facets.add(session, {number: [facets.VISIBLE] for number in numbers})


def next_number(session: Session) -> int:
    """The place in the list of what is stored next."""
    return 1 + (session.scalar(select(func.max(TrajectoryRow.number))) or 0)


def check_free(session: Session, trajectory: Trajectory) -> bool:
    """Whether the id is free; False where this very trajectory is stored. Raises ConflictError for another one."""
    return not free_or_same(session, [trajectory])


def free_or_same(session: Session, made: Sequence[Trajectory]) -> set[str]:
    """The ids of those that are stored already. Raises ConflictError where an id stands for another trajectory."""
    found = conflicting(session, made)
    if found.others:
        raise taken(min(found.others))
    return found.same


class TakenIds(NamedTuple):
    """Ids that are not free."""

    same: set[str]  # of the very trajectory that was asked about
    others: set[str]


def conflicting(session: Session, made: Sequence[Trajectory]) -> TakenIds:
    """Which ids of these trajectories are not free."""
    asked = {trajectory.id: trajectory for trajectory in made}
    bodies = session.execute(select(TrajectoryRow.id, TrajectoryRow.body).where(TrajectoryRow.id.in_(asked)))
    same = {id: Trajectory.from_dict(body) == asked[id] for id, body in bodies}
    return TakenIds({id for id, holds in same.items() if holds}, {id for id, holds in same.items() if not holds})


def taken(trajectory_id: str) -> ConflictError:
    """The error of an id that stands for another trajectory."""
    return ConflictError(
        f"trajectory {trajectory_id} is stored with other content, and what is stored never changes; "
        "save this one under an id of its own"
    )


def copied(trajectory: Trajectory) -> dict[str, object]:
    """The columns that repeat what the body says, so that lists need not read it. Raises TrajectoryError."""
    shown = list(pictures_of(trajectory).values())
    parent = trajectory.parent
    return {
        "prompt": trajectory.prompt,
        "seed": str(trajectory.seed),
        "checkpoint": trajectory.checkpoint,
        "stop_reason": trajectory.stop_reason,
        "aha": trajectory.aha,
        "answers": " ".join(reflection.answer for reflection in trajectory.reflections),
        "num_reflections": sum(reflection.finished for reflection in trajectory.reflections),
        "cover": shown[-1] if shown else None,
        "parent_id": parent and parent.trajectory_id,
        "parent_segment": parent and parent.segment,
        "parent_token": parent and parent.token,
        "created_at": moment_of(trajectory),
        "category": category(trajectory.prompt),
    }


def category(prompt: str) -> str | None:
    """Which kind of prompt of the embedded world it is; None for every other."""
    try:
        return category_of(parse(prompt))
    except ValueError:  # no prompt of the world's
        return None


def moment_of(trajectory: Trajectory) -> datetime:
    """When it was made; a time without a zone is UTC. Raises TrajectoryError for what is no time."""
    try:
        moment = datetime.fromisoformat(trajectory.created_at)
    except ValueError as error:
        raise TrajectoryError(
            f"got created_at {trajectory.created_at!r}, wanted ISO 8601 such as 2026-01-31T12:00:00+00:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def get(session: Session, trajectory_id: str) -> Trajectory:
    """Raises NotFoundError when there is none or it is hidden."""
    found = get_all(session, [trajectory_id])
    if not found:
        raise NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; it may have been deleted")
    return found[trajectory_id]


def get_all(session: Session, ids: Sequence[str]) -> dict[str, Trajectory]:
    """Those of the trajectories that exist and are visible, by id."""
    wanted = select(TrajectoryRow.id, TrajectoryRow.body)
    wanted = wanted.where(TrajectoryRow.id.in_(ids), is_visible(TrajectoryRow.id))
    return {identity: Trajectory.from_dict(body) for identity, body in session.execute(wanted)}


def visible(session: Session, ids: Sequence[str]) -> set[str]:
    """Those of the ids that stand for trajectories which exist and are visible."""
    found: set[str] = set()
    for start in range(0, len(ids), MOST):
        some = TrajectoryRow.id.in_(ids[start : start + MOST])
        found.update(session.scalars(select(TrajectoryRow.id).where(some, is_visible(TrajectoryRow.id))))
    return found


def page(session: Session, *, limit: int, before: Cursor | None, keep: Filter) -> list[TrajectorySummary]:
    """At most `limit` trajectories, those that came last first, those after the place `before` of the list."""
    wanted, without = _asked(keep)
    after = before and before.number
    numbers = facets.having(session, wanted, without, before=after, limit=min(limit, MOST))
    row = TrajectoryRow
    columns = [column for column in row.__table__.columns if column.name in LISTED]
    rows = session.execute(select(*columns).where(row.number.in_(numbers)).order_by(row.number.desc())).mappings()
    return [_listed(dict(row)) for row in rows]


LISTED = tuple(TrajectorySummary.__dataclass_fields__)


def _listed(row: dict) -> TrajectorySummary:
    stop_reason = row["stop_reason"] and StopReason(row["stop_reason"])
    return TrajectorySummary(**row | {"answers": tuple(row["answers"].split()), "stop_reason": stop_reason})


def _asked(keep: Filter) -> tuple[list[Traits], list[Traits]]:
    """The traits that are wanted, and those that are not."""
    kinds = {name: getattr(keep, name) for name in ("checkpoint", "category", "owner", "verdict")}
    wanted = [exactly(named(kind, value)) for kind, value in kinds.items() if value is not None]
    wanted += of_search(keep.search or "")
    flags = {
        facets.AHA: keep.aha,
        facets.RECORDED: keep.recorded,
        facets.BRANCH: keep.branch,
        facets.ANNOTATED: keep.annotated,
    }
    wanted += [exactly(flag) for flag, holds in flags.items() if holds]
    return wanted, [exactly(flag) for flag, holds in flags.items() if holds is False]


def checkpoints(session: Session) -> list[str]:
    """The names of all that have drawn, in alphabetical order."""
    return facets.values(session, "checkpoint")


def mark_annotated(session: Session, trajectory_id: str) -> None:
    """Lists know from now on that somebody has judged it."""
    number = session.scalar(select(TrajectoryRow.number).where(TrajectoryRow.id == trajectory_id))
    facets.add(session, {number: [facets.ANNOTATED]})


def correct(session: Session, trajectory_id: str, columns: Mapping[str, object]) -> None:
    """Give a row other columns, where they differ from its body, and list it as what it is."""
    row = TrajectoryRow
    known = select(*row.__table__.columns).where(row.id == trajectory_id)
    before = dict(session.execute(known).mappings().one())
    session.execute(update(row).where(row.id == trajectory_id).values(**columns))
    old, new = traits_of(before), traits_of(before | columns)
    facets.remove(session, {before["number"]: old - new})
    facets.add(session, {before["number"]: new - old})


def shows_picture(session: Session, sha256: str) -> bool:
    """Whether a visible trajectory has this picture."""
    link = TrajectoryImageRow
    return bool(session.scalar(select(exists().where(link.sha256 == sha256, is_visible(link.trajectory_id)))))


def has_picture(session: Session, sha256: str) -> bool:
    """Whether any trajectory has this picture, hidden ones too."""
    return bool(session.scalar(select(exists().where(TrajectoryImageRow.sha256 == sha256))))


def hide(session: Session, trajectory_id: str, *, by: str, now: datetime) -> None:
    """Raises NotFoundError when there is none; hiding it again changes nothing."""
    row = session.get(TrajectoryRow, trajectory_id)
    if row is None or is_staged(session, trajectory_id):
        raise NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; nothing was deleted")
    if session.scalar(select(exists().where(DeletionRow.trajectory_id == trajectory_id))):
        return
    session.execute(insert(DeletionRow).values(trajectory_id=trajectory_id, deleted_by=by, created_at=now))
    facets.remove(session, {row.number: [facets.VISIBLE]})
    items.hide(session, trajectory_id)
