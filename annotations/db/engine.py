"""Data folder and database engines: one that reads, one that writes, on SQLite or PostgreSQL.

Knows files, locks and pragmas; nothing of what the tables mean. Reading transactions are deferred and cannot
write; writing ones begin with the write lock in hand, so that none fails half-way, and are on the disk when
they return. SQLite 3.7.0 to 3.51.2 can corrupt a write-ahead log: there the older rollback journal is used,
and one process writes.
"""

import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_data_path
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from annotations.db import postgres
from annotations.db.fair_lock import FairLock
from annotations.db.json_text import to_json
from annotations.db.upgrade import revisions, server_revisions, upgrade, upgrade_server
from annotations.errors import AwayError, BusyError, DatabaseError, DirectoryError, MigrationError, redact_paths

log = logging.getLogger(__name__)

FILE = "studio.db"
BUSY_MS = 15_000  # how long a connection waits for a lock of another process
WRITE_LOCK_SECONDS = 60.0  # how long a thread waits for other writing threads of this process
WAL_SECONDS = 1.0  # how long truncating the write-ahead log waits for readers
AWAY_SECONDS, RETRY_SECONDS = 20.0, 0.25  # how long an unreachable server is retried, and how often
AWAY = "the database cannot be reached at the moment; try again in a minute, nothing is stored twice"
BUSY = "the database has had no time for this for a minute; nothing was changed, try again in a moment"


def default_directory() -> Path:
    """The data folder: AHA_STUDIO_DATA where it is set, else the user's data folder of this platform."""
    moved = os.environ.get("AHA_STUDIO_DATA")
    return Path(moved).expanduser() if moved else user_data_path("aha-studio", appauthor=False)


def default_url() -> str | None:
    """The address of a PostgreSQL database: AHA_STUDIO_DATABASE where it is set, else None, which is SQLite."""
    return os.environ.get("AHA_STUDIO_DATABASE") or None


def default_pictures() -> str | None:
    """Where pictures are kept: the folder or URL in AHA_STUDIO_PICTURES, else None, which is the data folder."""
    return os.environ.get("AHA_STUDIO_PICTURES") or None


def has_wal_bug(version: tuple[int, ...]) -> bool:
    """Whether this SQLite can corrupt a write-ahead log when it restarts the log (fixed in 3.51.3)."""
    return (3, 7, 0) <= version < (3, 51, 3)


@dataclass(frozen=True)
class Database:
    """An open database. `write` is None where it was opened for reading only."""

    directory: Path  # of the pictures, and of SQLite's file
    read: Engine
    write: Engine | None
    lock: FileLock | None = field(default=None, compare=False)
    server: str | None = None  # address of a PostgreSQL database, without its password
    write_lock: FairLock = field(default_factory=FairLock, compare=False)  # of the threads of this process

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A read-only transaction on one snapshot. Raises DatabaseError."""
        with _translated_errors(), _transaction(self.read) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """The only writing transaction at that time, on the disk once the block is left; waiting threads get theirs in
        the order in which they asked. Raises DatabaseError, BusyError where others take too long.
        """
        if self.write is None:
            raise DatabaseError(f"{self.place} was opened for reading only; use open_database to write")
        if not self.write_lock.acquire(WRITE_LOCK_SECONDS):
            raise BusyError(BUSY)
        try:
            with _translated_errors(), _transaction(self.write, expire_on_commit=False) as session:
                yield session
        finally:
            self.write_lock.release()

    def truncate_wal(self) -> None:
        """Checkpoint SQLite's write-ahead log into the file and truncate it: deleted content is overwritten in the
        file, but would stay in the log. While others are reading, the log stays as it is.
        """
        if self.server is not None or self.write is None:
            return
        with closing(sqlite3.connect(self.directory / FILE, timeout=WAL_SECONDS, isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError as error:
                log.info("the write-ahead log could not be truncated: %s", error)

    @property
    def url(self) -> URL | None:
        """The address of a PostgreSQL database, with its password."""
        return None if self.server is None else self.read.url

    @property
    def place(self) -> str:
        """The address or folder, for messages."""
        return self.server or str(self.directory)

    def close(self) -> None:
        self.read.dispose()
        if self.write is not None:
            self.write.dispose()
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_database(directory: Path, *, sqlite_version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Database:
    """The database in `directory`, made or migrated where needed, for reading and writing.

    Raises DirectoryError where the folder cannot be written, BusyError where another process holds it, and
    MigrationError where the file there is not ours or is newer.
    """
    directory = directory.expanduser().absolute()
    _require_writable_directory(directory)
    unsafe_wal = has_wal_bug(sqlite_version)
    lock = _lock_for_writing(directory, sqlite_version) if unsafe_wal else None
    try:
        _create_private_file(directory / FILE)
        _set_journal(directory / FILE, "delete" if unsafe_wal else "wal")
        upgrade(directory / FILE)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    # EXTRA also syncs the folder after the journal is removed, without which the last commit may come undone.
    write = _engine(directory / FILE, "BEGIN IMMEDIATE", f"synchronous = {'EXTRA' if unsafe_wal else 'FULL'}", 1)
    return Database(directory, read=_reader(directory / FILE), write=write, lock=lock)


def open_database_for_reading(directory: Path) -> Database:
    """The database in `directory` beside a running studio: nothing is made, migrated, locked or written.

    Raises DirectoryError where there is none, MigrationError where its tables are not the newest.
    """
    file = directory.expanduser().absolute() / FILE
    if not file.is_file():
        raise DirectoryError(
            f"there is no {FILE} in {file.parent}; name the data folder of the studio (--data or AHA_STUDIO_DATA)"
        )
    _check_migrated(str(file), *revisions(file))
    return Database(file.parent, read=_reader(file), write=None)


def open_server(directory: Path, url: str) -> Database:
    """The PostgreSQL database at `url`, made or migrated where needed; pictures are kept in `directory`.

    Raises DirectoryError where the folder cannot be written, DatabaseError where the server cannot be reached, and
    MigrationError where the tables there are not ours or are newer.
    """
    directory, address = directory.expanduser().absolute(), postgres.parse(url)
    _require_writable_directory(directory)
    upgrade_server(address)
    engines = {"read": postgres.reader(address), "write": postgres.writer(address)}
    return Database(directory, **engines, server=postgres.shown(address))


def open_server_for_reading(directory: Path, url: str) -> Database:
    """The same beside a running studio: nothing is made, migrated or written."""
    address = postgres.parse(url)
    shown = postgres.shown(address)
    _check_migrated(shown, *server_revisions(address))
    return Database(directory.expanduser().absolute(), read=postgres.reader(address), write=None, server=shown)


def _check_migrated(place: str, current: str | None, newest: str) -> None:
    if current != newest:
        raise MigrationError(
            f"{place} has tables of revision {current}, wanted is {newest}; start the studio once, which migrates them"
        )


@contextmanager
def _transaction(engine: Engine, **options: bool) -> Iterator[Session]:
    """Committed at the end of the block, rolled back by an exception."""
    with _begun(engine, **options) as session:
        yield session
        session.commit()


def _begun(engine: Engine, **options: bool) -> Session:
    """A session in a transaction. Retries while a server restarts: nothing was done yet, so retrying is safe."""
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        session = Session(engine, **options)
        try:
            session.connection()
            return session
        except BaseException as error:
            session.close()
            if not postgres.is_unreachable(error) or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Raise database errors as DatabaseError of one line without paths and addresses, because visitors may read it."""
    try:
        yield
    except PoolTimeout as error:
        raise BusyError(BUSY) from error
    except SQLAlchemyError as error:
        if postgres.is_unreachable(error):
            log.warning("the database cannot be reached: %s", error.__cause__ or error)
            raise AwayError(AWAY) from error
        log.warning("the database said: %s", error.__cause__ or error)
        reason = redact_paths(str(error.__cause__ or error).splitlines()[0])
        raise DatabaseError(
            f"the database said: {reason}; nothing was changed, look at its disk and try again"
        ) from error


def make_private_directory(directory: Path) -> None:
    """Create a data folder with mode 0700; the mode of an existing one stays."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)


def _create_private_file(file: Path) -> None:
    """Create the database file with mode 0600, which SQLite gives to its journals as well."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        if file.stat().st_mode & 0o077:
            with suppress(PermissionError):  # it is another user's
                file.chmod(0o600)
    except OSError as error:
        raise DirectoryError(f"cannot write {file} ({error.strerror}); look at its owner and rights") from error


def _require_writable_directory(directory: Path) -> None:
    try:
        make_private_directory(directory)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise DirectoryError(
            f"cannot write to {directory} ({error.strerror}); "
            "choose a folder you may write to with --data or AHA_STUDIO_DATA"
        ) from error


def _lock_for_writing(directory: Path, version: tuple[int, ...]) -> FileLock:
    lock = FileLock(directory / "studio.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        installed = ".".join(str(part) for part in version)
        raise BusyError(
            f"another process already writes to {directory}, and SQLite {installed} allows only one; end that "
            "process, choose another folder, or update SQLite to 3.51.3 or newer"
        ) from error
    return lock


def _set_journal(file: Path, mode: str) -> None:
    """Set the journal mode of the file, which persists; changing it needs exclusive access."""
    try:
        with closing(sqlite3.connect(file, timeout=BUSY_MS / 1000, isolation_level=None)) as connection:
            current = connection.execute("PRAGMA journal_mode").fetchone()[0]
            if current != mode:
                current = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise BusyError(
            f"{file} could not be opened with journal mode {mode}: {error}; end the processes that use it"
        ) from error
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{file} is no database ({error}); restore it from a backup or move it away") from error
    if current != mode:
        raise DatabaseError(
            f"{file} has journal mode {current}, wanted is {mode}; is the folder on a network mount? Use a local disk"
        )


def _reader(file: Path) -> Engine:
    return _engine(file, "BEGIN", "query_only = ON", 20)


def _engine(file: Path, begin: str, pragma: str, connections: int) -> Engine:
    """With a pool of one connection, threads wait for the pool instead of sleeping on SQLite's lock."""
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=60,
        json_serializer=to_json,
    )

    @event.listens_for(engine, "connect")
    def prepare(dbapi, _record) -> None:
        dbapi.isolation_level = None  # SQLAlchemy begins and ends transactions, not the driver
        for line in (f"busy_timeout = {BUSY_MS}", "foreign_keys = ON", "mmap_size = 0", "secure_delete = ON", pragma):
            dbapi.execute(f"PRAGMA {line}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
