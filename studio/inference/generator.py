"""A loaded checkpoint that serves all visitors and stores every trajectory.

Knows where events come from and the store; no pages. Who reads the events of one trajectory does not touch another's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import torch

from annotations.store.store import Store
from model.backends.janus import Janus
from model.backends.memory import most_at_once
from model.branches import Branch
from model.decoding.engine import Engine
from model.decoding.request import Request, Task, check_prompt, most_positions
from model.events import Event, Failed, Preview, TrajectoryFinished, advance
from model.trajectory import Sampling, StopReason, Trajectory
from model.world.edits import read_edit
from model.world.known_prompts import check_taught
from model.world.language import PromptError as OutsideTheWorld
from studio.inference.engine_thread import AT_ONCE, QueuePosition, Serving, SharedEngine
from studio.inference.unsaved import RetryQueue, StoredLater

MOST_THREADS = 2  # of torch; the web server needs some processor too
MOST_ROUNDS = 4  # that a visitor may ask for


class PartialTrajectory(NamedTuple):
    """What a trajectory's events have told so far: the trajectory and its finished pictures, by hash."""

    trajectory: Trajectory | None = None
    pictures: dict[str, bytes] = {}

    def after(self, event: Event) -> PartialTrajectory:
        shown = {sha256(event.png).hexdigest(): event.png} if isinstance(event, Preview) and event.whole else {}
        return PartialTrajectory(advance(self.trajectory, event), self.pictures | shown)


class Generator:
    """A network that draws for everybody, and the store that keeps what it drew."""

    def __init__(self, janus: Janus, store: Store, serving: Serving | None = None, share: float = 1.0) -> None:
        """`serving`: what makes the events; one engine for everybody unless given, which may take a `share` of what
        memory is free."""
        self.janus = janus
        self.store = store
        self.share = share
        self._saves = RetryQueue(store)
        self.serving = serving or SharedEngine(self._new_engine)
        torch.set_num_threads(1 if janus.small else min(MOST_THREADS, os.cpu_count() or 1))

    def _new_engine(self) -> Engine:
        positions = most_positions(self.janus.image_codes, MOST_ROUNDS)
        at_once = most_at_once(self.janus, positions, AT_ONCE, self.share)
        return Engine(self.janus, at_once=at_once, capacity=positions)

    @property
    def embedded_world(self) -> bool:
        """Whether the checkpoint draws the embedded world, whose words are known."""
        return self.janus.embedded_world

    @property
    def sampling(self) -> Sampling:
        """The checkpoint's own settings."""
        return self.janus.sampling

    def check(self, prompt: str) -> None:
        """Raises PromptError for a prompt that cannot be drawn at all."""
        check_prompt(self.janus, prompt)

    def doubt(self, prompt: str, task: Task = Task.DRAW) -> str | None:
        """Why this checkpoint may not know what is asked for; None where nothing speaks against it."""
        if not self.janus.embedded_world:
            return None
        try:
            read_edit(prompt) if task is Task.EDIT else check_taught(prompt)
        except OutsideTheWorld as error:
            return str(error)
        return None

    def stream(
        self,
        prompt: str,
        seed: int,
        rounds: int,
        sampling: Sampling | None = None,
        *,
        owner: str,
        stop: Callable[[], bool] = lambda: False,
        branch: Branch | None = None,
        task: Task = Task.DRAW,
        source: np.ndarray | None = None,
    ) -> Iterator[Event | QueuePosition]:
        """The events of one trajectory, which is stored before its last event is passed on; before them, now and then,
        the length of the line.

        A `branch` begins with what it is given; `source` (H, W, 3) is the image to edit or to judge. Closing the
        iterator early stores what was drawn as cancelled. Raises PromptError and QueueFull before the first event,
        AnnotationsError where the trajectory cannot be stored, and StoredLater after the last event where the database
        is away and the trajectory is kept until it is back.
        """
        gone = threading.Event()
        begun = self._begun(branch) if branch else {}
        given = begun | {"task": task, "source": source}
        request = Request(prompt, seed, rounds, sampling, stop=lambda: gone.is_set() or stop(), **given)
        told, later = PartialTrajectory(), None
        try:
            for event in self.serving.events(request):
                if not isinstance(event, QueuePosition):
                    told = told.after(event)
                if isinstance(event, TrajectoryFinished | Failed):
                    later = self._keep(told, owner)
                yield event
        except GeneratorExit:
            gone.set()
            if told.trajectory is not None and told.trajectory.stop_reason is None:
                self._keep(told.after(_cut(told.trajectory)), owner)
            raise
        if later is not None:
            raise later

    def _begun(self, branch: Branch) -> dict[str, Any]:
        """What a request needs to know of a branch; its pictures as they are stored, so that they stay the same."""
        shown = {getattr(segment, "sha256", None) for segment in branch.given} - {None}
        pictures = {sha256: self.store.picture(sha256) for sha256 in shown}
        return {"given": branch.given, "parent": branch.parent, "pictures": pictures}

    def _keep(self, told: PartialTrajectory, owner: str) -> StoredLater | None:
        """Store what was told; what to say where it is stored later."""
        try:
            self._saves.save(told.trajectory, told.pictures, owner)
        except StoredLater as later:
            return later
        return None


def _cut(trajectory: Trajectory) -> Event:
    last = max(len(trajectory.segments) - 1, 0)
    return TrajectoryFinished(trajectory_id=trajectory.id, segment=last, stop_reason=StopReason.CANCELLED)
