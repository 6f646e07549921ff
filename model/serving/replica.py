"""One replica: a backend that serves many requests at once and whose weights can be swapped meanwhile. No Ray.

A drawing ends with the weights that it began with. Another checkpoint is opened beside the old one, which goes on until
its last drawing has ended. New weights of the same network are loaded in place: new drawings wait until those under
way have ended and the weights are loaded.
"""

import asyncio
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from model.backends.contract import Backend, ServingOptions
from model.backends.request import Request
from model.events import Event, Failed
from model.serving.weights import Update
from model.serving.wire import lines, read_request

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.0125  # for each drawing under way: events of so long go into one message
MOST_FLUSHED = 8  # drawings beyond which it grows no more
STUCK_SECONDS = 300.0  # without an event of any drawing under way, after which a replica is not healthy


class StuckError(RuntimeError):
    """Drawings are under way, and none of them goes on."""


class Replica:
    """Made and called in one event loop; what computes runs in threads."""

    def __init__(
        self, opener: Callable[[str], Backend], source: str, options: ServingOptions, *, name: str = ""
    ) -> None:
        """`name`: what reports call it. Raises CheckpointError."""
        self._opener, self._options = opener, options
        self.name = name or str(os.getpid())
        self.version = 0
        self.at_once = 0  # drawings that have room
        self.backend = self._opened(source)
        self.sessions: Counter[str] = Counter()  # of the drawings under way
        self._latest = time.monotonic()  # when the last event was made
        self._paused = False
        self._state_changed = asyncio.Condition()
        self._updating = asyncio.Lock()

    def _opened(self, source: str) -> Backend:
        backend = self._opener(source)
        self.at_once = backend.serve(self._options)
        return backend

    @property
    def running(self) -> int:
        """Drawings under way."""
        return self.sessions.total()

    def about(self) -> dict[str, Any]:
        """What it draws, for whoever asks it from elsewhere."""
        backend = self.backend
        return {
            "name": backend.name,
            "version": self.version,
            "image_size": backend.image_size,
            "capabilities": dict(vars(backend.capabilities)),
            "sampling": backend.sampling.to_dict(),
            "domain": backend.domain.name,
        }

    def status(self) -> dict[str, Any]:
        """How it is, for whoever watches it."""
        return {
            "replica": self.name,
            "pid": os.getpid(),
            "checkpoint": self.backend.name,
            "version": self.version,
            "at_once": self.at_once,
            "running": self.running,
            "sessions": sorted(self.sessions.elements()),
            "paused": self._paused,
        }

    def check_health(self) -> None:
        """Raises StuckError."""
        if self.running and (silent := time.monotonic() - self._latest) > STUCK_SECONDS:
            raise StuckError(f"{self.running} drawings are under way, and none has gone on for {silent:.0f} seconds")

    async def lines(self, row: Any) -> AsyncIterator[bytes]:
        """The events of a request as JSON lines, some at a time; ends the drawing when it is closed.

        Raises RequestError and UnavailableError before the first.
        """
        async for events in self.events(read_request(row, self.backend.sampling)):
            yield lines(events)

    async def events(self, request: Request) -> AsyncIterator[list[Event]]:
        """As `lines`, the events themselves."""
        async with self._state_changed:
            await self._state_changed.wait_for(lambda: not self._paused)
            self.sessions[request.session] += 1
            backend = self.backend
        if self.running == 1:
            self._latest = time.monotonic()
        making = Making(backend, request)
        try:
            async for events in making.batches(lambda: FLUSH_SECONDS * min(self.running, MOST_FLUSHED)):
                self._latest = time.monotonic()
                yield events
        finally:
            making.stop.set()
            self.sessions -= Counter([request.session])
            async with self._state_changed:
                self._state_changed.notify_all()

    async def update(self, update: Update) -> int:
        """Serve what it says, unless that is older than what is served; the version that is served then.

        Raises CheckpointError, UnavailableError for weights of another network; what was served is served on then.
        """
        async with self._updating:
            if update.version <= self.version:
                return self.version
            if update.source:
                opened = await asyncio.to_thread(self._opened, update.source)
                if update.weights:
                    await asyncio.to_thread(opened.load_weights, update.weights)
                self.backend = opened
            elif update.weights:
                await self._load(update.weights)
            self.version = update.version
            return self.version

    async def _load(self, weights: bytes) -> None:
        self._paused = True
        try:
            async with self._state_changed:
                await self._state_changed.wait_for(lambda: not self.running)
            await asyncio.to_thread(self.backend.load_weights, weights)
        finally:
            self._paused = False
            async with self._state_changed:
                self._state_changed.notify_all()


class Making:
    """A request's events, made in a thread, and taken in the event loop."""

    def __init__(self, backend: Backend, request: Request) -> None:
        self.stop = threading.Event()
        self._backend, self._request = backend, replace(request, stop=self.stop.is_set)
        self._made: list[Event | Exception | None] = []
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def batches(self, pause: Callable[[], float]) -> AsyncIterator[list[Event]]:
        """What has been made since it was last asked, after so many seconds. Raises what the backend raises."""
        threading.Thread(target=self._make, name="drawing", daemon=True).start()
        ended = False
        while not ended:
            await self._arrived.wait()
            self._arrived.clear()
            with self._lock:
                made, self._made = self._made, []
            ended = made[-1] is None
            if events := [each for each in made if isinstance(each, Event)]:
                yield events
            for each in made:
                if isinstance(each, Exception):
                    raise each
            if not ended:
                await asyncio.sleep(pause())

    def _make(self) -> None:
        latest = None
        try:
            for latest in self._backend.events(self._request):
                self._add(latest)
        except Exception as error:  # before the first event it is the caller's to say, afterwards it ends the drawing
            log.exception("a backend broke")
            if latest is None:
                self._add(error)
            else:
                text = f"{type(error).__name__}: {error}"
                here = {"trajectory_id": latest.trajectory_id, "segment": latest.segment, "t_ms": latest.t_ms}
                self._add(Failed(**here, error=text))
        finally:
            self._add(None)

    def _add(self, each: Event | Exception | None) -> None:
        with self._lock:
            self._made.append(each)
            first = len(self._made) == 1
        if first:
            self._loop.call_soon_threadsafe(self._arrived.set)
