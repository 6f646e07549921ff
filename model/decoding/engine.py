"""The decode loop: continuous batching of trajectories, which join and leave between steps.

A request joins when fewer than `at_once` trajectories run and leaves when it has ended; one step advances all running
trajectories by one token as one batch. Finished images are decoded to pixels in threads beside it. Used by commands,
GRPO rollouts and the studio alike.
"""

import logging
from collections import deque
from collections.abc import Sequence

import torch

from model.backends.janus import Janus
from model.backends.memory import STREAMS
from model.backends.request import Request, RequestError
from model.decoding.decoder import Decoder
from model.decoding.grammar import Sampled, Step, Stream, TrajectoryRun, trajectory
from model.decoding.image_decode import ImageDecoders
from model.decoding.prepared_request import PreparedRequest, prepare
from model.events import Event, Failed, TrajectoryFinished
from model.trajectory import StopReason

log = logging.getLogger(__name__)


class Engine:
    """`add` requests, then `step` while `busy`: every step returns the events it made, tagged by trajectory."""

    def __init__(self, janus: Janus, *, at_once: int, capacity: int, streams: int = STREAMS):
        """Allocates the cache of `at_once` trajectories, each of `streams` streams of `capacity` positions at most."""
        self.janus = janus
        self.at_once = at_once
        self.decoder = Decoder(janus, at_once * streams, capacity)
        self.waiting: deque[PreparedRequest] = deque()
        self.running: list[TrajectoryRun] = []
        self.image_decoders = ImageDecoders(janus)

    @classmethod
    def for_requests(cls, janus: Janus, requests: Sequence[Request], at_once: int) -> "Engine":
        """An engine whose cache fits these requests, with all of them queued. Raises RequestError."""
        prepared = [prepare(janus, request) for request in requests]
        engine = cls(
            janus,
            at_once=min(at_once, len(requests)),
            capacity=max(each.positions for each in prepared),
            streams=max(each.streams for each in prepared),
        )
        engine.waiting.extend(prepared)
        return engine

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def add(self, request: Request) -> None:
        """Queue a request. Raises RequestError for one that is invalid or needs more positions than the cache has."""
        prepared, capacity = prepare(self.janus, request), self.decoder.slots.capacity
        if prepared.positions > capacity:
            raise RequestError(
                f"{request.rounds} rounds may take {prepared.positions:,} positions, there is room for {capacity:,}."
            )
        self.waiting.append(prepared)

    def step(self) -> list[Event]:
        """Start queued requests while there is room, advance every running trajectory by one token, end those that are
        done or cancelled. Returns the events made, in order per trajectory."""
        events: list[Event] = []
        while self.waiting and len(self.running) < self.at_once:
            run = self._start(self.waiting.popleft())
            self.running.append(run)
            events += run.advance(None)
        for run in self.running:
            events += self._cancelled(run)
        active = [run for run in self.running if isinstance(run.pending, Step)]
        for run, sampled in zip(active, self._advance(active), strict=True):
            events += [run.fail(sampled)] if isinstance(sampled, Exception) else run.advance(sampled)
        for run, decoded in self.image_decoders.finished.poll(self.running, patient=not active):
            if isinstance(decoded, Exception):
                events.append(run.fail(decoded))
            else:
                events += [*self.image_decoders.previews.remaining(run, decoded.picture), *run.advance(decoded)]
        events += self.image_decoders.previews.poll(self.running)
        for run in [run for run in self.running if run.pending is None]:
            self._release(run)
        return events

    def fail(self, error: Exception) -> list[Event]:
        """`Failed` events for all running trajectories; queued requests stay queued."""
        return [run.fail(error) for run in self.running if run.latest is not None]

    def clear(self) -> None:
        """Drop all queued and running requests without events, and release their slots."""
        self.waiting.clear()
        for run in list(self.running):
            run.close()
            self._release(run)

    def close(self) -> None:
        """As `clear`, and free the cache and the decoding threads; the engine cannot be used afterwards."""
        self.clear()
        self.image_decoders.close()
        self.decoder.close()

    def _start(self, prepared: PreparedRequest) -> TrajectoryRun:
        generator = torch.Generator().manual_seed(prepared.request.seed)
        take, guided = self.decoder.slots.acquire, prepared.streams == STREAMS
        streams = (Stream(take(), take() if guided else None), Stream(take(last=True)))
        return TrajectoryRun(prepared.request, trajectory(self.janus, prepared, *streams), streams, generator)

    def _cancelled(self, run: TrajectoryRun) -> list[Event]:
        """`TrajectoryFinished` of a run whose request asks to stop, after a frame of its unfinished image; not while a
        picture of it is being decoded."""
        if not isinstance(run.pending, Step):
            return []
        try:
            if not run.request.stop():
                return []
        except Exception as error:  # raised by the request's own `stop`
            log.exception("whether a trajectory is to stop could not be asked")
            return [run.fail(error)]
        frame = self.image_decoders.previews.unfinished(run)
        return [*frame, run.end(TrajectoryFinished, stop_reason=StopReason.CANCELLED)]

    def _advance(self, runs: Sequence[TrajectoryRun]) -> list[Sampled | Exception]:
        """The next token of each run, or the exception that its own step raised."""
        return self.decoder.advance([run.pending for run in runs], [run.generator for run in runs]) if runs else []

    def _release(self, run: TrajectoryRun) -> None:
        self.running.remove(run)
        if isinstance(run.latest, Failed):
            for slot in (slot for stream in run.streams for slot in (stream.slot, stream.twin) if slot is not None):
                self.decoder.slots.zero(slot)
        for stream in run.streams:
            self.decoder.slots.release(stream.slot)
            if stream.twin is not None:
                self.decoder.slots.release(stream.twin)
