"""Backup and restore of a data folder, consistent while the studio runs.

    python -m annotations.backup make TARGET
    python -m annotations.backup restore TARGET

A target is a folder, or an address that fsspec knows: `hf://datasets/NAME/REPOSITORY`, `hf://buckets/NAME/BUCKET`. A
backup is a copy of the database that SQLite, or `pg_dump`, makes of one moment, those of its pictures that the one
before lacks, as a tar, and last of all a manifest that says what belongs together: what is cut short leaves the one
before as it was.
"""

import argparse
import io
import json
import logging
import shutil
import sqlite3
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from annotations.db import postgres
from annotations.db.engine import FILE, default_directory, default_pictures, default_url, make_private_directory
from annotations.db.locks import in_one_process, maintenance_lock
from annotations.errors import AnnotationsError, AwayError, BackupError, BusyError, DiskFullError
from annotations.ops import postgres_dump
from annotations.ops.backup_target import DATABASES, DUMP, MANIFEST, BackupManifest, BackupTarget, check
from annotations.pictures import images
from annotations.pictures.storage import FOLDER, FolderStorage, PictureStorage, open_storage
from annotations.processes.periodic import run_periodically
from annotations.scratch_folders import scratch_folder
from model.atomic_files import move_whole, sync_tree, write_whole

log = logging.getLogger(__name__)


def make(directory: Path, target: str, url: str | None = None, pictures: str | None = None) -> BackupManifest:
    """Back up a data folder, the PostgreSQL database at `url` where there is one, and the pictures where they are kept
    elsewhere, also while a studio uses them.

    One backup or purge of a folder at a time. Raises BackupError, and DiskFullError where the disk of temporary folders
    is full; the target's last backup stays.
    """
    with _told(f"no backup of {directory} could be made to {target}"), scratch_folder() as scratch:
        if not (url or (directory / FILE).is_file()):
            raise BackupError(f"there is no {FILE} in {directory}; name the data folder of the studio")
        before = written(directory, url)  # also says so where no server answers
        with maintenance_lock(directory, postgres.parse(url) if url else None):
            made = _make(directory, BackupTarget(target), Path(scratch), url, open_storage(directory, pictures))
            write_whole(
                directory / MANIFEST, json.dumps(asdict(made) | {"written": before, "target": target}, indent=1)
            )
            return made


def check_target(target: str, directory: Path) -> None:
    """Raises BackupError for a target that no backup of this data folder could be made to."""
    file = directory.expanduser() / FILE
    check(target, directory, file.stat().st_size if file.is_file() else 0)


def _make(
    directory: Path, target: BackupTarget, scratch: Path, url: str | None, storage: PictureStorage
) -> BackupManifest:
    """Whatever a manifest names is there before the manifest is."""
    now = datetime.now(UTC)
    stamp = f"{now:%Y%m%dT%H%M%S%f}"
    copy, tar = scratch / f"studio-{stamp}{DUMP if url else '.db'}", scratch / f"pictures-{stamp}.tar"
    studio = postgres_dump.dump(url, copy) if url else _copy(directory / FILE, copy)
    before = target.manifest()
    if before and before.studio != studio:
        raise BackupError("the target holds the backup of another studio; give an empty folder")
    kept, packed = before or BackupManifest(studio, now.isoformat(), (copy.name,), ()), target.packed(before)
    new = _pack(storage, tar, (postgres_dump.pictures(url) if url else _pictures(copy)) - packed)
    target.put(copy)
    made = replace(
        kept, made_at=now.isoformat(), databases=(*(before.databases if before else ()), copy.name)[-DATABASES:]
    )
    if new:
        target.put(tar)
        made = replace(made, pictures=(*made.pictures, tar.name), index=f"pictures-{stamp}.txt")
        target.write(made.index, "".join(f"{sha256}\n" for sha256 in sorted(packed | new)))
    target.finish(made, stamp)
    return made


def _copy(file: Path, copy: Path) -> str:
    """One moment of a database, whoever writes to it; which database it is."""
    source = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
    with closing(source), closing(sqlite3.connect(copy)) as destination:
        source.backup(destination)
        return _checked(destination, copy)


def _checked(database: sqlite3.Connection, file: Path) -> str:
    """Which studio's database it is. Raises BackupError for a damaged one."""
    [verdict] = database.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise BackupError(f"{file.name} is damaged ({verdict}); take an earlier one")
    return database.execute("SELECT value FROM properties WHERE name = 'salt'").fetchone()[0][:8]


def _pictures(copy: Path) -> set[str]:
    """The hashes of the pictures that a database knows."""
    with closing(sqlite3.connect(copy)) as database:
        return {sha256 for [sha256] in database.execute("SELECT sha256 FROM images")}


def _pack(storage: PictureStorage, tar: Path, names: set[str]) -> set[str]:
    """The pictures that were packed: all that are wanted, but for those that a purge has removed meanwhile."""
    packed = set()
    with tarfile.open(tar, "w") as open_tar:
        for sha256 in sorted(names):
            try:
                png = storage.content(sha256)
            except FileNotFoundError:
                continue
            member = tarfile.TarInfo(images.path_of(Path(), sha256).as_posix())
            member.size, member.mode = len(png), 0o600
            open_tar.addfile(member, io.BytesIO(png))
            packed.add(sha256)
    return packed


def is_new(directory: Path, url: str | None = None) -> bool:
    """Whether there is no database yet, so that one may be restored. Raises BackupError."""
    return postgres_dump.is_empty(url) if url else not (directory / FILE).exists()


def restore(target: str, directory: Path, url: str | None = None, pictures: str | None = None) -> BackupManifest | None:
    """Fill a folder that has no database yet, or the empty PostgreSQL database at `url`, with the last backup, and the
    place where `pictures` are kept.

    None where there is none. Raises BackupError, and DiskFullError where the disk of temporary folders is full.
    """
    if not is_new(directory, url):
        place = "the PostgreSQL database has tables" if url else f"{directory} has a {FILE}"
        raise BackupError(f"{place} already, which may be newer; restore into an empty one")
    with _told(f"the backup in {target} could not be restored"), scratch_folder() as folder:
        place = BackupTarget(target)
        try:
            manifest = place.manifest()
        except BackupError:
            manifest = place.by_names()
        if manifest is None:
            return None
        newest = manifest.databases[-1]
        if newest.endswith(DUMP) != bool(url):
            kinds = ("PostgreSQL", "name one with --database") if url is None else ("SQLite", "leave --database out")
            raise BackupError(f"{target} holds a backup of {kinds[0]}; {kinds[1]}")
        make_private_directory(directory)
        copy = Path(folder) / newest if url else directory / f"{FILE}.partial"
        place.get(newest, copy)
        if not url:
            with closing(sqlite3.connect(copy)) as database:
                _checked(database, copy)
        storage = open_storage(directory, pictures)
        unpacked = storage.folder if isinstance(storage, FolderStorage) else Path(folder) / FOLDER
        for name in manifest.pictures:
            place.get(name, Path(folder) / name)
            with tarfile.open(Path(folder) / name) as packed:
                unpack(packed, unpacked)
            (Path(folder) / name).unlink()
            if not isinstance(storage, FolderStorage):
                storage.write_all({file.stem: file.read_bytes() for file in unpacked.glob("??/*.png")})
                shutil.rmtree(unpacked)
        if url:  # last: where there is a database, everything is there
            postgres_dump.load(url, copy)
        _keep_only(storage, postgres_dump.pictures(url) if url else _pictures(copy))
        if not url:
            move_whole(copy, directory / FILE, mode=0o600)
    return manifest


def unpack(packed: tarfile.TarFile, folder: Path) -> None:
    """Nothing is written outside of the folder, by Python's filter “data”, or before 3.11.4 by refusing what it would.

    Raises BackupError.
    """
    if hasattr(tarfile, "data_filter"):
        packed.extractall(folder, filter="data")
        return
    for member in packed:
        inside = not Path(member.name).is_absolute() and ".." not in Path(member.name).parts
        if not inside or not (member.isfile() or member.isdir()):
            raise BackupError(f"“{member.name}” in {packed.name} is no picture of a backup")
        packed.extract(member, folder)


def _keep_only(storage: PictureStorage, shown: set[str]) -> None:
    """Remove pictures that were deleted after they were packed; say which are not there."""
    there = set(storage.hashes())
    for sha256 in there - shown:
        storage.remove(sha256)
    if isinstance(storage, FolderStorage) and storage.folder.is_dir():
        sync_tree(storage.folder)
    if lost := len(shown - there):
        log.warning("backup: %d pictures were not in the backup; python -m annotations.doctor names them", lost)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Convert errors of disks, databases and the network to BackupError; DiskFullError stays."""
    try:
        yield
    except (BackupError, DiskFullError):
        raise
    except (
        AwayError,
        BusyError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        ImportError,
        sqlite3.Error,
        tarfile.TarError,
    ) as error:
        raise BackupError(f"{what}: {error}") from error


def last(directory: Path) -> datetime | None:
    """When a data folder was backed up last."""
    try:
        return datetime.fromisoformat(_state(directory)["made_at"])
    except (KeyError, TypeError, ValueError):
        return None


def _state(directory: Path) -> dict[str, Any]:
    """What the last backup left in a data folder; nothing where that cannot be read."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def keep_backing_up(
    directory: Path, target: str, every: timedelta, url: str | None = None, pictures: str | None = None
) -> threading.Thread:
    """Back up now and then, in a thread of its own, whenever something was written since; failures are logged. One of
    all studios of a PostgreSQL database does it."""

    def back_up() -> None:
        known = _state(directory)
        if (known.get("written"), known.get("target")) != (written(directory, url), target):
            make(directory, target, url, pictures)

    return run_periodically(in_one_process(url and postgres.parse(url), "backup", back_up), every, "backup")


def written(directory: Path, url: str | None = None) -> list[int]:
    """What is another one whenever something was written: no clock is trusted to go forward. With a write-ahead log
    mostly only that changes.
    """
    if url:
        return [postgres_dump.written(url)]
    files = (directory / FILE, directory / f"{FILE}-wal")
    stats = [file.stat() for file in files if file == files[0] or file.exists()]
    return [max(stat.st_mtime_ns for stat in stats), *(stat.st_size for stat in stats)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m annotations.backup", description=__doc__.split("\n")[0])
    parser.add_argument("do", choices=("make", "restore"))
    parser.add_argument("target", help="a folder, hf://datasets/NAME/REPOSITORY or hf://buckets/NAME/BUCKET")
    parser.add_argument("--data", type=Path, default=default_directory(), help="the studio's data folder")
    parser.add_argument("--database", default=default_url(), help="address of its PostgreSQL database, if it has one")
    parser.add_argument("--pictures", default=default_pictures(), help="folder or URL of its pictures, if elsewhere")
    arguments = parser.parse_args()
    place = arguments.database, arguments.pictures
    try:
        if arguments.do == "make":
            made = make(arguments.data, arguments.target, *place)
        else:
            made = restore(arguments.target, arguments.data, *place)
    except AnnotationsError as error:
        sys.exit(f"backup: {error}")
    print(f"backup of {made.made_at}" if made else f"there is no backup in {arguments.target}")


if __name__ == "__main__":
    main()
