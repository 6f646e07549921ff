"""Simulated visitors of a service for benchmarks and tests: each requests drawings in a session of its own."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from model.backends.request import Request
from model.events import Event, TrajectoryStarted, advance
from model.serving.remote_backend import RemoteBackend
from model.trajectory import Trajectory

PROMPTS = (
    "two red apples above a blue car",
    "three green stars",
    "a yellow moon left of a red house",
    "a blue fish and a green tree",
    "two cats above a red car, a moon below it",
    "a red flower right of two blue cups",
)


@dataclass
class Visit:
    """One drawing as its visitor sees it."""

    session: str
    trajectory: Trajectory | None = None  # as far as it came
    in_order: bool = True  # whether every event could follow the one before it
    seconds: float = 0.0
    silence: float = 0.0  # the longest time without an event, once it had begun
    refused: str = ""  # what was said where nothing was drawn

    @property
    def failed(self) -> bool:
        return self.trajectory is None or self.trajectory.error is not None

    @property
    def whole(self) -> bool:
        """Whether it was drawn to its end."""
        return not self.failed and self.in_order and self.trajectory.stop_reason is not None


@dataclass
class Visitors:
    """People who draw at the same time."""

    backend: RemoteBackend
    rounds: int = 2
    visits: list[Visit] = field(default_factory=list)  # in the order in which they began
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))  # released by each drawing
    _threads: list[threading.Thread] = field(default_factory=list)

    def come(self, sessions: Sequence[str], drawings: int = 1) -> "Visitors":
        """Let each draw so often, one after another, all of them at the same time."""
        for number, session in enumerate(sessions):
            thread = threading.Thread(target=self._draw, args=(session, number, drawings), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    @property
    def drawing(self) -> bool:
        """Whether anybody still is."""
        return any(thread.is_alive() for thread in self._threads)

    def wait(self) -> list[Visit]:
        for thread in self._threads:
            thread.join()
        return self.visits

    def _draw(self, session: str, number: int, drawings: int) -> None:
        for turn in range(drawings):
            prompt = PROMPTS[(number + turn) % len(PROMPTS)]
            visit = Visit(session)
            self.visits.append(visit)
            follow(visit, self.backend, Request(prompt, 100 * turn + number, self.rounds, session=session), self._noted)

    def _noted(self, event: Event) -> None:
        if isinstance(event, TrajectoryStarted):
            self.begun.release()


def follow(visit: Visit, backend: RemoteBackend, request: Request, hear: Callable[[Event], None]) -> None:
    """Draw, and note what comes."""
    began = latest = time.monotonic()
    before: Event | None = None
    try:
        for event in backend.events(request):
            now = time.monotonic()
            if before is not None:
                visit.silence = max(visit.silence, now - latest)
                visit.in_order &= (before.segment, before.t_ms) <= (event.segment, event.t_ms)
            visit.trajectory, latest, before = advance(visit.trajectory, event), now, event
            hear(event)
    except Exception as error:  # whatever it is, the visitor has no drawing
        visit.refused = f"{type(error).__name__}: {error}"
    visit.seconds = time.monotonic() - began
