"""The loaded model, shared by all visitors: one token at a time, in turn; every trajectory is kept.

Knows the rollout and the store; no pages. A visitor reads the events of one trajectory. Several visitors' decoding
alternates fairly, token by token, and their trajectories do not touch each other.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from typing import NamedTuple

import torch

from annotations.store import Store
from model.decoding.grammar import PromptError, Request, check_prompt
from model.decoding.rollout import rollout
from model.events import Event, Failed, Preview, TrajectoryFinished, advance
from model.janus import Janus
from model.trajectory import Sampling, StopReason, Trajectory
from model.world.language import PromptError as OutsideTheWorld
from model.world.language import parse

log = logging.getLogger(__name__)

MOST_THREADS = 2  # of torch; the web server needs some processor too
AT_ONCE = 8  # visitors drawing at the same time; more wait in Gradio's queue


class Line:
    """A lock that is handed on in the order of asking, so that everyone's next token comes round."""

    def __init__(self) -> None:
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        me = object()
        with self._changed:
            self._waiting.append(me)
            self._changed.wait_for(lambda: self._waiting[0] is me)
        try:
            yield
        finally:
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()


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
        self._line = Line()
        torch.set_num_threads(1 if janus.small else min(MOST_THREADS, os.cpu_count() or 1))

    @property
    def sampling(self) -> Sampling:
        """The checkpoint's own settings."""
        return self.janus.sampling

    def check(self, prompt: str) -> None:
        """Raises PromptError for a prompt that cannot be drawn at all."""
        check_prompt(self.janus, prompt)

    def doubt(self, prompt: str) -> str | None:
        """Why this checkpoint may not know what is asked for; None where nothing speaks against it."""
        if not self.janus.embedded_world:
            return None
        try:
            parse(prompt)
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
    ) -> Iterator[Event]:
        """The events of one trajectory, which is stored before its last event is passed on.

        Closing the iterator early stores what was drawn as cancelled. Raises PromptError before the first event, and
        AnnotationsError where the trajectory cannot be stored.
        """
        request = Request(prompt, seed, rounds, sampling, stop=stop)
        told = Told()
        try:
            with closing(rollout(self.janus, [request])) as events:
                while (event := self._next(events, told)) is not None:
                    told = told.after(event)
                    if isinstance(event, TrajectoryFinished | Failed):
                        self._keep(told, owner)
                    yield event
        except GeneratorExit:
            if told.trajectory is not None and told.trajectory.stop_reason is None:
                self._keep(told.after(_cut(told.trajectory)), owner)
            raise

    def _next(self, events: Iterator[Event], told: Told) -> Event | None:
        """The next event, made while it is our turn; an error that the rollout did not expect is an event too."""
        if told.trajectory is not None and told.trajectory.stop_reason is not None:
            return None
        with self._line.turn():
            try:
                return next(events, None)
            except PromptError:
                raise
            except Exception as error:  # whatever breaks, what was drawn so far is kept and told
                if told.trajectory is None:
                    raise
                log.exception("a rollout broke")
                return _broken(told.trajectory, error)

    def _keep(self, told: Told, owner: str) -> None:
        self.store.save(told.trajectory, told.pictures, owner=owner)


def _cut(trajectory: Trajectory) -> Event:
    last = max(len(trajectory.segments) - 1, 0)
    return TrajectoryFinished(trajectory_id=trajectory.id, segment=last, stop_reason=StopReason.CANCELLED)


def _broken(trajectory: Trajectory, error: Exception) -> Event:
    last = max(len(trajectory.segments) - 1, 0)
    return Failed(trajectory_id=trajectory.id, segment=last, error=f"{type(error).__name__}: {error}")
