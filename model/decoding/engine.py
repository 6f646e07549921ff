"""The one decode loop: many trajectories at once, each at its own place.

Requests join while there is room and leave when they end, between any two steps; one step of all of them is one batch.
A command's prompts, a group of GRPO and the studio's visitors are all served here. Finished images are painted
together; unfinished ones by the way, in a thread of its own, as often as it gets done.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Picture

from model.decoding.batch import Decoder
from model.decoding.grammar import Paint, Sampled, Sketch, Step, Steps, Stream, trajectory
from model.decoding.request import STREAMS, PromptError, Request, check_request, longest, streams_needed
from model.events import Event, Failed, Preview, TrajectoryFinished
from model.janus import Janus
from model.pictures import encode_png
from model.trajectory import StopReason

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Run:
    """A trajectory under way."""

    request: Request
    steps: Steps
    streams: tuple[Stream, ...]
    generator: torch.Generator
    wants: Step | Paint | None = None  # what it waits for
    sketch: Sketch | None = None  # what of its unfinished image is to be shown
    drawing: int | None = None  # the segment of the image that sketches may be shown of
    shown: int = 0  # how many of its cells have been
    latest: Event | None = None

    def event(self, kind: type[Event], **values: object) -> Event:
        """An event of the engine's, where the run stands."""
        last = self.latest
        self.latest = kind(trajectory_id=self.request.id, segment=last.segment, t_ms=last.t_ms, **values)
        return self.latest


class Engine:
    """`add` requests, then `step` while `busy`: every step returns the events it made, tagged by trajectory."""

    def __init__(self, janus: Janus, *, at_once: int, capacity: int, streams: int = STREAMS):
        """Room for `at_once` trajectories, each of `streams` streams of `capacity` positions at most."""
        self.janus = janus
        self.at_once = at_once
        self.decoder = Decoder(janus, at_once * streams, capacity)
        self.waiting: deque[Request] = deque()
        self.running: list[Run] = []
        self._sketches = Sketches(janus)

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
            events += listen(run, None)
        for run in self.running:
            if run.wants is not None and run.request.stop():
                events.append(_end(run, TrajectoryFinished, stop_reason=StopReason.CANCELLED))
        active = [run for run in self.running if isinstance(run.wants, Step)]
        for run, sampled in zip(active, self._advance(active, events), strict=False):
            events += listen(run, sampled)
        while painting := [run for run in self.running if isinstance(run.wants, Paint)]:
            for run, picture in zip(painting, self._paint(painting, events), strict=False):
                events += self._sketches.rest(run, picture)
                events += listen(run, picture)
        events += self._sketches.shown(self.running)
        for run in [run for run in self.running if run.wants is None]:
            self._leave(run)
        return events

    def fail(self, error: Exception) -> list[Event]:
        """End everybody under way with `failed`; who waits is not concerned."""
        said = f"{type(error).__name__}: {error}"
        return [_end(run, Failed, error=said) for run in self.running if run.latest is not None]

    def clear(self) -> None:
        """Forget everybody, at once."""
        self.waiting.clear()
        for run in list(self.running):
            run.steps.close()
            self._leave(run)

    def close(self) -> None:
        """Forget everybody, for good; the cache is free at once, whoever still knows the engine."""
        self.clear()
        self._sketches.close()
        self.decoder.close()

    def _start(self, request: Request) -> Run:
        take, guided = self.decoder.slots.take, streams_needed(self.janus, request) == STREAMS
        streams = (Stream(take(), take() if guided else None), Stream(take(last=True)))
        generator = torch.Generator().manual_seed(request.seed)
        return Run(request, trajectory(self.janus, request, *streams), streams, generator)

    def _advance(self, runs: Sequence[Run], events: list[Event]) -> Sequence[Sampled]:
        """A token for each."""
        if not runs:
            return ()
        steps, generators = [run.wants for run in runs], [run.generator for run in runs]
        return self._or_all_fail(lambda: self.decoder.advance(steps, generators), events)

    def _paint(self, runs: Sequence[Run], events: list[Event]) -> Sequence[np.ndarray]:
        """A picture for each."""
        return self._or_all_fail(lambda: self.janus.decode(torch.tensor([run.wants.codes for run in runs])), events)

    def _or_all_fail(self, act: Callable[[], Sequence], events: list[Event]) -> Sequence:
        """What an act for several gives; an error inside it ends everybody under way with `failed`, and is told."""
        try:
            return act()
        except Exception as error:
            log.exception("a step of %d trajectories failed", len(self.running))
            events += self.fail(error)
            return ()

    def _leave(self, run: Run) -> None:
        self.running.remove(run)
        for stream in run.streams:
            self.decoder.slots.give_back(stream.slot)
            if stream.twin is not None:
                self.decoder.slots.give_back(stream.twin)


def listen(run: Run, answer: Sampled | np.ndarray | None) -> list[Event]:
    """Hand a run what it waited for; its events until it waits again or is done."""
    said: list[Event] = []
    run.wants = None
    try:
        with torch.inference_mode():
            while True:
                match run.steps.send(answer):
                    case Step() as step:
                        run.wants = step
                        return said
                    case Paint() as paint:
                        run.wants, run.sketch = paint, None
                        return said
                    case Sketch() as sketch:
                        run.sketch = sketch
                        if run.drawing is None:
                            run.drawing, run.shown = run.latest.segment, 0
                    case event:
                        said.append(event)
                        run.latest = event
                answer = None
    except StopIteration:
        return said
    except Exception as error:  # one trajectory's, not its neighbours'
        log.exception("a trajectory broke")
        return [*said, _end(run, Failed, error=f"{type(error).__name__}: {error}")]


def _end(run: Run, kind: type[Event], **values: object) -> Event:
    """Stop a run where it stands and say so."""
    run.steps.close()
    run.wants = run.sketch = run.drawing = None
    return run.event(kind, **values)


class Sketches:
    """Pictures of unfinished images: one batch at a time, beside the decoding, every cell once and in order.

    What is not ready before the image is finished is cut from the finished one.
    """

    def __init__(self, janus: Janus):
        self.janus = janus
        self._painter = ThreadPoolExecutor(1, "sketches")
        self._stream = torch.cuda.Stream(janus.device) if janus.device.type == "cuda" else None
        self._under_way: Future | None = None
        self._subjects: list[tuple[Run, int, int]] = []  # with the segment of its image and the codes it has

    def shown(self, running: Sequence[Run]) -> list[Event]:
        """The previews that are ready; begins the next."""
        if self._under_way is not None and not self._under_way.done():
            return []
        events: list[Event] = []
        if self._under_way is not None:
            painted, self._under_way = self._under_way, None
            if (error := painted.exception()) is not None:
                log.error("no preview could be painted: %s", error)
                return []
            for (run, segment, stop), picture in zip(self._subjects, painted.result(), strict=True):
                if run.drawing == segment:
                    events += self._cells(run, picture, stop)
        subjects = [run for run in running if run.sketch is not None]
        if subjects:
            self._subjects = [(run, run.drawing, len(run.sketch.codes)) for run in subjects]
            self._under_way = self._painter.submit(self._paint, [run.sketch for run in subjects])
            for run in subjects:
                run.sketch = None
        return events

    def rest(self, run: Run, picture: np.ndarray) -> list[Event]:
        """What of a finished image has not been shown yet."""
        events = self._cells(run, picture, self.janus.image_codes) if run.drawing is not None else []
        run.drawing = None
        return events

    def _paint(self, sketches: Sequence[Sketch]) -> np.ndarray:
        """(B, H, W, 3) pictures; cells not drawn yet are blank."""
        blank, total = self.janus.blank_code, self.janus.image_codes
        filled = [sketch.codes + (blank,) * (total - len(sketch.codes)) for sketch in sketches]
        with torch.cuda.stream(self._stream):  # beside the steps on a GPU, too
            return self.janus.decode(torch.tensor(filled))

    def _cells(self, run: Run, picture: np.ndarray, stop: int) -> list[Event]:
        """Previews of the cells not shown yet, up to `stop`, row by row."""
        side, cell = self.janus.side, self.janus.image_size // self.janus.side
        events = []
        while run.shown < stop:
            row, column = divmod(run.shown, side)
            count = min(side - column, stop - run.shown)
            cells = picture[row * cell : (row + 1) * cell, column * cell : (column + count) * cell]
            png = encode_png(Picture.fromarray(cells))
            events.append(run.event(Preview, png=png, start=run.shown, count=count))
            run.shown += count
        return events

    def close(self) -> None:
        self._painter.shutdown(wait=False, cancel_futures=True)
