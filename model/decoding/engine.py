"""The decode loop: continuous batching of trajectories, which join and leave between steps.

Requests join while there is room and leave when they end, between any two steps; one step of all of them is one batch.
A command's prompts, a group of GRPO and the studio's visitors are all served here. Images are painted meanwhile.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

import torch

from model.backends.janus import Janus
from model.decoding.batch import Decoder
from model.decoding.grammar import Sampled, Step, Stream, trajectory
from model.decoding.image_decode import ImageDecoders
from model.decoding.request import STREAMS, PromptError, Request, check_request, longest, streams_needed
from model.decoding.run import Run
from model.events import Event, Failed, TrajectoryFinished
from model.trajectory import StopReason

log = logging.getLogger(__name__)


class Engine:
    """`add` requests, then `step` while `busy`: every step returns the events it made, tagged by trajectory."""

    def __init__(self, janus: Janus, *, at_once: int, capacity: int, streams: int = STREAMS):
        """Room for `at_once` trajectories, each of `streams` streams of `capacity` positions at most."""
        self.janus = janus
        self.at_once = at_once
        self.decoder = Decoder(janus, at_once * streams, capacity)
        self.waiting: deque[Request] = deque()
        self.running: list[Run] = []
        self.painters = ImageDecoders(janus)

    @classmethod
    def for_requests(cls, janus: Janus, requests: Sequence[Request], at_once: int) -> Engine:
        """An engine that has just the room for these, and has them waiting. Raises PromptError."""
        for request in requests:
            check_request(janus, request)
        engine = cls(
            janus,
            at_once=min(at_once, len(requests)),
            capacity=max(longest(janus, request) for request in requests),
            streams=max(streams_needed(janus, request) for request in requests),
        )
        engine.waiting.extend(requests)
        return engine

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def line(self) -> int:
        """How many have to wait, beyond those that the next step lets in."""
        return max(0, len(self.waiting) + len(self.running) - self.at_once)

    def add(self, request: Request) -> None:
        """Put a request in the line. Raises PromptError for one that cannot be drawn here."""
        check_request(self.janus, request)
        needed, room = longest(self.janus, request), self.decoder.slots.capacity
        if needed > room:
            raise PromptError(f"{request.rounds} rounds may take {needed:,} positions, there is room for {room:,}.")
        self.waiting.append(request)

    def step(self) -> list[Event]:
        """Let in who waits, let go who is done or wants to stop, and take everybody a token further."""
        events: list[Event] = []
        while self.waiting and len(self.running) < self.at_once:
            run = self._start(self.waiting.popleft())
            self.running.append(run)
            events += run.listen(None)
        for run in self.running:
            events += self._stopped(run)
        active = [run for run in self.running if isinstance(run.wants, Step)]
        for run, sampled in zip(active, self._advance(active), strict=True):
            events += [run.fail(sampled)] if isinstance(sampled, Exception) else run.listen(sampled)
        for run, painted in self.painters.images.ready(self.running, patient=not active):
            if isinstance(painted, Exception):
                events.append(run.fail(painted))
            else:
                events += [*self.painters.sketches.rest(run, painted.picture), *run.listen(painted)]
        events += self.painters.sketches.shown(self.running)
        for run in [run for run in self.running if run.wants is None]:
            self._leave(run)
        return events

    def fail(self, error: Exception) -> list[Event]:
        """End everybody under way with `failed`; who waits is not concerned."""
        return [run.fail(error) for run in self.running if run.latest is not None]

    def clear(self) -> None:
        """Forget everybody, at once."""
        self.waiting.clear()
        for run in list(self.running):
            run.close()
            self._leave(run)

    def close(self) -> None:
        """Forget everybody, for good; the cache is free at once, whoever still knows the engine."""
        self.clear()
        self.painters.close()
        self.decoder.close()

    def _start(self, request: Request) -> Run:
        generator = torch.Generator().manual_seed(request.seed)
        take, guided = self.decoder.slots.take, streams_needed(self.janus, request) == STREAMS
        streams = (Stream(take(), take() if guided else None), Stream(take(last=True)))
        return Run(request, trajectory(self.janus, request, *streams), streams, generator)

    def _stopped(self, run: Run) -> list[Event]:
        """The end of one that wants to stop; an image that is being painted is not lost."""
        if not isinstance(run.wants, Step):
            return []
        try:
            return [run.end(TrajectoryFinished, stop_reason=StopReason.CANCELLED)] if run.request.stop() else []
        except Exception as error:  # of whoever asked
            log.exception("whether a trajectory is to stop could not be asked")
            return [run.fail(error)]

    def _advance(self, runs: Sequence[Run]) -> list[Sampled | Exception]:
        """A token for each, or what went wrong for it alone."""
        return self.decoder.advance([run.wants for run in runs], [run.generator for run in runs]) if runs else []

    def _leave(self, run: Run) -> None:
        self.running.remove(run)
        if isinstance(run.latest, Failed):
            for slot in (slot for stream in run.streams for slot in (stream.slot, stream.twin) if slot is not None):
                self.decoder.slots.wipe(slot)
        for stream in run.streams:
            self.decoder.slots.give_back(stream.slot)
            if stream.twin is not None:
                self.decoder.slots.give_back(stream.twin)
