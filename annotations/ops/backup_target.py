"""Backup targets: a folder or a Hub repository, its manifests and files.

A file appears there under its name whole or not at all. The manifest is written last, and first under a name of its
own: where a kill or a full disk has cut the newest short, the one before still lists what belongs together. Knows names
and fsspec; neither databases nor what is in the files.
"""

import json
import re
import shutil
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from annotations.errors import BackupError
from model.atomic_files import move_whole, write_whole

MANIFEST = "backup.json"
DUMP = ".dump"  # how the name of a copy of a PostgreSQL database ends
DATABASES = 3  # copies of the database, and manifests of before
LEAST_FREE = 64 * 2**20  # bytes that a folder should have left, beside room for a copy of the database
STAMP = r"\d{8}T\d+"
EARLIER = re.compile(rf"backup-{STAMP}\.json")
LIST = re.compile(rf"pictures-{STAMP}\.txt")
TAR = re.compile(rf"pictures-{STAMP}\.tar")
COPY = re.compile(rf"studio-{STAMP}(\.db|{re.escape(DUMP)})")
CUT_SHORT = re.compile(r"(\.|studio-|pictures-).*\.partial")


@dataclass(frozen=True)
class BackupManifest:
    """What a target holds."""

    studio: str  # of which database
    made_at: str  # ISO 8601, UTC
    databases: tuple[str, ...]  # file names, the newest last
    pictures: tuple[str, ...]  # file names of tars, all of which are needed
    index: str = ""  # file name of the list of all pictures in the tars, a sha256 a line; "": not known

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.made_at)
        if not self.databases or not all(isinstance(name, str) for name in (*self.databases, *self.pictures)):
            raise ValueError("it names no copy of a database")


class BackupTarget:
    """A folder or repository for backups. Its own errors (OSError, ValueError, ImportError) are passed on."""

    def __init__(self, address: str) -> None:
        self._files, self._root = url_to_fs(address)
        self._files.invalidate_cache()  # others write there, too

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine, if it is."""
        return Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    def manifest(self) -> BackupManifest | None:
        """The newest readable manifest; None where there is none. Raises BackupError where all are cut short."""
        names = self._names()
        candidates = [MANIFEST] if MANIFEST in names else []
        candidates += sorted(filter(EARLIER.fullmatch, names), reverse=True)
        newest = next(filter(None, map(self._parsed, candidates)), None)
        if newest is None and candidates:
            raise BackupError(f"{MANIFEST} there is cut short, and no earlier one is whole; give an empty folder")
        return newest

    def by_names(self) -> BackupManifest | None:
        """A manifest made from the names of the files, where none can be read."""
        names = sorted(self._names())
        copies = [name for name in names if COPY.fullmatch(name)]
        if not copies:
            return None
        moment = datetime.strptime(copies[-1].partition("-")[2].partition(".")[0], "%Y%m%dT%H%M%S%f")
        return BackupManifest("", moment.isoformat(), tuple(copies), tuple(filter(TAR.fullmatch, names)))

    def packed(self, manifest: BackupManifest | None) -> set[str]:
        """The sha256 of the pictures in the tars; empty where no list has them, so that all are packed again."""
        if manifest is None or not manifest.index:
            return set()
        try:
            return set(self._files.cat_file(f"{self._root}/{manifest.index}").decode().split())
        except FileNotFoundError:
            return set()

    def get(self, name: str, file: Path) -> None:
        self._files.get_file(f"{self._root}/{name}", str(file))

    def put(self, file: Path) -> None:
        """Copy a finished file to the target, under its name."""
        self._files.makedirs(self._root, exist_ok=True)
        if self.folder is None:
            self._files.put_file(str(file), f"{self._root}/{file.name}")
            return
        partial = self.folder / f"{file.name}.partial"
        shutil.copyfile(file, partial)
        move_whole(partial, self.folder / file.name, mode=0o600)

    def write(self, name: str, text: str) -> None:
        if self.folder is None:
            self._files.pipe_file(f"{self._root}/{name}", text.encode())
        else:
            write_whole(self.folder / name, text)

    def finish(self, manifest: BackupManifest, stamp: str) -> None:
        """Write the manifest, which makes the backup valid, then remove files that no manifest needs."""
        text = json.dumps(asdict(manifest), indent=1)
        self.write(f"backup-{stamp}.json", text)
        self.write(MANIFEST, text)
        self._files.invalidate_cache()
        names = sorted(self._names())
        earlier = [name for name in names if EARLIER.fullmatch(name)]
        needed = {manifest.index, *(parsed.index for name in earlier[-DATABASES:] if (parsed := self._parsed(name)))}
        removed = [*earlier[:-DATABASES], *filter(CUT_SHORT.fullmatch, names)]
        removed += [name for name in names if LIST.fullmatch(name) and name not in needed]
        removed += [name for name in names if COPY.fullmatch(name) and name not in manifest.databases]
        for name in removed:
            self._files.rm_file(f"{self._root}/{name}")

    def _names(self) -> set[str]:
        if not self._files.exists(self._root):
            return set()
        return {str(path).rpartition("/")[2] for path in self._files.ls(self._root, detail=False)}

    def _parsed(self, name: str) -> BackupManifest | None:
        """A manifest; None for what is cut short or gone."""
        try:
            row = json.loads(self._files.cat_file(f"{self._root}/{name}"))
            values = {field.name: row[field.name] for field in fields(BackupManifest) if field.name in row}
            return BackupManifest(**values | {kind: tuple(row[kind]) for kind in ("databases", "pictures")})
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None


def check(address: str, directory: Path, needed: int) -> None:
    """Raises BackupError for an unusable target: unknown, inside the data folder, not writable, or a folder without
    room for so many bytes.
    """
    try:
        folder = BackupTarget(address).folder
        if folder is None:
            return
        data = directory.expanduser().resolve()
        if folder.resolve().is_relative_to(data):
            raise BackupError(f"{address} is inside the data folder, with which it would be lost; choose another place")
        probe = folder / ".probe"
        write_whole(probe, "a backup can be written here")
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except (OSError, ValueError, ImportError) as error:
        raise BackupError(f"backups cannot be written to {address}: {error}; choose another place") from error
    if free < needed + LEAST_FREE:
        least = (needed + LEAST_FREE) >> 20
        raise BackupError(f"{address} has {free >> 20} MiB left, wanted are {least}; make room or choose another place")
