"""Drawings under way, followed by other pages: from memory in this process, through the database in others.

With PostgreSQL each studio publishes the events of its drawings every half second, and what a studio that ended has
left unfinished is stored as cancelled by another one. With SQLite nothing is written.
"""

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from annotations.errors import ConflictError
from annotations.processes import live_events
from annotations.processes.live_events import EventBatch
from annotations.processes.periodic import run_periodically
from annotations.store.store import Store
from model.events import Event, Failed, TrajectoryFinished, from_dict
from model.trajectory import StopReason
from studio.inference.partial_trajectory import PartialTrajectory

PUBLISHED_EVERY = timedelta(seconds=0.5)
POLLED_EVERY = 0.25  # seconds
SILENT = timedelta(seconds=20)  # without a sign of life, after which a drawing's process is taken as ended
ENDED_FOR = 10.0  # seconds that the events of a drawing which ended stay, for those who follow it

_of: "weakref.WeakKeyDictionary[Store, LiveDrawings]" = weakref.WeakKeyDictionary()
_making = threading.Lock()


@dataclass
class LiveDrawing:
    """The events of a drawing of this process."""

    owner: str
    events: list[Event] = field(default_factory=list)
    published: int = 0  # of them
    ended_at: float | None = None  # of time.monotonic()

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None and time.monotonic() - self.ended_at > ENDED_FOR


class LiveDrawings:
    """The drawings under way of all studios with one store. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store: Store = weakref.proxy(store)
        self._own: dict[str, LiveDrawing] = {}
        self._publishing = threading.Lock()
        self._shared = store.database.url is not None
        if self._shared:
            run_periodically(self.publish, PUBLISHED_EVERY, "live drawings", stop=store.closed)
            run_periodically(self.recover, SILENT, "drawings left", first=SILENT, stop=store.closed)

    @staticmethod
    def of(store: Store) -> "LiveDrawings":
        with _making:
            if store not in _of:
                _of[store] = LiveDrawings(store)
            return _of[store]

    def add(self, event: Event, owner: str) -> None:
        """The next event of a drawing of this process."""
        drawing = self._own.setdefault(event.trajectory_id, LiveDrawing(owner))
        drawing.events.append(event)
        if isinstance(event, TrajectoryFinished | Failed):
            drawing.ended_at = time.monotonic()
            if not self._shared:
                self._forget()

    def is_live(self, run: str) -> bool:
        """Whether a drawing is under way in any studio."""
        if (drawing := self._own.get(run)) is not None:
            return drawing.ended_at is None
        return self._shared and live_events.is_live(self._store.database, run, self._store.clock() - SILENT)

    def follow(self, run: str) -> Iterator[Event]:
        """Yields the events of a drawing from its first on, until it or its process has ended."""
        number = 0
        while True:
            live = self.is_live(run)
            for event in self._after(run, number):
                yield event
                number += 1
                if isinstance(event, TrajectoryFinished | Failed):
                    return
            if not live:
                return
            time.sleep(POLLED_EVERY)

    def publish(self) -> None:
        """Write the new events of this process's drawings to the database, and drop those that have ended. Raises
        DatabaseError."""
        with self._publishing:
            self._publish()

    def _publish(self) -> None:
        drawings = dict(self._own)
        batches = []
        for run, drawing in drawings.items():
            if new := drawing.events[drawing.published :]:
                rows = [event.to_dict() for event in new]
                batches.append(EventBatch(run, drawing.published, rows, drawing.owner))
        if drawings:
            ended = [run for run, drawing in drawings.items() if drawing.ended_at is not None]
            live = [run for run in drawings if run not in ended]
            live_events.publish(self._store.database, batches, live, ended, self._store.clock())
        for batch in batches:
            drawings[batch.trajectory_id].published += len(batch.events)
        if over := self._forget():
            live_events.remove(self._store.database, over)

    def recover(self) -> list[str]:
        """Store the unfinished drawings of processes that have ended, as cancelled; returns their ids. Raises
        AnnotationsError."""
        database = self._store.database
        left = live_events.silent(database, self._store.clock() - SILENT)
        for run, owner in left.items():
            partial = PartialTrajectory()
            for row in live_events.after(database, run, 0) if owner is not None else ():
                partial = partial.after(from_dict(row))
            if owner is not None and partial.trajectory is not None:
                stopped = replace(partial.trajectory, stop_reason=StopReason.CANCELLED)
                with suppress(ConflictError):  # it was stored, and only its end not told any more
                    self._store.save(stopped, partial.pictures, owner=owner)
        if left:
            live_events.remove(database, list(left))
        return [run for run, owner in left.items() if owner is not None]

    def _after(self, run: str, number: int) -> list[Event]:
        if (drawing := self._own.get(run)) is not None:
            return drawing.events[number:]
        rows = live_events.after(self._store.database, run, number) if self._shared else []
        return [from_dict(row) for row in rows]

    def _forget(self) -> list[str]:
        """Drop the drawings that have ended (after they were published); returns their ids."""
        over = [run for run, drawing in list(self._own.items()) if drawing.is_over]
        for run in over:
            self._own.pop(run, None)
        return over
