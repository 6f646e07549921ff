"""A scripted engine in place of the network, so that load tests measure web server and store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from annotations.importing import staging
from annotations.ops.example_trajectories import fill_if_empty
from annotations.queue import reordering
from annotations.queue.assignment import recover
from annotations.store.listing import Filter
from annotations.store.store import Store, open_store
from model.backends.checkpoint import open_checkpoint
from model.decoding.request import Request
from model.events import Event, Failed, Preview, TrajectoryStarted, replay
from model.trajectory import Trajectory
from studio.inference.checkpoints import Checkpoints
from studio.inference.engine_thread import AT_ONCE, SharedEngine
from studio.inference.generator import Generator
from studio.server import freeze_memory, start
from studio.settings import Mode, Settings

PATCH_SECONDS = 0.03  # between two patches; everything else comes at once
IDLE_SECONDS = 0.002


class ScriptedEngine:
    """Stands where the engine stands, and plays a recorded aha moment to everybody who asks."""

    def __init__(self, store: Store) -> None:
        [recorded] = store.trajectories(limit=1, keep=Filter(recorded=True, aha=True))
        self._played = list(timed(store.trajectory(recorded.id), store.picture))
        self.waiting: deque[Request] = deque()
        self._running: dict[str, Iterator[tuple[float, Event]]] = {}
        self._next: dict[str, tuple[float, Event]] = {}

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self._running)

    @property
    def line(self) -> int:
        return max(0, len(self.waiting) + len(self._running) - AT_ONCE)

    def add(self, request: Request) -> None:
        self.waiting.append(request)

    def step(self) -> list[Event]:
        while self.waiting and len(self._running) < AT_ONCE:
            self._begin(self.waiting.popleft())
        now = time.monotonic()
        events = [event for id in list(self._running) for event in self._due(id, now)]
        if not events:
            time.sleep(IDLE_SECONDS)
        return events

    def fail(self, error: Exception) -> list[Event]:
        return [Failed(trajectory_id=id, segment=0, error=str(error)) for id in self._running]

    def close(self) -> None:
        self._running.clear()

    def _begin(self, request: Request) -> None:
        self._running[request.id] = again(self._played, request.id, time.monotonic())
        self._next[request.id] = next(self._running[request.id])

    def _due(self, id: str, now: float) -> Iterator[Event]:
        while id in self._next and self._next[id][0] <= now:
            yield self._next.pop(id)[1]
            if (after := next(self._running[id], None)) is not None:
                self._next[id] = after
            else:
                del self._running[id]


def timed(trajectory: Trajectory, picture: Callable[[str], bytes]) -> Iterator[tuple[float, Event]]:
    """Its events, with the seconds after which each is due: patch by patch at an even pace."""
    due = 0.0
    for event in replay(trajectory, picture, group=1):
        if isinstance(event, Preview) and not event.whole:
            due += PATCH_SECONDS
        yield due, event


def again(played: Sequence[tuple[float, Event]], id: str, begin: float) -> Iterator[tuple[float, Event]]:
    """The same events of another trajectory, which begins now."""
    for after, event in played:
        if isinstance(event, TrajectoryStarted):
            event = replace(event, parent=None, created_at=datetime.now(UTC).isoformat())
        yield begin + after, replace(event, trajectory_id=id)


def serve(port: int, folder: Path, mode: Mode = Mode.LOCAL, database: str | None = None) -> None:
    """The studio, until it is ended or killed."""
    with open_store(folder, database) as store:
        recover(store)
        staging.recover(store)
        reordering.recover(store.database)
        fill_if_empty(store)
        scripted = Generator(open_checkpoint(), store, SharedEngine(lambda: ScriptedEngine(store)))
        demo = start(Settings(port=port, mode=mode), store, Checkpoints(scripted))
        freeze_memory()
        demo.block_thread()
