"""What is done now and then while the studio runs, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from annotations.errors import AnnotationsError

log = logging.getLogger(__name__)


def keep_doing(act: Callable[[], object], every: timedelta, name: str) -> threading.Thread:
    """At once and again after each pause, until the process ends; what cannot be done is logged."""

    def work() -> None:
        while True:
            try:
                act()
            except (AnnotationsError, OSError) as error:
                log.error("%s: %s", name, error)
            time.sleep(every.total_seconds())

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
