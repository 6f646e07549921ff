"""Periodic work in background threads."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from annotations.errors import AnnotationsError

log = logging.getLogger(__name__)


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
