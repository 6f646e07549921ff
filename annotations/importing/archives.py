"""Uploaded files and zips unpacked to disk, within bounds of size, count and ratio.

Knows zips, and by their endings which files are tables; no format. What operating systems add to zips is left out.
"""

from __future__ import annotations

import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from annotations.errors import ImportingError
from annotations.scratch_folders import disk_full, parent_of_scratch, raise_disk_full, scratch_folder

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".tar")
MOST_FILES = 200_000
MOST_BYTES = 8 * 2**30  # unpacked, of all zips together
FREE_BYTES = 64 * 2**20  # that any zip may hold; beyond them it must be no smaller than …
MOST_RATIO = 100  # … so many times less than its content
PIECE = 2**20  # bytes
LEFT_OUT = ("thumbs.db", "desktop.ini")
# What zipfile and the decompressors behind it raise for a damaged zip.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, RuntimeError)
ENCRYPTED = 0x1  # flags of an entry
UTF_8 = 0x800


@dataclass(frozen=True)
class UnpackedFolder:
    """A folder of files that came together."""

    folder: Path
    name: str  # of the zip, for messages; empty for files that came one by one, and so without their folders
    given: Mapping[str, Path] = field(default_factory=dict, compare=False)  # the zip, or those files, by their names

    @property
    def flattened(self) -> bool:
        return not self.name

    def origin(self, file: Path) -> Path | None:
        """What was given of which a file in the folder is a copy, or a part."""
        return self.given.get(self.name or file.name)


@contextmanager
def unpacked(files: Sequence[Path]) -> Iterator[list[UnpackedFolder]]:
    """A folder for each zip, and one for all other files, which are removed afterwards.

    Raises ImportingError, and DiskFullError where the disk of temporary folders is full.
    """
    with scratch_folder() as name:
        places, unpacked_bytes = [], 0
        loose = UnpackedFolder(Path(name) / "files", "", {file.name: file for file in files})
        for number, file in enumerate(files, start=1):
            if file.suffix.lower() == ".zip":
                place = UnpackedFolder(Path(name) / f"zip-{number}", file.name, {file.name: file})
                unpacked_bytes += unpack(file, place.folder, MOST_BYTES - unpacked_bytes)
                places.append(place)
            else:
                _copy(file, loose.folder)
        yield [loose, *places] if loose.folder.exists() else places


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    to = folder / file.name
    if to.exists() and to.read_bytes() != file.read_bytes():
        raise ImportingError(f"got two files called {file.name}; give them in a zip, in the folders that they are in")
    shutil.copyfile(file, to)


def unpack(file: Path, folder: Path, room: int = MOST_BYTES) -> int:
    """Unpack a zip into a new folder inside one of `scratch_folder`; how many bytes were unpacked.

    Raises ImportingError for a zip that is damaged, locked, or holds too much; DiskFullError for one that would take
    more than half of what is free on the disk of the folder, or that fills it.
    """
    folder.mkdir(parents=True)
    try:
        with raise_disk_full(folder), zipfile.ZipFile(file) as archive:
            entries = _entries(file, archive)
            limit = min(room, max(FREE_BYTES, MOST_RATIO * file.stat().st_size))
            if (size := sum(entry.file_size for _, entry in entries)) > limit:
                raise _too_large(file, size, limit)
            if size > (free := shutil.disk_usage(folder).free // 2):
                raise disk_full(
                    f"{file.name} unpacks to {size:,} bytes, wanted at most half of the {2 * free:,} that are free in "
                    f"{parent_of_scratch(folder)}"
                )
            done = 0
            for path, entry in entries:
                done += _write(archive, entry, folder / path, file, min(limit, free) - done)
            return done
    except NotImplementedError as error:
        raise ImportingError(
            f"{file.name} is compressed in a way that cannot be read here ({error}); make it anew as an ordinary zip"
        ) from error
    except DAMAGED as error:
        raise ImportingError(f"{file.name} cannot be unpacked: {error}; make the zip again") from error


def _entries(file: Path, archive: zipfile.ZipFile) -> list[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """What is to be unpacked, and where."""
    entries: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        path = PurePosixPath(_name(entry).replace("\\", "/"))
        if entry.is_dir() or path.name == "" or any(_is_left_out(part) for part in path.parts):
            continue
        if path.is_absolute() or ".." in path.parts:
            raise ImportingError(f"{file.name} holds {str(path)!r}, which leads out of it; make the zip again")
        if entry.flag_bits & ENCRYPTED:
            raise ImportingError(f"{file.name} is locked with a password; make it anew without one")
        if path.suffix.lower() == ".zip":
            raise ImportingError(f"{file.name} holds another zip, {path.name}; unpack it, and give that one by itself")
        if path in entries:
            raise ImportingError(f"{file.name} holds {str(path)!r} twice; make the zip again")
        entries[path] = entry
    if not entries:
        raise ImportingError(f"{file.name} holds no file")
    if len(entries) > MOST_FILES:
        raise ImportingError(
            f"{file.name} holds {len(entries):,} files, wanted at most {MOST_FILES:,}; give it in parts"
        )
    return [*entries.items()]


def _name(entry: zipfile.ZipInfo) -> str:
    """As it was meant: macOS and others write UTF-8 without saying so, which then reads as the code page 437."""
    if entry.flag_bits & UTF_8:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _is_left_out(part: str) -> bool:
    return part.startswith(".") and part not in (".", "..") or part == "__MACOSX" or part.lower() in LEFT_OUT


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, to: Path, file: Path, room: int) -> int:
    """The bytes that were in it, whatever its header says."""
    to.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(entry) as source, to.open("wb") as target:
        while piece := source.read(PIECE):
            size += len(piece)
            if size > room:
                raise _too_large(file, size, room)
            target.write(piece)
    return size


def _too_large(file: Path, size: int, limit: int) -> ImportingError:
    return ImportingError(
        f"{file.name} ({file.stat().st_size:,} bytes) unpacks to {size:,} bytes or more, wanted at most {limit:,}; "
        "give it in parts"
    )
