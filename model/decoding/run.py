"""One trajectory in progress: advances its grammar with sampled tokens and decoded images, and emits events."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from model.decoding.grammar import DecodedImage, Paint, Sampled, Sketch, Step, Steps, Stream
from model.decoding.request import Request
from model.events import Event, Failed

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Run:
    """What a request's grammar waits for, and what was said of it last."""

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

    def listen(self, answer: Sampled | DecodedImage | None) -> list[Event]:
        """Hand it what it waited for; its events until it waits again or is done."""
        said: list[Event] = []
        self.wants = None
        try:
            with torch.inference_mode():
                while True:
                    match self.steps.send(answer):
                        case Step() as step:
                            self.wants = step
                            return said
                        case Paint() as paint:
                            self.wants, self.sketch = paint, None
                            return said
                        case Sketch() as sketch:
                            self.sketch = sketch
                            if self.drawing is None:
                                self.drawing, self.shown = self.latest.segment, 0
                        case event:
                            said.append(event)
                            self.latest = event
                    answer = None
        except StopIteration:
            return said
        except Exception as error:  # this trajectory's, not its neighbours'
            log.exception("a trajectory broke")
            return [*said, self.fail(error)]

    def close(self) -> None:
        """Stop where it stands."""
        self.steps.close()
        self.wants = self.sketch = self.drawing = None

    def end(self, kind: type[Event], **values: object) -> Event:
        """Stop, and say so."""
        self.close()
        return self.event(kind, **values)

    def fail(self, error: Exception) -> Event:
        return self.end(Failed, error=f"{type(error).__name__}: {error}")
