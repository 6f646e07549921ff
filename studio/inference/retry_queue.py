"""Finished trajectories kept in memory while the database, or the storage of pictures, is unavailable.

Bounded in number and time, since either may stay away; knows the store, no pages and no networks.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from annotations.errors import AwayError, DatabaseError, UnwrittenError
from annotations.store.store import Store
from model.trajectory import Trajectory

log = logging.getLogger(__name__)

MOST = 100  # trajectories that wait
LONGEST = 600.0  # seconds that one waits
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0  # seconds between two tries; each pause is twice the one before
KEPT = "The database is away; your drawing is kept and will be in the gallery when it is back."
KEPT_UNWRITTEN = "Pictures cannot be written just now; your drawing is kept and will be in the gallery once they can."
UNAVAILABLE = (DatabaseError, UnwrittenError)  # what may be over later


class StoredLater(AwayError):
    """A trajectory is not stored yet; it is kept and will be."""


@dataclass(frozen=True)
class Unsaved:
    """Arguments of `Store.save`, and until when it is retried (time.monotonic)."""

    trajectory: Trajectory
    pictures: Mapping[str, bytes]
    owner: str
    until: float


class RetryQueue:
    """Saves in the background in the order in which trajectories ended; a thread runs while any waits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[Unsaved] = deque()
        self._lock = threading.Lock()
        self._running = False

    def save(self, trajectory: Trajectory, pictures: Mapping[str, bytes], owner: str) -> None:
        """Save now, or queue it and raise StoredLater; raises one of UNAVAILABLE where the queue is full."""
        try:
            self._store.save(trajectory, pictures, owner=owner)
        except UNAVAILABLE as error:
            if not self._add(Unsaved(trajectory, pictures, owner, time.monotonic() + LONGEST)):
                raise
            raise StoredLater(KEPT_UNWRITTEN if isinstance(error, UnwrittenError) else KEPT) from error

    def _add(self, unsaved: Unsaved) -> bool:
        with self._lock:
            if len(self._waiting) >= MOST:
                log.error("drawing %s is lost: %d wait for the database already", unsaved.trajectory.id, MOST)
                return False
            self._waiting.append(unsaved)
            if not self._running:
                self._running = True
                threading.Thread(target=self._work, name="later saves", daemon=True).start()
        return True

    def _work(self) -> None:
        pause = FIRST_PAUSE
        while (first := self._first()) is not None:
            if self._is_settled(first):
                with self._lock:
                    self._waiting.popleft()
                pause = FIRST_PAUSE
            else:
                time.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)

    def _first(self) -> Unsaved | None:
        """The next one to save; None ends the thread."""
        with self._lock:
            self._running = bool(self._waiting)
            return self._waiting[0] if self._running else None

    def _is_settled(self, unsaved: Unsaved) -> bool:
        """Whether it was saved, or has been given up, which is logged."""
        try:
            self._store.save(unsaved.trajectory, unsaved.pictures, owner=unsaved.owner)
        except UNAVAILABLE as error:
            if time.monotonic() < unsaved.until:
                return False
            log.error(
                "drawing %s is lost, what it is stored in was away too long: %s",
                unsaved.trajectory.id,
                error,
            )
        except Exception:  # whatever is wrong with this one, the others are saved
            log.exception("drawing %s cannot be stored", unsaved.trajectory.id)
        return True
