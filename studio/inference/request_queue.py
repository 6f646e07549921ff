"""The queue before a backend: as many requests run at a time as it has room for; the others wait in order."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from model.backends.contract import Backend, UnavailableError
from model.backends.request import Request
from model.events import Event, Failed

log = logging.getLogger(__name__)

AT_ONCE = 32  # visitors drawing at the same time, where memory allows
MOST_WAITING = 16  # more are asked to come back
POSITION_INTERVAL = 0.5  # seconds between two values that tell a waiting visitor their place


class QueuePosition(NamedTuple):
    """Sent before a trajectory's events while it waits: the number of requests before it. No event of the
    trajectory."""

    before: int

    @property
    def text(self) -> str:
        return "Yours is the next drawing." if self.before == 0 else f"{self.before} in the line before you."


class QueueFull(Exception):
    """The queue is full, or nothing can be drawn at the moment; the message says what to do."""


class Serving(Protocol):
    """What makes the events of a request, for many at the same time."""

    def events(self, request: Request) -> Iterator[Event | QueuePosition]:
        """A request's events until it ends, or none where it stops before it begins. Raises RequestError, QueueFull."""


class RequestQueue:
    """A backend and its queue. A rollout runs in a thread of its own, read or not."""

    def __init__(self, backend: Backend, at_once: int) -> None:
        self._backend = backend
        self._at_once = at_once
        self._running = 0
        self._waiting: deque[Request] = deque()
        self._state_changed = threading.Condition()

    def events(self, request: Request) -> Iterator[Event | QueuePosition]:
        """A request's events as the backend makes them, until it ends."""
        self._backend.check(request)
        closed = threading.Event()
        request = replace(request, stop=partial(_either, closed.is_set, request.stop))
        try:
            self._join(request)
            while (before := self._before(request)) is not None:
                if request.stop():
                    return
                yield QueuePosition(before)
            made: SimpleQueue[Event | Exception | None] = SimpleQueue()
            threading.Thread(target=self._make, args=(request, made), name="drawing", daemon=True).start()
            while (event := made.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        except UnavailableError as error:
            raise QueueFull(f"Nothing can be drawn at the moment ({error}); come back later.") from error
        finally:
            closed.set()
            self._give_up(request)

    def _make(self, request: Request, made: SimpleQueue[Event | Exception | None]) -> None:
        """Run a rollout in its thread, so that a slow reader takes no capacity from others."""
        latest = None
        try:
            for latest in self._backend.events(request):
                made.put(latest)
        except Exception as error:  # raised where it is read, before the first event
            if latest is None:
                made.put(error)
            else:
                log.exception("a backend broke")
                message = f"{type(error).__name__}: {error}"
                made.put(Failed(trajectory_id=request.id, segment=latest.segment, t_ms=latest.t_ms, error=message))
        finally:
            with self._state_changed:
                self._running -= 1
                self._state_changed.notify_all()
            made.put(None)

    def _join(self, request: Request) -> None:
        with self._state_changed:
            waiting = self._running + len(self._waiting) - self._at_once
            if waiting >= MOST_WAITING:
                raise QueueFull(f"{waiting} drawings are waiting already; come back in a minute.")
            self._waiting.append(request)

    def _before(self, request: Request) -> int | None:
        """The number of requests before this one, after at most PATIENCE seconds; None once it may run."""

        def has_place() -> bool:
            return self._running < self._at_once and self._waiting[0] is request

        with self._state_changed:
            if not self._state_changed.wait_for(has_place, POSITION_INTERVAL):
                return next(place for place, other in enumerate(self._waiting) if other is request)
            self._waiting.popleft()
            self._running += 1
            self._state_changed.notify_all()
            return None

    def _give_up(self, request: Request) -> None:
        """Leave the queue."""
        with self._state_changed:
            self._waiting = deque(other for other in self._waiting if other is not request)
            self._state_changed.notify_all()


def _either(*asked: Callable[[], bool]) -> bool:
    return any(each() for each in asked)
