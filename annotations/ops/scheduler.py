"""Work repeated in a background thread, and the lock by which backups and purges take turns."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from annotations.errors import AnnotationsError, BusyError

log = logging.getLogger(__name__)

TURN = timedelta(minutes=10)


def keep_doing(
    act: Callable[[], object], every: timedelta, name: str, *, first: timedelta = timedelta()
) -> threading.Thread:
    """After `first`, and again after each pause, until the process ends; what cannot be done is logged."""

    def work() -> None:
        time.sleep(first.total_seconds())
        while True:
            try:
                act()
            except (AnnotationsError, OSError) as error:
                log.error("%s: %s", name, error)
            time.sleep(every.total_seconds())

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


@contextmanager
def working_alone(directory: Path) -> Iterator[None]:
    """Backups and purges of a data folder take turns, in all processes. Raises BusyError after ten minutes."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(directory / "maintenance.lock", timeout=TURN.total_seconds(), mode=0o600):
            yield
    except Timeout as error:
        raise BusyError(f"another backup or purge of {directory} has been going on for {TURN}; wait for it") from error
