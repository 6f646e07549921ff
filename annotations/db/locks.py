"""Locks among all studios of one database: files in the data folder with SQLite, advisory locks with PostgreSQL.

Both end with the process that holds them, however it ends.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from zlib import crc32

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from annotations.db.engine import AWAY
from annotations.errors import AwayError, BusyError

NAMESPACE = 0x61686103  # of the advisory locks, beside the one for writing
RETRY_SECONDS = 0.25
LOCK_TIMEOUT = timedelta(minutes=10)  # of the maintenance lock


class ServerLock:
    """An advisory lock of a connection of its own, with the methods of a FileLock."""

    def __init__(self, url: URL, name: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._name = name
        self._connection: Connection | None = None

    def acquire(self, timeout: float = 0) -> None:
        """Raises Timeout where another process holds it for so many seconds, AwayError without a server."""
        deadline = time.monotonic() + timeout
        try:
            connection = self._engine.connect()
            while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({self._key})").scalar():
                if time.monotonic() >= deadline:
                    connection.close()
                    raise Timeout(self._name)
                time.sleep(RETRY_SECONDS)
        except SQLAlchemyError as error:
            raise AwayError(AWAY) from error
        self._connection = connection

    def release(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # closes it, which ends the lock
            self._connection.close()
            self._connection = None

    @property
    def is_locked(self) -> bool:
        """Whether it is held still: its connection may have broken."""
        if self._connection is None:
            return False
        try:
            self._connection.exec_driver_sql("SELECT 1")
        except SQLAlchemyError:
            self.release()
        return self._connection is not None

    @property
    def _key(self) -> str:
        return f"{NAMESPACE}, {crc32(self._name.encode()) - 2**31}"


def lock_of(directory: Path, url: URL | None, name: str) -> FileLock | ServerLock:
    """The lock `name` of a data folder, or of the PostgreSQL database at `url`; not acquired."""
    if url is not None:
        return ServerLock(url, name)
    return FileLock(directory / f"{name}.lock", mode=0o600)


@contextmanager
def maintenance_lock(directory: Path, url: URL | None = None) -> Iterator[None]:
    """Held by one backup or purge of a data folder, or of the PostgreSQL database at `url`, at a time, in all
    processes. Raises BusyError after ten minutes."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = lock_of(directory, url, "maintenance")
    try:
        lock.acquire(LOCK_TIMEOUT.total_seconds())
    except Timeout as error:
        message = f"another backup or purge of {directory} has been going on for {LOCK_TIMEOUT}; wait for it"
        raise BusyError(message) from error
    try:
        yield
    finally:
        lock.release()


def in_one_process(url: URL | None, job: str, task: Callable[[], object]) -> Callable[[], None]:
    """`task` where this process is the one of all studios that does the `job`, else nothing: with the PostgreSQL
    database at `url` the first that asks, and another once it has ended; with SQLite (None) always.
    """
    lock = ServerLock(url, job) if url is not None else None

    def run() -> None:
        if lock is None or lock.is_locked or _acquired(lock):
            task()

    return run


def _acquired(lock: ServerLock) -> bool:
    try:
        lock.acquire()
    except (Timeout, AwayError):
        return False
    return True
