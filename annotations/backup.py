"""Backups of the data folder, consistent while the studio runs: into a folder, or a dataset or bucket of the Hub.

    python -m annotations.backup make TARGET
    python -m annotations.backup restore TARGET

A target is a folder, or an address that fsspec knows: `hf://datasets/NAME/REPOSITORY`, `hf://buckets/NAME/BUCKET`. A
backup is a copy of the database that SQLite, or `pg_dump`, makes of one moment, the pictures that the one before lacks,
as a tar, and last of all a manifest that says what belongs together: what is cut short leaves the one before as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from annotations import dumping
from annotations.background import keep_doing
from annotations.database import FILE, default_directory, default_url
from annotations.errors import BackupError, DatabaseError

MANIFEST = "backup.json"
DUMP = ".dump"  # how the name of a copy of a PostgreSQL database ends
DATABASES = 3  # copies of the database that a target keeps
OVERLAP = timedelta(minutes=1)  # pictures so much older than the backup before are taken once more


@dataclass(frozen=True)
class Manifest:
    """What a target holds."""

    studio: str  # of which database
    made_at: str  # ISO 8601, UTC
    databases: tuple[str, ...]  # file names, the newest last
    pictures: tuple[str, ...]  # file names of tars, all of which are needed

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.made_at)


def make(directory: Path, target: str, url: str | None = None) -> Manifest:
    """Back up a data folder, and the PostgreSQL database at `url` where there is one, also while a studio uses them.

    Raises BackupError; the target's last backup stays.
    """
    now = datetime.now(UTC)
    stamp = f"{now:%Y%m%dT%H%M%S%f}"
    with _told(f"no backup of {directory} could be made to {target}"), tempfile.TemporaryDirectory() as folder:
        files, root = url_to_fs(target)
        copy = Path(folder) / f"studio-{stamp}{DUMP if url else '.db'}"
        studio = dumping.dump(url, copy) if url else _copy(directory / FILE, copy)
        before = _read(files, root)
        if before and before.studio != studio:
            raise BackupError(f"{target} holds the backup of another studio; give an empty folder")
        pictures = Path(folder) / f"pictures-{stamp}.tar"
        new = _pack(directory / "images", pictures, before.moment - OVERLAP if before else None)
        files.makedirs(root, exist_ok=True)
        files.put_file(str(copy), f"{root}/{copy.name}")
        if new:
            files.put_file(str(pictures), f"{root}/{pictures.name}")
        kept = before or Manifest(studio, "", (), ())
        names = (*kept.databases, copy.name)
        tars = (*kept.pictures, pictures.name) if new else kept.pictures
        made = Manifest(studio, now.isoformat(), names[-DATABASES:], tars)
        text = json.dumps(asdict(made), indent=1)
        files.pipe_file(f"{root}/{MANIFEST}", text.encode())
        for old in names[:-DATABASES]:
            files.rm_file(f"{root}/{old}")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MANIFEST).write_text(text, "utf-8")
    return made


def _copy(file: Path, copy: Path) -> str:
    """One moment of a database, whoever writes to it; which database it is."""
    if not file.is_file():
        raise BackupError(f"there is no {FILE} in {file.parent}; name the data folder of the studio")
    source = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=60)
    with closing(source), closing(sqlite3.connect(copy)) as destination:
        source.backup(destination)
        return _checked(destination, copy)


def _checked(database: sqlite3.Connection, file: Path) -> str:
    """Which studio's database it is. Raises BackupError for a damaged one."""
    [verdict] = database.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise BackupError(f"{file.name} is damaged ({verdict}); take an earlier one")
    return database.execute("SELECT value FROM properties WHERE name = 'salt'").fetchone()[0][:8]


def _pack(folder: Path, tar: Path, since: datetime | None) -> int:
    """How many pictures were written since then, all of them packed."""
    count = 0
    with tarfile.open(tar, "w") as packed:
        for path in sorted(folder.glob("??/*.png")):
            if since is None or path.stat().st_mtime >= since.timestamp():
                packed.add(path, path.relative_to(folder))
                count += 1
    return count


def _read(files: AbstractFileSystem, root: str) -> Manifest | None:
    try:
        found = json.loads(files.cat_file(f"{root}/{MANIFEST}"))
    except FileNotFoundError:
        return None
    return Manifest(**found | {name: tuple(found[name]) for name in ("databases", "pictures")})


def is_new(directory: Path, url: str | None = None) -> bool:
    """Whether there is no database yet, so that one may be restored. Raises BackupError."""
    return dumping.is_empty(url) if url else not (directory / FILE).exists()


def restore(target: str, directory: Path, url: str | None = None) -> Manifest | None:
    """Fill a folder that has no database yet, or the empty PostgreSQL database at `url`, with the last backup.

    None where there is none. Raises BackupError.
    """
    if not is_new(directory, url):
        place = "the PostgreSQL database has tables" if url else f"{directory} has a {FILE}"
        raise BackupError(f"{place} already, which may be newer; restore into an empty one")
    with _told(f"the backup in {target} could not be restored"), tempfile.TemporaryDirectory() as folder:
        files, root = url_to_fs(target)
        manifest = _read(files, root)
        if manifest is None:
            return None
        newest = manifest.databases[-1]
        if newest.endswith(DUMP) != bool(url):
            kinds = ("PostgreSQL", "name one with --database") if url is None else ("SQLite", "leave --database out")
            raise BackupError(f"{target} holds a backup of {kinds[0]}; {kinds[1]}")
        directory.mkdir(parents=True, exist_ok=True)
        copy = Path(folder) / newest if url else directory / f"{FILE}.partial"
        files.get_file(f"{root}/{newest}", str(copy))
        if not url:
            with closing(sqlite3.connect(copy)) as database:
                _checked(database, copy)
                shown = {sha256 for [sha256] in database.execute("SELECT sha256 FROM images")}
        for name in manifest.pictures:
            files.get_file(f"{root}/{name}", str(Path(folder) / name))
            with tarfile.open(Path(folder) / name) as packed:
                packed.extractall(directory / "images", filter="data")
        if url:  # last: where there is a database, everything is there
            dumping.load(url, copy)
            shown = dumping.pictures(url)
        else:
            os.replace(copy, directory / FILE)
        for picture in (directory / "images").glob("??/*.png"):
            if picture.stem not in shown:  # deleted after it was packed
                picture.unlink()
    return manifest


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Whatever a disk or the network says, as one line of ours."""
    try:
        yield
    except BackupError:
        raise
    except (OSError, ValueError, KeyError, TypeError, ImportError, sqlite3.Error, tarfile.TarError) as error:
        raise BackupError(f"{what}: {error}") from error


def last(directory: Path) -> datetime | None:
    """When a data folder was backed up last."""
    try:
        return datetime.fromisoformat(json.loads((directory / MANIFEST).read_text("utf-8"))["made_at"])
    except (OSError, ValueError, KeyError):
        return None


def keep_backing_up(directory: Path, target: str, every: timedelta, url: str | None = None) -> threading.Thread:
    """Back up now and then, in a thread of its own, whenever something was written since; failures are logged."""
    known: list[float] = []  # how much had been written at the last one

    def back_up() -> None:
        now, done = dumping.written(url) if url else written(directory), last(directory)
        if known != [now] if url else done is None or now > done.timestamp():
            make(directory, target, url)
            known[:] = [now]

    return keep_doing(back_up, every, "backup")


def written(directory: Path) -> float:
    """When the database was written last: with a write-ahead log mostly only that is."""
    files = (directory / FILE, directory / f"{FILE}-wal")
    return max(file.stat().st_mtime for file in files if file == files[0] or file.exists())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m annotations.backup", description=__doc__.split("\n")[0])
    parser.add_argument("do", choices=("make", "restore"))
    parser.add_argument("target", help="a folder, hf://datasets/NAME/REPOSITORY or hf://buckets/NAME/BUCKET")
    parser.add_argument("--data", type=Path, default=default_directory(), help="the studio's data folder")
    parser.add_argument("--database", default=default_url(), help="address of its PostgreSQL database, if it has one")
    given = parser.parse_args()
    try:
        if given.do == "make":
            found = make(given.data, given.target, given.database)
        else:
            found = restore(given.target, given.data, given.database)
    except (BackupError, DatabaseError) as error:
        sys.exit(f"backup: {error}")
    print(f"backup of {found.made_at}" if found else f"there is no backup in {given.target}")


if __name__ == "__main__":
    main()
