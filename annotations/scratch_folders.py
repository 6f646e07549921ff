"""Temporary folders named after their process: what a killed one left is removed at the next start of a studio."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotations.errors import NoRoomError

PREFIX = "aha-studio-"
FULL = 2**18  # bytes free of a disk on which a write failed for want of room


def process_prefix() -> str:
    """Of the names of this process's temporary folders."""
    return f"{PREFIX}{os.getpid()}-"


@contextmanager
def scratch_folder() -> Iterator[str]:
    """A new folder, which is removed at the end. Raises NoRoomError where its disk is full."""
    with tempfile.TemporaryDirectory(prefix=process_prefix()) as folder, no_room_told(Path(folder)):
        yield folder


@contextmanager
def no_room_told(folder: Path) -> Iterator[None]:
    """Errors while the disk of a folder of `scratch_folder` is full say so. Raises NoRoomError."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if shutil.disk_usage(folder).free >= FULL:
            raise
        raise NoRoomError(
            f"{folder.parent} is full; make room there, or name another temporary folder in TMPDIR"
        ) from error


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
