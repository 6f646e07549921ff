"""Comparison of a data folder with its database, and the repairs that lose nothing.

A trajectory's body is the truth: its columns and the list of its pictures are copies. A picture's name is the hash of
its content. Knows rows and files; `annotations.doctor` looks at the database itself, and tells.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Select, Text, insert, select, type_coerce
from sqlalchemy.orm import Session

from annotations.db.engine import FILE, Database, open_database
from annotations.db.tables import ImageRow, StagedRow, TrajectoryImageRow, TrajectoryRow
from annotations.errors import DirectoryError, NotFoundError, PictureError, TrajectoryError
from annotations.store import images, search_index
from annotations.store.trajectories import set_columns
from annotations.store.trajectory_columns import columns_of, pictures_of
from model.images import PictureFileError, decode
from model.trajectory import Trajectory

ORPHANS = "orphans"
YOUNG = 3600  # seconds; a younger file may belong to a drawing that is just being saved
AT_ONCE = 500  # rows read in one go


class Level(StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    NOTE = "note"  # good to know
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it."""

    check: str
    level: Level
    said: str
    do: str = ""
    count: int = 0
    examples: tuple[str, ...] = ()  # ids, hashes or names, a few
    fixable: bool = False


@dataclass(frozen=True)
class _Copy:
    """What is copied from a trajectory's body and differs from it."""

    trajectory_id: str
    columns: dict[str, object]  # as they should be
    links: dict[tuple[int, int], str]  # pictures that are not listed, by segment and frame


def contents(
    database: Database, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Finding]:
    """The findings about trajectories and pictures. Raises DatabaseError."""
    with database.reading() as session:
        copies, unreadable = _copies(session)
        shown = dict(session.execute(select(ImageRow.sha256, ImageRow.size)).all())
        linked = set(session.scalars(select(TrajectoryImageRow.sha256).distinct()))
        strayed = search_index.inconsistent_terms(session)
        staged = set(session.scalars(_staged()))  # their files are written after their rows
    yield _finding("trajectories", unreadable, "trajectories can be read", "cannot be read", "restore from a backup")
    yield _finding(
        "copies",
        [copy.trajectory_id for copy in copies],
        "what lists show is what trajectories say",
        "are listed as something else than they say",
        fixable=True,
    )
    yield _finding(
        "traits", strayed, "lists find what trajectories say", "traits are not found, or found wrongly", fixable=True
    )
    folder = database.directory / "images"
    wanted = shown.keys() | linked
    lost = sorted(sha256 for sha256 in wanted - staged if not images.path_of(folder, sha256).is_file())
    yield _finding("lost", lost, "every picture has its file", "pictures have no file", "restore from a backup")
    files = sorted(folder.glob("??/*.png"))
    damaged, unreadable = [], []
    for done, file in enumerate(files, start=1):
        if not _is_whole(file, shown.get(file.stem)):
            damaged.append(file.stem)
        elif not _can_be_decoded(file):
            unreadable.append(file.stem)
        on_progress(done, len(files))
    yield _finding(
        "damaged", damaged, "every picture is what its name says", "pictures are damaged", "restore from a backup"
    )
    with database.reading() as session:
        named = [f"{sha256} ({', '.join(_showing(session, sha256)) or 'shown by nothing'})" for sha256 in unreadable]
    advice = "delete the drawings that show them, or import them again"
    yield _finding("decoded", named, "every picture can be decoded", "pictures cannot be decoded", advice)
    undescribed = sorted(linked - shown.keys() - set(lost) - set(damaged) - set(unreadable))
    yield _finding(
        "described", undescribed, "every picture is described", "pictures are shown, but not described", fixable=True
    )
    orphans = [str(file.relative_to(folder)) for file in (*_orphans(files, wanted), *_partial(folder))]
    advice = "they only take room"
    yield _finding(
        "orphans", orphans, "no file is left over", "files that nothing shows", advice, Level.NOTE, fixable=True
    )


def _staged() -> Select[tuple[str]]:
    """The pictures of imports that are under way, or were broken off."""
    link = TrajectoryImageRow
    return select(link.sha256).join(StagedRow, StagedRow.trajectory_id == link.trajectory_id)


def _finding(
    check: str,
    found: list[str],
    fine: str,
    wrong: str,
    do: str = "",
    level: Level = Level.WRONG,
    *,
    fixable: bool = False,
) -> Finding:
    if not found:
        return Finding(check, Level.FINE, fine)
    few = tuple(found[:5])
    said = f"{len(found)} {wrong}: {', '.join(few)}{' …' if len(found) > len(few) else ''}"
    return Finding(check, level, said, do or "--fix writes them anew", len(found), few, fixable)


def _copies(session: Session) -> tuple[list[_Copy], list[str]]:
    """Trajectories of which a copy differs from the body, and the ids of those that cannot be read."""
    columns = [column for column in TrajectoryRow.__table__.columns if column.name != "body"]
    wanted = select(*columns, type_coerce(TrajectoryRow.body, Text).label("body")).order_by(TrajectoryRow.id)
    differing, unreadable, after = [], [], ""
    while some := session.execute(wanted.where(TrajectoryRow.id > after).limit(AT_ONCE)).mappings().all():
        ids = [row["id"] for row in some]
        link = TrajectoryImageRow
        listed = select(link.trajectory_id, link.segment, link.frame, link.sha256).where(link.trajectory_id.in_(ids))
        links = {(run, (segment, frame)): sha256 for run, segment, frame, sha256 in session.execute(listed)}
        for row in some:
            try:
                trajectory = Trajectory.from_dict(_parsed(row["body"]))
                columns = columns_of(trajectory)
            except (AttributeError, KeyError, TypeError, ValueError, TrajectoryError):
                unreadable.append(row["id"])
                continue
            wrong = {name: value for name, value in columns.items() if row[name] != value}
            shown = pictures_of(trajectory).items()
            missing = {place: sha256 for place, sha256 in shown if links.get((row["id"], place)) != sha256}
            if wrong or missing:
                differing.append(_Copy(row["id"], wrong, missing))
        after = ids[-1]
    return differing, unreadable


def _parsed(body: Any) -> Any:
    """JSON as SQLite keeps it; a server's driver has parsed it already."""
    return json.loads(body) if isinstance(body, str) else body


def _is_whole(file: Path, size: int | None) -> bool:
    try:
        content = file.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == file.stem and size in (None, len(content))


def _can_be_decoded(file: Path) -> bool:
    try:
        decode(file)
    except PictureFileError:
        return False
    return True


def _showing(session: Session, sha256: str) -> list[str]:
    """The ids of the trajectories that show a picture."""
    link = TrajectoryImageRow
    return list(session.scalars(select(link.trajectory_id).where(link.sha256 == sha256).distinct()))


def _orphans(files: list[Path], wanted: set[str]) -> list[Path]:
    return [file for file in files if file.stem not in wanted and _is_old(file)]


def _partial(folder: Path) -> list[Path]:
    """Pictures whose writing was cut short."""
    return [file for file in sorted(folder.glob("??/.*.partial")) if _is_old(file)]


def _is_old(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime > YOUNG
    except FileNotFoundError:
        return False


def mend(directory: Path) -> list[str]:
    """Mend what can be mended without losing anything; what was done. Opening the database sets its journal and
    migrates its tables. Raises DatabaseError, such as BusyError where a studio is running.
    """
    if not (directory / FILE).is_file():
        raise DirectoryError(f"there is no {FILE} in {directory}; name the data folder of the studio with --data")
    folder = directory / "images"
    with open_database(directory) as database, database.writing() as session:
        copies, _ = _copies(session)
        linked = set(session.scalars(select(TrajectoryImageRow.sha256).distinct()))
        shown = {sha256 for copy in copies for sha256 in copy.links.values()}
        done = [*_describe(session, folder, linked | shown), *_mend_copies(session, copies)]
        if strayed := search_index.inconsistent_terms(session):
            search_index.rebuild(session)
            done.append(f"{len(strayed)} traits are found again")
        wanted = linked | shown | set(session.scalars(select(ImageRow.sha256)))
        return done + _move_orphans(directory, wanted)


def _describe(session: Session, folder: Path, linked: set[str]) -> list[str]:
    done = []
    for sha256 in sorted(linked - set(session.scalars(select(ImageRow.sha256)))):
        try:
            described = images.describe(images.read(folder, sha256))
        except (NotFoundError, PictureError):
            continue
        session.execute(insert(ImageRow).values(**vars(described)))
        done.append(f"picture {sha256[:12]}… is described")
    return done


def _mend_copies(session: Session, copies: list[_Copy]) -> list[str]:
    described = set(session.scalars(select(ImageRow.sha256)))
    done = []
    for copy in copies:
        if copy.columns:
            set_columns(session, copy.trajectory_id, copy.columns)
        known = {place: sha256 for place, sha256 in copy.links.items() if sha256 in described}
        for (segment, frame), sha256 in known.items():
            place = {"trajectory_id": copy.trajectory_id, "segment": segment, "frame": frame}
            session.merge(TrajectoryImageRow(**place, sha256=sha256))
        if copy.columns or known:
            done.append(f"{copy.trajectory_id} is listed as what it is")
    return done


def _move_orphans(directory: Path, wanted: set[str]) -> list[str]:
    folder, away = directory / "images", directory / ORPHANS
    done = []
    for file in (*_orphans(sorted(folder.glob("??/*.png")), wanted), *_partial(folder)):
        away.mkdir(exist_ok=True)
        file.rename(away / file.name)
        done.append(f"{file.name} moved to {ORPHANS}")
    return done
