"""Temporary folders named after their process: what a killed one left is removed at the next start of a studio."""

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotations.errors import AnnotationsError, DiskFullError

PREFIX = "aha-studio-"
LEAST_FREE = 2**18  # bytes that can be written on a disk that is not full
FULL = (errno.ENOSPC, errno.EDQUOT)  # no blocks or inodes are left, on the disk or in a quota
# Primary result codes of SQLite for a file that cannot be written or made: of a quota or of inodes it says no more.
UNCLEAR = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def process_prefix() -> str:
    """Of the names of this process's temporary folders."""
    return f"{PREFIX}{os.getpid()}-"


@contextmanager
def scratch_folder() -> Iterator[str]:
    """A new folder, which is removed at the end. Raises DiskFullError where its disk is full."""
    try:
        made = tempfile.TemporaryDirectory(prefix=process_prefix())
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_full(f"{tempfile.gettempdir()} is full") from error
    with made as folder, raise_disk_full(Path(folder), writes_elsewhere=True):
        yield folder


def parent_of_scratch(folder: Path) -> Path:
    """Where the folder of `scratch_folder` that `folder` is, or is inside of, was made."""
    return next((each for each in (folder, *folder.parents) if each.name.startswith(PREFIX)), folder).parent


def disk_full(problem: str) -> DiskFullError:
    """The error for a problem with the room for temporary folders, with what to do about it."""
    return DiskFullError(f"{problem}; make room there, or name another temporary folder in TMPDIR")


@contextmanager
def raise_disk_full(folder: Path, *, writes_elsewhere: bool = False) -> Iterator[None]:
    """Convert an error that says that a disk or a quota is full to DiskFullError, if it is the disk of `folder`.

    `folder` is inside one of `scratch_folder`. `writes_elsewhere`: the block writes to other disks, too, so an error
    that names no file counts only if `folder` has no room. Other errors, and all of `annotations`, pass unchanged.
    """
    try:
        yield
    except AnnotationsError:
        raise
    except Exception as error:
        if not _fills_disk_of(folder, error, writes_elsewhere):
            raise
        raise disk_full(f"{parent_of_scratch(folder)} is full") from error


def _fills_disk_of(folder: Path, error: BaseException, writes_elsewhere: bool) -> bool:
    """Whether an error, or one that it was raised from, says that the disk of a folder is full."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__
    full = next((each for each in chain if _says_full(each)), None)
    if full is None:
        return any(map(_is_unclear, chain)) and not _has_room(folder)
    file = getattr(full, "filename2", None) or getattr(full, "filename", None)  # of a copy, the second is written
    if isinstance(file, (str, bytes, os.PathLike)):
        try:
            return _disk_of(Path(os.fsdecode(file))) == _disk_of(folder)
        except OSError:
            pass
    return not (writes_elsewhere and _has_room(folder))


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in FULL
    return isinstance(error, sqlite3.Error) and _sqlite_code(error) == sqlite3.SQLITE_FULL


def _is_unclear(error: BaseException) -> bool:
    """Whether an error may come of a full disk without saying so."""
    if isinstance(error, OSError):
        return error.errno is None
    return isinstance(error, sqlite3.Error) and _sqlite_code(error) in (None, *UNCLEAR)


def _sqlite_code(error: sqlite3.Error) -> int | None:
    """The primary result code; None for an error that SQLite itself did not raise."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _disk_of(path: Path) -> int:
    """The device of a path, or of the nearest folder above it that exists. Raises OSError where none does."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.stat().st_dev


def _has_room(folder: Path) -> bool:
    """Whether LEAST_FREE bytes can be written to a new file, quotas included; True where that cannot be found out."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(LEAST_FREE))
    except OSError as error:
        return error.errno not in FULL
    return True


def remove_left_behind() -> None:
    """Remove the folders of processes that are gone."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        number = left.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdecimal() and not _is_running(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
