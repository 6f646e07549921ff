"""Trajectories in a transaction: written once, read back, listed newest first, hidden.

Knows the rows of trajectories and their images and turns them into values and back; sees no file and opens no
transaction. Used by the store; pages see its values `Listed` and `Cursor`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, exists, insert, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from annotations import items
from annotations.errors import ConflictError, NotFoundError, TrajectoryError
from annotations.images import PngFile
from annotations.tables import AnnotationRow, DeletionRow, ImageRow, TrajectoryImageRow, TrajectoryRow
from model.trajectory import Image, Source, StopReason, Trajectory
from model.world.language import category_of, parse

MOST = 200  # rows of one page


class Cursor(NamedTuple):
    """A place in the list, newest first; `str(cursor)` goes into a URL and `Cursor.parse` reads it."""

    created_at: datetime
    id: str

    def __str__(self) -> str:
        return f"{self.created_at.astimezone(UTC):%Y%m%dT%H%M%S%f}_{self.id}"

    @staticmethod
    def parse(text: str) -> "Cursor":
        """Raises NotFoundError for what no cursor looks like."""
        moment, _, identity = text.partition("_")
        try:
            return Cursor(datetime.strptime(moment, "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC), identity)
        except ValueError as error:
            raise NotFoundError(f"{text[:80]!r} is no place in the list; start at its beginning") from error


@dataclass(frozen=True)
class Listed:
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

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.created_at, self.id)


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
    search: str | None = None  # a part of the prompt


EVERYTHING = Filter()


def is_visible(trajectory_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Whether no deletion hides the trajectory in this column."""
    return ~exists().where(DeletionRow.trajectory_id == trajectory_id)


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
    for file in files:
        if session.get(ImageRow, file.sha256) is None:
            session.execute(insert(ImageRow), [dict(vars(file))])
    session.execute(insert(TrajectoryRow), [_columns(trajectory) | {"owner": owner, "recorded": recorded}])
    links = [
        {"trajectory_id": trajectory.id, "segment": index, "sha256": sha256}
        for index, sha256 in pictures_of(trajectory).items()
    ]
    if links:
        session.execute(insert(TrajectoryImageRow), links)
    items.collect(session, trajectory, moment_of(trajectory).timestamp())


def check_free(session: Session, trajectory: Trajectory) -> bool:
    """Whether the id is free; False where this very trajectory is stored. Raises ConflictError for another one."""
    body = session.scalar(select(TrajectoryRow.body).where(TrajectoryRow.id == trajectory.id))
    if body is None:
        return True
    if Trajectory.from_dict(body) != trajectory:
        raise ConflictError(
            f"trajectory {trajectory.id} is stored with other content, and what is stored never changes; "
            "save this one under an id of its own"
        )
    return False


def _columns(trajectory: Trajectory) -> dict[str, object]:
    return copied(trajectory) | {"id": trajectory.id, "body": trajectory.to_dict()}


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


def page(session: Session, *, limit: int, before: Cursor | None, keep: Filter) -> list[Listed]:
    """At most `limit` trajectories, newest first, those after the place `before` of the list."""
    newest = (TrajectoryRow.created_at.desc(), TrajectoryRow.id.desc())
    wanted = _kept(select(TrajectoryRow.id).where(is_visible(TrajectoryRow.id)), keep)
    if before is not None:
        wanted = wanted.where(tuple_(TrajectoryRow.created_at, TrajectoryRow.id) < tuple_(*before))
    ids = list(session.scalars(wanted.order_by(*newest).limit(min(limit, MOST))))  # read from the index alone
    columns = [column for column in TrajectoryRow.__table__.columns if column.name in LISTED]
    rows = session.execute(select(*columns).where(TrajectoryRow.id.in_(ids)).order_by(*newest)).mappings()
    return [_listed(dict(row)) for row in rows]


LISTED = tuple(Listed.__dataclass_fields__)


def _listed(row: dict) -> Listed:
    stop_reason = row["stop_reason"] and StopReason(row["stop_reason"])
    return Listed(**row | {"answers": tuple(row["answers"].split()), "stop_reason": stop_reason})


def _kept(wanted: Select, keep: Filter) -> Select:
    for name in ("checkpoint", "category", "aha", "recorded", "owner"):
        if (value := getattr(keep, name)) is not None:
            wanted = wanted.where(getattr(TrajectoryRow, name) == value)
    if keep.verdict is not None:
        wanted = wanted.where(TrajectoryRow.answers.endswith(keep.verdict))
    if keep.branch is not None:
        wanted = wanted.where(TrajectoryRow.parent_id.is_not(None) == keep.branch)
    if keep.annotated is not None:
        wanted = wanted.where(exists().where(AnnotationRow.trajectory_id == TrajectoryRow.id) == keep.annotated)
    if keep.search and keep.search.strip():
        wanted = wanted.where(TrajectoryRow.prompt.icontains(keep.search.strip(), autoescape=True))
    return wanted


def checkpoints(session: Session) -> list[str]:
    """The names of all that have drawn, in alphabetical order."""
    names = select(TrajectoryRow.checkpoint).where(is_visible(TrajectoryRow.id)).distinct()
    return list(session.scalars(names.order_by(TrajectoryRow.checkpoint)))


def shows_picture(session: Session, sha256: str) -> bool:
    """Whether a visible trajectory has this picture."""
    link = TrajectoryImageRow
    return bool(session.scalar(select(exists().where(link.sha256 == sha256, is_visible(link.trajectory_id)))))


def has_picture(session: Session, sha256: str) -> bool:
    """Whether any trajectory has this picture, hidden ones too."""
    return bool(session.scalar(select(exists().where(TrajectoryImageRow.sha256 == sha256))))


def hide(session: Session, trajectory_id: str, *, by: str, now: datetime) -> None:
    """Raises NotFoundError when there is none; hiding it again changes nothing."""
    if session.get(TrajectoryRow, trajectory_id) is None:
        raise NotFoundError(f"there is no trajectory {trajectory_id[:80]!r}; nothing was deleted")
    if session.scalar(select(exists().where(DeletionRow.trajectory_id == trajectory_id))):
        return
    session.execute(insert(DeletionRow).values(trajectory_id=trajectory_id, deleted_by=by, created_at=now))
    items.hide(session, trajectory_id)
