"""The one decode loop: a list of requests in, their events out, tagged by trajectory.

Trajectories join while slots are free and leave when they end; in between, one step of all of them is one batch.
A visitor is a list of one. Closing the generator stops everything; a request's own `stop` ends only that one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from model.decoding.batch import advance
from model.decoding.cache import Slots
from model.decoding.grammar import (
    Request,
    Step,
    Steps,
    Stream,
    check_prompt,
    longest,
    streams_needed,
    trajectory,
)
from model.events import Event, Failed, TrajectoryFinished
from model.janus import Janus
from model.trajectory import StopReason

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A trajectory under way."""

    request: Request
    steps: Steps
    streams: tuple[Stream, ...]
    generator: torch.Generator
    step: Step | None = None  # what it waits for
    latest: Event | None = None


def rollout(janus: Janus, requests: Sequence[Request], *, at_once: int = 16) -> Iterator[Event]:
    """Events of all requests, `at_once` trajectories at a time. Raises PromptError before the first event.

    An error inside a step ends the trajectories of that step with `failed`, not the caller.
    """
    for request in requests:
        check_prompt(janus, request.prompt)
    if not requests:
        return
    at_once = min(at_once, len(requests))
    streams = max(streams_needed(janus, request) for request in requests)
    capacity = max(longest(janus, request) for request in requests)
    slots = Slots(janus.network.model.language_model, at_once * streams, capacity)
    waiting, running = deque(requests), []
    while waiting or running:
        while waiting and len(running) < at_once:
            run = start(janus, slots, waiting.popleft())
            running.append(run)
            yield from listen(run, None)
        for run in running:
            if run.step is not None and run.request.stop():
                yield end(run, TrajectoryFinished, stop_reason=StopReason.CANCELLED)
        active = [run for run in running if run.step is not None]
        try:
            with torch.inference_mode():
                tokens = (
                    advance(janus, slots, [r.step for r in active], [r.generator for r in active]) if active else []
                )
        except RuntimeError as error:
            log.exception("a decoding step failed")
            for run in active:
                yield end(run, Failed, error=f"{type(error).__name__}: {error}")
            tokens = []
        for run, sampled in zip(active, tokens, strict=False):
            yield from listen(run, sampled)
        for run in [run for run in running if run.step is None]:
            running.remove(run)
            for stream in run.streams:
                slots.give_back(stream.slot)
                if stream.twin is not None:
                    slots.give_back(stream.twin)


def start(janus: Janus, slots: Slots, request: Request) -> Run:
    guided = streams_needed(janus, request) == 3
    streams = (Stream(slots.take(), slots.take() if guided else None), Stream(slots.take()))
    generator = torch.Generator().manual_seed(request.seed)
    return Run(request, trajectory(janus, request, *streams), streams, generator)


def listen(run: Run, sampled: object) -> Iterator[Event]:
    """Hand a run its token; pass on its events until it asks for the next step or is done."""
    run.step = None
    while True:
        try:
            with torch.inference_mode():
                said = run.steps.send(sampled)
        except StopIteration:
            return
        if isinstance(said, Step):
            run.step = said
            return
        run.latest, sampled = said, None
        yield said


def end(run: Run, kind: type[Event], **values: object) -> Event:
    """Stop a run where it stands and say so."""
    run.steps.close()
    run.step = None
    last = run.latest
    return kind(trajectory_id=run.request.id, segment=last.segment, t_ms=last.t_ms, **values)
