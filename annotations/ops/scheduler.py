"""Periodic work in background threads, and the lock by which backups and purges take turns."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from filelock import Timeout
from sqlalchemy import URL

from annotations.errors import AnnotationsError, BusyError
from annotations.processes.locks import lock_of

log = logging.getLogger(__name__)

LOCK_TIMEOUT = timedelta(minutes=10)


def run_periodically(
    task: Callable[[], object],
    interval: timedelta,
    name: str,
    *,
    first: timedelta = timedelta(),
    stop: threading.Event | None = None,
) -> threading.Thread:
    """Run `task` in a daemon thread after `first`, then after each `interval`, until `stop` is set or the process ends.

    AnnotationsError and OSError are logged, and the task runs again.
    """
    stop = stop or threading.Event()

    def work() -> None:
        pause = first
        while not stop.wait(pause.total_seconds()):
            pause = interval
            try:
                task()
            except (AnnotationsError, OSError) as error:
                log.error("%s: %s", name, error)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


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
