"""A backend that serves all visitors, and the store that keeps every trajectory.

Knows where events come from and the store; no pages. Who reads the events of one trajectory does not touch another's.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from annotations.moderation.blocked_words import check_blocked_words
from annotations.store.store import Store
from model.backends.contract import Backend, ServingOptions
from model.backends.request import Request, Task
from model.branches import Branch
from model.events import Event, Failed, TrajectoryFinished, TrajectoryStarted
from model.trajectory import Sampling, StopReason, Trajectory, picture_hashes
from studio.http.priority import activity
from studio.inference.live_drawings import LiveDrawings
from studio.inference.partial_trajectory import PartialTrajectory
from studio.inference.request_queue import AT_ONCE, QueuePosition, RequestQueue, Serving
from studio.inference.retry_queue import RetryQueue, StoredLater

MOST_THREADS = 2  # of torch; the web server needs some processor too
MOST_VISITOR_ROUNDS = 4  # that a visitor may ask for


class LiveTrajectory(Iterator[Event | QueuePosition]):
    """The events of one trajectory as they come; `partial`: the trajectory folded from those so far."""

    def __init__(self, events: "Callable[[LiveTrajectory], Iterator[Event | QueuePosition]]") -> None:
        self.partial = PartialTrajectory()
        self._events = events(self)

    def __next__(self) -> Event | QueuePosition:
        return next(self._events)

    def close(self) -> None:
        """Stop the rollout; what was drawn is stored as cancelled."""
        self._events.close()


class Generator:
    """One backend that serves all visitors, with the store that keeps every trajectory."""

    def __init__(self, backend: Backend, store: Store, serving: Serving | None = None, share: float = 1.0) -> None:
        """`serving`: what makes the events; a queue before the backend unless given, which may take a `share` of what
        memory is free."""
        self.backend = backend
        self.store = store
        self.share = share
        self._saves = RetryQueue(store)
        self.serving = serving or self._queue_of_backend()

    def _queue_of_backend(self) -> RequestQueue:
        options = ServingOptions(
            AT_ONCE, MOST_VISITOR_ROUNDS, self.share, MOST_THREADS, lambda: activity.signed_in_active
        )
        return RequestQueue(self.backend, self.backend.serve(options))

    @property
    def name(self) -> str:
        """Name of the backend in stored trajectories."""
        return self.backend.name

    @property
    def sampling(self) -> Sampling:
        """The backend's own settings."""
        return self.backend.sampling

    def stream(
        self,
        prompt: str,
        seed: int,
        rounds: int,
        sampling: Sampling | None = None,
        *,
        owner: str,
        session: str = "",
        stop: Callable[[], bool] = lambda: False,
        branch: Branch | None = None,
        task: Task = Task.DRAW,
        source: np.ndarray | None = None,
        on_start: Callable[[str], None] = lambda trajectory_id: None,
    ) -> LiveTrajectory:
        """The events of one trajectory, which is stored before its last event is passed on; before them, now and then,
        the length of the line.

        A `branch` begins with what it is given; `session` is the page that asks; `source` (H, W, 3) is the image to
        edit or to judge; `on_start` hears the id. Closing the iterator early stores what was drawn as cancelled. Raises
        RequestError, PromptBlockedError and QueueFull before the first event, AnnotationsError where the trajectory
        cannot be stored, and StoredLater after the last event where the database is away and the trajectory is kept
        until it is back.
        """
        begun = self._begun(branch) if branch else {}
        begun |= {"stop": stop, "task": task, "source": source, "session": session}
        request = Request(prompt, seed, rounds, sampling, **begun)
        return LiveTrajectory(lambda live: self._events(live, request, owner, on_start))

    def _events(
        self, live: LiveTrajectory, request: Request, owner: str, on_start: Callable[[str], None]
    ) -> Iterator[Event | QueuePosition]:
        check_blocked_words(self.store, request.prompt)
        later, events, followed = None, self.serving.events(request), LiveDrawings.of(self.store)
        try:
            for event in events:
                if not isinstance(event, QueuePosition):
                    live.partial = live.partial.after(event)
                if isinstance(event, TrajectoryStarted):
                    on_start(event.trajectory_id)
                if isinstance(event, TrajectoryFinished | Failed):
                    later = self._keep(live.partial, owner)
                if not isinstance(event, QueuePosition):
                    followed.add(event, owner)
                yield event
        except GeneratorExit:
            events.close()
            partial = live.partial.trajectory
            if partial is not None and partial.stop_reason is None:
                stopped = _cancelled(partial)
                live.partial = live.partial.after(stopped)
                self._keep(live.partial, owner)
                followed.add(stopped, owner)
            raise
        if later is not None:
            raise later

    def _begun(self, branch: Branch) -> dict[str, Any]:
        """What a request needs to know of a branch; its pictures as they are stored, so that they stay the same."""
        shown = {sha256 for segment in branch.prefix for sha256 in picture_hashes(segment)}
        pictures = {sha256: self.store.picture(sha256) for sha256 in shown}
        return {"prefix": branch.prefix, "parent": branch.parent, "pictures": pictures}

    def _keep(self, partial: PartialTrajectory, owner: str) -> StoredLater | None:
        """Store it; what to say where it is stored later."""
        try:
            self._saves.save(partial.trajectory, partial.pictures, owner)
        except StoredLater as later:
            return later
        return None


def _cancelled(trajectory: Trajectory) -> Event:
    last = max(len(trajectory.segments) - 1, 0)
    return TrajectoryFinished(trajectory_id=trajectory.id, segment=last, stop_reason=StopReason.CANCELLED)
