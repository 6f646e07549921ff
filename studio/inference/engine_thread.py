"""The engine in a thread of its own, shared by all visitors.

Knows requests and events; neither the store nor a page.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from model.decoding.engine import Engine
from model.decoding.request import Request
from model.events import Event, Failed, TrajectoryFinished
from studio.http.priority import activity

log = logging.getLogger(__name__)

AT_ONCE = 32  # visitors drawing at the same time, where memory allows
MOST_WAITING = 16  # more are asked to come back
LONGEST_PAUSE = 0.05  # seconds after a step, while people who have signed in are at work
PATIENCE = 0.5  # seconds after which a visitor in the line hears how long it is


class QueuePosition(NamedTuple):
    """Not an event of the trajectory, which has not begun: how many are drawn for before it is."""

    before: int

    @property
    def text(self) -> str:
        return "Yours is the next drawing." if self.before == 0 else f"{self.before} in the line before you."


class QueueFull(Exception):
    """Too many are waiting already, or nothing can be drawn just now; the message says what to do."""


class Serving(Protocol):
    """What makes the events of a request, for many at the same time."""

    def events(self, request: Request) -> Iterator[Event | QueuePosition]:
        """A request's events until it ends, or none where it stops before it begins. Raises PromptError, QueueFull."""


class SharedEngine:
    """One engine; one thread decodes for everybody."""

    def __init__(self, new_engine: Callable[[], Engine]) -> None:
        """`new_engine` makes one, now and whenever the last one broke."""
        self._new_engine = new_engine
        self._engine: Engine | None = new_engine()  # None: broken, and no other could be made yet
        self._visitors: dict[str, SimpleQueue[Event | QueueFull]] = {}  # by trajectory
        self._arrival = threading.Condition()
        self._driver = threading.Thread(target=self._drive, name="engine", daemon=True)

    def events(self, request: Request) -> Iterator[Event | QueuePosition]:
        """A request's events as the engine makes them, until it ends."""
        mine = self._visitors[request.id] = SimpleQueue()
        try:
            self._line_up(request)
            event = None
            while not isinstance(event, TrajectoryFinished | Failed):
                try:
                    event = mine.get(timeout=PATIENCE)
                    if isinstance(event, QueueFull):
                        raise event
                except Empty:
                    if (before := self._before(request)) is None:
                        continue
                    if request.stop():
                        return
                    event = QueuePosition(before)
                yield event
        finally:
            del self._visitors[request.id]

    def _line_up(self, request: Request) -> None:
        with self._arrival:
            if self._engine is None:
                self._engine = self._made()
            if (waiting := self._engine.line) >= MOST_WAITING:
                raise QueueFull(f"{waiting} drawings are waiting already; come back in a minute.")
            self._engine.add(request)
            if not self._driver.is_alive():
                self._driver.start()
            self._arrival.notify()

    def _before(self, request: Request) -> int | None:
        """How many wait before this one; None if it does not wait."""
        waiting = list(self._engine.waiting) if self._engine is not None else []
        return next((place for place, other in enumerate(waiting) if other is request), None)

    def _drive(self) -> None:
        """Step after step while anybody is drawing, for ever: the only thread that decodes."""
        while True:
            with self._arrival:
                self._arrival.wait_for(lambda: self._engine is not None and self._engine.busy)
            began = time.perf_counter()
            try:
                events = self._engine.step()
            except Exception as error:  # whatever breaks, what was drawn so far is kept and told
                log.exception("the engine broke")
                events = self._replace_engine(error)
            for event in events:
                self._tell(event.trajectory_id, event)
            if activity.signed_in_active:
                time.sleep(min(time.perf_counter() - began, LONGEST_PAUSE))  # their answers come first

    def _replace_engine(self, error: Exception) -> list[Event]:
        """A new one, in the room of the old; who was waiting waits there, who was drawing has failed."""
        with self._arrival:
            events, waiting = self._engine.fail(error), list(self._engine.waiting)
            self._engine.close()
            self._engine = None
            try:
                self._engine = self._made()
                self._engine.waiting.extend(waiting)
            except QueueFull as none:
                for request in waiting:
                    self._tell(request.id, none)
        return events

    def _made(self) -> Engine:
        try:
            return self._new_engine()
        except Exception as error:  # mostly: no memory
            log.exception("no engine could be made")
            raise QueueFull(f"Nothing can be drawn at the moment ({error}); come back later.") from error

    def _tell(self, trajectory: str, event: Event | QueueFull) -> None:
        if (visitor := self._visitors.get(trajectory)) is not None:
            visitor.put(event)
