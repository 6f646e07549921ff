"""The loaded model, shared by all visitors; every trajectory is kept.

Knows the engine and the store; no pages. One thread decodes for everybody, a visitor reads the events of one
trajectory. Their trajectories do not touch each other.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch

from annotations.store import Store
from model.branches import Branch
from model.decoding.engine import Engine
from model.decoding.grammar import Request, Task, check_prompt, most_positions
from model.events import Event, Failed, Preview, TrajectoryFinished, advance
from model.janus import Janus
from model.sizes import most_at_once
from model.trajectory import Sampling, StopReason, Trajectory
from model.world.edits import read_edit
from model.world.language import PromptError as OutsideTheWorld
from model.world.language import parse

log = logging.getLogger(__name__)

MOST_THREADS = 2  # of torch; the web server needs some processor too
AT_ONCE = 32  # visitors drawing at the same time, where memory allows
MOST_WAITING = 16  # more are asked to come back
PATIENCE = 0.5  # seconds after which a visitor in the line hears how long it is
MOST_ROUNDS = 4  # that a visitor may ask for


class Waiting(NamedTuple):
    """Not an event of the trajectory, which has not begun: how many are drawn for before it is."""

    before: int

    @property
    def text(self) -> str:
        return "Yours is the next drawing." if self.before == 0 else f"{self.before} in the line before you."


class TooMany(Exception):
    """Too many are waiting already."""


class Told(NamedTuple):
    """What a trajectory's events have told so far: the trajectory and its finished pictures, by hash."""

    trajectory: Trajectory | None = None
    pictures: dict[str, bytes] = {}

    def after(self, event: Event) -> Told:
        shown = {sha256(event.png).hexdigest(): event.png} if isinstance(event, Preview) and event.whole else {}
        return Told(advance(self.trajectory, event), self.pictures | shown)


class Generator:
    """A network that draws for everybody, and the store that keeps what it drew."""

    def __init__(self, janus: Janus, store: Store) -> None:
        self.janus = janus
        self.store = store
        self._engine = self._new_engine()
        self._visitors: dict[str, SimpleQueue[Event]] = {}  # by trajectory
        self._arrival = threading.Condition()
        self._driver = threading.Thread(target=self._drive, name="engine", daemon=True)
        torch.set_num_threads(1 if janus.small else min(MOST_THREADS, os.cpu_count() or 1))

    def _new_engine(self) -> Engine:
        positions = most_positions(self.janus.image_codes, MOST_ROUNDS)
        return Engine(self.janus, at_once=most_at_once(self.janus, positions, AT_ONCE), capacity=positions)

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
            read_edit(prompt) if task is Task.EDIT else parse(prompt)
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
    ) -> Iterator[Event | Waiting]:
        """The events of one trajectory, which is stored before its last event is passed on; before them, now and then,
        the length of the line.

        A `branch` begins with what it is given; `source` (H, W, 3) is the image to edit or to judge. Closing the
        iterator early stores what was drawn as cancelled. Raises PromptError and TooMany before the first event, and
        AnnotationsError where the trajectory cannot be stored.
        """
        gone = threading.Event()
        begun = self._begun(branch) if branch else {}
        given = begun | {"task": task, "source": source}
        request = Request(prompt, seed, rounds, sampling, stop=lambda: gone.is_set() or stop(), **given)
        told = Told()
        try:
            for event in self._events(request):
                if not isinstance(event, Waiting):
                    told = told.after(event)
                if isinstance(event, TrajectoryFinished | Failed):
                    self._keep(told, owner)
                yield event
        except GeneratorExit:
            gone.set()
            if told.trajectory is not None and told.trajectory.stop_reason is None:
                self._keep(told.after(_cut(told.trajectory)), owner)
            raise

    def _begun(self, branch: Branch) -> dict[str, Any]:
        """What a request needs to know of a branch; its pictures as they are stored, so that they stay the same."""
        shown = {getattr(segment, "sha256", None) for segment in branch.given} - {None}
        pictures = {sha256: self.store.picture(sha256) for sha256 in shown}
        return {"given": branch.given, "parent": branch.parent, "pictures": pictures}

    def _events(self, request: Request) -> Iterator[Event | Waiting]:
        """A request's events as the engine makes them, until it ends."""
        mine = self._visitors[request.id] = SimpleQueue()
        try:
            self._line_up(request)
            event = None
            while not isinstance(event, TrajectoryFinished | Failed):
                try:
                    event = mine.get(timeout=PATIENCE)
                except Empty:
                    if (before := self._before(request)) is None:
                        continue
                    if request.stop():
                        return
                    event = Waiting(before)
                yield event
        finally:
            del self._visitors[request.id]

    def _line_up(self, request: Request) -> None:
        with self._arrival:
            if (waiting := self._engine.line) >= MOST_WAITING:
                raise TooMany(f"{waiting} drawings are waiting already; come back in a minute.")
            self._engine.add(request)
            if not self._driver.is_alive():
                self._driver.start()
            self._arrival.notify()

    def _before(self, request: Request) -> int | None:
        """How many wait before this one; None if it does not wait."""
        return next((place for place, other in enumerate(list(self._engine.waiting)) if other is request), None)

    def _drive(self) -> None:
        """Step after step while anybody is drawing, for ever: the only thread that decodes."""
        while True:
            with self._arrival:
                self._arrival.wait_for(lambda: self._engine.busy)
            try:
                events = self._engine.step()
            except Exception as error:  # whatever breaks, what was drawn so far is kept and told
                log.exception("the engine broke")
                events = self._replace_engine(error)
            for event in events:
                if (visitor := self._visitors.get(event.trajectory_id)) is not None:
                    visitor.put(event)

    def _replace_engine(self, error: Exception) -> list[Event]:
        """A new one; who was waiting waits there, who was drawing has failed."""
        with self._arrival:
            broken, self._engine = self._engine, self._new_engine()
            self._engine.waiting.extend(broken.waiting)
        events = broken.fail(error)
        broken.close()
        return events

    def _keep(self, told: Told, owner: str) -> None:
        self.store.save(told.trajectory, told.pictures, owner=owner)


def _cut(trajectory: Trajectory) -> Event:
    last = max(len(trajectory.segments) - 1, 0)
    return TrajectoryFinished(trajectory_id=trajectory.id, segment=last, stop_reason=StopReason.CANCELLED)
