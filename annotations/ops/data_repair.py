"""Comparison of a data folder with its database, and the repairs that lose nothing.

A trajectory's body is the truth: its columns and the list of its pictures are copies. A picture's name is the hash of
its content. Knows rows and files; `annotations.doctor` looks at the database itself, and tells.
"""

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
from annotations.pictures import images
from annotations.store import search_index
from annotations.store.trajectories import set_columns
from annotations.store.trajectory_columns import columns_of, pictures_by_position
from model.images import PictureFileError, decode
from model.trajectory import Trajectory

ORPHANS = "orphans"
MIN_AGE = 3600  # seconds; a younger file may belong to a drawing that is just being saved
PAGE_SIZE = 500  # rows read at once


class Severity(StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    NOTE = "note"  # good to know
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it."""

    check: str
    level: Severity
    said: str
    do: str = ""
    count: int = 0
    examples: tuple[str, ...] = ()  # ids, hashes or names, a few
    fixable: bool = False


@dataclass(frozen=True)
class _Difference:
    """Columns and listed pictures of a trajectory that differ from its body."""

    trajectory_id: str
    columns: dict[str, object]  # with the values of the body
    links: dict[tuple[int, int], str]  # pictures that are not listed, by segment and frame


def findings(
    database: Database, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Finding]:
    """The findings about trajectories and pictures. Raises DatabaseError."""
    with database.reading() as session:
        differences, unreadable = _differences(session)
        sizes = dict(session.execute(select(ImageRow.sha256, ImageRow.size)).all())
        linked = set(session.scalars(select(TrajectoryImageRow.sha256).distinct()))
        inconsistent = search_index.inconsistent_terms(session)
        staged = set(session.scalars(_staged()))  # their files are written after their rows
    yield _finding("trajectories", unreadable, "trajectories can be read", "cannot be read", "restore from a backup")
    yield _finding(
        "copies",
        [difference.trajectory_id for difference in differences],
        "what lists show is what trajectories say",
        "are listed as something else than they say",
        fixable=True,
    )
    yield _finding(
        "traits",
        inconsistent,
        "lists find what trajectories say",
        "traits are not found, or found wrongly",
        fixable=True,
    )
    folder = database.directory / "images"
    referenced = sizes.keys() | linked
    missing = sorted(sha256 for sha256 in referenced - staged if not images.path_of(folder, sha256).is_file())
    yield _finding("lost", missing, "every picture has its file", "pictures have no file", "restore from a backup")
    files = sorted(folder.glob("??/*.png"))
    damaged, unreadable = [], []
    for done, file in enumerate(files, start=1):
        if not _is_whole(file, sizes.get(file.stem)):
            damaged.append(file.stem)
        elif not _is_decodable(file):
            unreadable.append(file.stem)
        on_progress(done, len(files))
    yield _finding(
        "damaged", damaged, "every picture is what its name says", "pictures are damaged", "restore from a backup"
    )
    with database.reading() as session:
        users = {sha256: ", ".join(_trajectories_with(session, sha256)) for sha256 in unreadable}
    undecodable = [f"{sha256} ({names or 'shown by nothing'})" for sha256, names in users.items()]
    advice = "delete the drawings that show them, or import them again"
    yield _finding("decoded", undecodable, "every picture can be decoded", "pictures cannot be decoded", advice)
    undescribed = sorted(linked - sizes.keys() - set(missing) - set(damaged) - set(unreadable))
    yield _finding(
        "described", undescribed, "every picture is described", "pictures are shown, but not described", fixable=True
    )
    orphans = [str(file.relative_to(folder)) for file in (*_orphans(files, referenced), *_partial(folder))]
    advice = "they only take room"
    yield _finding(
        "orphans", orphans, "no file is left over", "files that nothing shows", advice, Severity.NOTE, fixable=True
    )


def _staged() -> Select[str]:
    """The pictures of imports that are under way, or were broken off."""
    link = TrajectoryImageRow
    return select(link.sha256).join(StagedRow, StagedRow.trajectory_id == link.trajectory_id)


def _finding(
    check: str,
    affected: list[str],
    fine_message: str,
    problem: str,
    advice: str = "",
    level: Severity = Severity.WRONG,
    *,
    fixable: bool = False,
) -> Finding:
    if not affected:
        return Finding(check, Severity.FINE, fine_message)
    examples = tuple(affected[:5])
    message = f"{len(affected)} {problem}: {', '.join(examples)}{' …' if len(affected) > len(examples) else ''}"
    return Finding(check, level, message, advice or "--fix writes them anew", len(affected), examples, fixable)


def _differences(session: Session) -> tuple[list[_Difference], list[str]]:
    """Trajectories whose columns or pictures differ from the body, and the ids of those that cannot be read."""
    columns = [column for column in TrajectoryRow.__table__.columns if column.name != "body"]
    query = select(*columns, type_coerce(TrajectoryRow.body, Text).label("body")).order_by(TrajectoryRow.id)
    differing, unreadable, after = [], [], ""
    while page := session.execute(query.where(TrajectoryRow.id > after).limit(PAGE_SIZE)).mappings().all():
        ids = [row["id"] for row in page]
        link = TrajectoryImageRow
        listed = select(link.trajectory_id, link.segment, link.frame, link.sha256).where(link.trajectory_id.in_(ids))
        links = {(run, (segment, frame)): sha256 for run, segment, frame, sha256 in session.execute(listed)}
        for row in page:
            try:
                trajectory = Trajectory.from_dict(_parsed(row["body"]))
                expected = columns_of(trajectory)
            except (AttributeError, KeyError, TypeError, ValueError, TrajectoryError):
                unreadable.append(row["id"])
                continue
            columns_to_correct = {name: value for name, value in expected.items() if row[name] != value}
            shown = pictures_by_position(trajectory).items()
            missing = {place: sha256 for place, sha256 in shown if links.get((row["id"], place)) != sha256}
            if columns_to_correct or missing:
                differing.append(_Difference(row["id"], columns_to_correct, missing))
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


def _is_decodable(file: Path) -> bool:
    try:
        decode(file)
    except PictureFileError:
        return False
    return True


def _trajectories_with(session: Session, sha256: str) -> list[str]:
    """The ids of the trajectories that show a picture."""
    link = TrajectoryImageRow
    return list(session.scalars(select(link.trajectory_id).where(link.sha256 == sha256).distinct()))


def _orphans(files: list[Path], referenced: set[str]) -> list[Path]:
    return [file for file in files if file.stem not in referenced and _is_old(file)]


def _partial(folder: Path) -> list[Path]:
    """Pictures whose writing was cut short."""
    return [file for file in sorted(folder.glob("??/.*.partial")) if _is_old(file)]


def _is_old(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime > MIN_AGE
    except FileNotFoundError:
        return False


def repair(directory: Path) -> list[str]:
    """Repair what can be repaired without losing anything; what was done. Opening the database sets its journal and
    migrates its tables. Raises DatabaseError, such as BusyError where a studio is running.
    """
    if not (directory / FILE).is_file():
        raise DirectoryError(f"there is no {FILE} in {directory}; name the data folder of the studio with --data")
    folder = directory / "images"
    with open_database(directory) as database, database.writing() as session:
        differences, _ = _differences(session)
        linked = set(session.scalars(select(TrajectoryImageRow.sha256).distinct()))
        in_bodies = {sha256 for difference in differences for sha256 in difference.links.values()}
        done = [*_describe(session, folder, linked | in_bodies), *_correct(session, differences)]
        if inconsistent := search_index.inconsistent_terms(session):
            search_index.rebuild(session)
            done.append(f"{len(inconsistent)} traits are found again")
        referenced = linked | in_bodies | set(session.scalars(select(ImageRow.sha256)))
        return done + _move_orphans(directory, referenced)


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


def _correct(session: Session, differences: list[_Difference]) -> list[str]:
    described = set(session.scalars(select(ImageRow.sha256)))
    done = []
    for difference in differences:
        if difference.columns:
            set_columns(session, difference.trajectory_id, difference.columns)
        known = {place: sha256 for place, sha256 in difference.links.items() if sha256 in described}
        for (segment, frame), sha256 in known.items():
            place = {"trajectory_id": difference.trajectory_id, "segment": segment, "frame": frame}
            session.merge(TrajectoryImageRow(**place, sha256=sha256))
        if difference.columns or known:
            done.append(f"{difference.trajectory_id} is listed as what it is")
    return done


def _move_orphans(directory: Path, referenced: set[str]) -> list[str]:
    folder, orphans = directory / "images", directory / ORPHANS
    done = []
    for file in (*_orphans(sorted(folder.glob("??/*.png")), referenced), *_partial(folder)):
        orphans.mkdir(exist_ok=True)
        file.rename(orphans / file.name)
        done.append(f"{file.name} moved to {ORPHANS}")
    return done
