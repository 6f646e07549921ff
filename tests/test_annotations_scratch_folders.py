"""Temporary folders: that their disk is full is told apart from other errors, and from other disks that are full."""

import errno
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import IO

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from annotations import scratch_folders
from annotations.errors import BackupError, DiskFullError, UnwrittenError
from annotations.scratch_folders import parent_of_scratch, raise_disk_full, scratch_folder

NO_SPACE, NO_QUOTA = (OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EDQUOT))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def full(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, without room for another file."""
    monkeypatch.setattr(tempfile, "TemporaryFile", full_file)
    return place


def full_file(**_: object) -> IO[bytes]:
    return open("/dev/full", "wb")


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def of_sqlite(code: int | None) -> sqlite3.Error:
    error = sqlite3.OperationalError("of SQLite")
    if code is not None:
        error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "error",
    [
        NO_SPACE,
        NO_QUOTA,
        raised_from(ValueError("of a library"), NO_SPACE),
        raised_from(RuntimeError(), raised_from(ValueError(), of_sqlite(sqlite3.SQLITE_FULL))),
        of_sqlite(sqlite3.SQLITE_FULL),
        of_sqlite(sqlite3.SQLITE_IOERR_WRITE),  # as of a quota
        of_sqlite(sqlite3.SQLITE_CANTOPEN),  # as for want of inodes
        of_sqlite(None),
        OSError("a library could not write"),
    ],
    ids=repr,
)
def test_an_error_that_names_no_file_is_of_a_full_disk_while_nothing_can_be_written_there(full: Path, error: Exception):
    said = f"^{full} is full; make room there, or name another temporary folder in TMPDIR$"
    with pytest.raises(DiskFullError, match=said) as told, scratch_folder():
        raise error
    assert told.value.__cause__ is error and not [*full.iterdir()]


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        of_sqlite(sqlite3.SQLITE_CORRUPT),
        of_sqlite(sqlite3.SQLITE_CONSTRAINT_UNIQUE),
        ValueError("of something else"),
        raised_from(ValueError("of a library"), KeyError("of something else")),
        raised_from(UnwrittenError("of the data folder"), NO_SPACE),
        BackupError("of the target"),
    ],
    ids=repr,
)
def test_an_error_of_another_kind_stays_what_it_is_on_a_full_disk(full: Path, error: Exception):
    with pytest.raises(type(error)) as told, scratch_folder():
        raise error
    assert told.value is error and not [*full.iterdir()]


@pytest.mark.parametrize("error", [NO_SPACE, NO_QUOTA, of_sqlite(sqlite3.SQLITE_FULL), of_sqlite(None)], ids=repr)
def test_a_full_disk_is_another_one_while_there_is_room_for_temporary_folders(place: Path, error: Exception):
    with pytest.raises(type(error)) as told, scratch_folder():
        raise error
    assert told.value is error and not [*place.iterdir()]


def test_a_disk_that_fills_elsewhere_is_not_called_that_of_temporary_folders(place: Path):
    with pytest.raises(OSError, match="No space left on device"), scratch_folder(), open("/dev/full", "w") as other:
        other.write("x")


def test_a_named_file_says_which_disk_is_full(full: Path):
    with pytest.raises(DiskFullError), scratch_folder() as folder:
        raise OSError(errno.ENOSPC, "of a new file", f"{folder}/in/none")
    with pytest.raises(DiskFullError), scratch_folder() as folder:  # a copy names what is read, then what is written
        raise OSError(errno.ENOSPC, "of a copy", "/proc/version", None, os.fsencode(f"{folder}/version"))
    for name in ("/proc/gone", "/proc/version"):
        with pytest.raises(OSError, match="elsewhere"), scratch_folder() as folder:
            raise OSError(errno.ENOSPC, "elsewhere", f"{folder}/version", None, name)


def test_where_nothing_else_is_written_a_full_disk_needs_no_proof(place: Path):
    folder = place / f"{scratch_folders.PREFIX}1-x" / "zip-1"
    assert parent_of_scratch(folder) == parent_of_scratch(folder.parent) == place
    for error in (NO_SPACE, NO_QUOTA, of_sqlite(sqlite3.SQLITE_FULL)):
        with pytest.raises(DiskFullError, match=f"^{place} is full; "), raise_disk_full(folder):
            raise error
    with pytest.raises(OSError, match="of a library"), raise_disk_full(folder):  # which is not there to be asked
        raise OSError("of a library")


def test_a_full_database_behind_sqlalchemy_is_recognized(place: Path):
    with pytest.raises(DiskFullError) as told, scratch_folder() as folder, raise_disk_full(Path(folder)):
        engine = create_engine(f"sqlite:///{folder}/x.db", poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("PRAGMA max_page_count = 1"))
            connection.execute(text("CREATE TABLE t (a)"))
            connection.execute(text("CREATE TABLE another (a)"))
    assert isinstance(told.value.__cause__, OperationalError)


@pytest.mark.parametrize(
    ("error", "kind"), [(NO_SPACE, DiskFullError), (NO_QUOTA, DiskFullError), (PermissionError(), PermissionError)]
)
def test_a_disk_without_room_for_a_folder_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[Exception]
):
    def make(**_: object) -> None:
        raise error

    monkeypatch.setattr(tempfile, "TemporaryDirectory", make)
    said = f"^{place} is full; make room" if kind is DiskFullError else None
    with pytest.raises(kind, match=said), scratch_folder():
        pass
