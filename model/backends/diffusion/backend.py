"""A diffusion painter and a critic as a backend: draft, verdict with reason, redraw by what the critic said."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as Picture

from model.backends.contract import Backend, Capabilities, ServingOptions, check_task
from model.backends.critic import Critic, CriticError, open_critic, reflection_of
from model.backends.diffusion.painter import LatentPreview, Painter, PaintingError, PaintJob, open_painter
from model.backends.diffusion.source import read_source
from model.backends.event_writer import EventWriter
from model.backends.interleaving import interleaved
from model.backends.request import Request, RequestError, Task, check_values
from model.events import Event, Failed, TrajectoryFinished
from model.images import encode_png, read_rgb
from model.reflection_text import split_verdict
from model.trajectory import Image, Reflection, Sampling, Segment, StopReason

MOST_SAID = 240  # characters of what the critic said that a redraw's prompt takes up
SEED_STEP = 1_000_003  # between the seeds of a trajectory's images


def open_diffusion(
    source: str, *, device: str | None = None, dtype: str | None = None, published_contexts: bool | None = None
) -> "DiffusionBackend":
    """`PAINTER?options+CRITIC`. Raises CheckpointError."""
    pair = read_source(source)
    painter = open_painter(pair.painter, pair.options, device=device, dtype=dtype)
    critic = open_critic(pair.critic, device=device, dtype=dtype) if pair.critic else None
    return DiffusionBackend(pair.name, painter, critic)


class DiffusionBackend(Backend):
    """A painter, and the critic of what it paints; without one, an image is finished as it is."""

    def __init__(self, name: str, painter: Painter, critic: Critic | None) -> None:
        self.name, self.painter, self.critic = name, painter, critic
        self.image_size = painter.size
        self.capabilities = Capabilities(edit=False, judge=critic is not None)
        self.sampling = Sampling(guidance=1.0 if painter.guidance is None else float(painter.guidance))
        if critic is not None:
            self.domain = critic.domain

    def check(self, request: Request) -> None:
        check_values(request, self.sampling, self.image_size)
        check_task(self, request)
        if request.task is Task.DRAW:
            self.painter.check(request.prompt)
        for segment in request.prefix:
            if isinstance(segment, Image) and segment.sha256 not in request.pictures:
                raise RequestError("The beginning has an image whose picture is not there; begin before it.")

    def serve(self, options: ServingOptions) -> int:
        if self.critic is not None:
            self.critic.serve(replace(options, memory_share=options.memory_share / 2))
        self.painter.batch = min(self.painter.batch, options.at_once)
        return self.painter.batch

    def rollout(self, requests: Sequence[Request], *, at_once: int = 16) -> Iterator[Event]:
        """Events of all requests, interleaved; what waits at the same time is painted as one batch."""
        return interleaved(self, requests, at_once)

    def events(self, request: Request) -> Iterator[Event]:
        self.check(request)
        write = EventWriter(request)
        yield write.start(self.name, request.sampling or self.sampling, 0)
        try:
            yield from self._judged(write) if request.task is Task.JUDGE else self._drawn(write)
        except (PaintingError, CriticError) as error:
            yield write(Failed, error=str(error))

    def _judged(self, write: EventWriter) -> Iterator[Event]:
        source = write.request.source
        yield from write.source(encode_png(Picture.fromarray(source)))
        yield from self._reflection(write, source)
        yield write(TrajectoryFinished, stop_reason=StopReason.JUDGED)

    def _drawn(self, write: EventWriter) -> Iterator[Event]:
        """Images and reflections in turn, until a yes or the last round."""
        request, given = write.request, deque(write.request.prefix)
        picture, instruction = None, ""
        for number in range(request.rounds):
            if given:
                picture = np.asarray(read_rgb(request.pictures[given[0].sha256]))
                yield from write.prefix(given.popleft(), request.pictures)
            else:
                picture = yield from self._image(write, number, picture, instruction)
            if picture is None or request.stop():
                yield write(TrajectoryFinished, stop_reason=StopReason.CANCELLED)
                return
            if self.critic is None:
                yield write(TrajectoryFinished, stop_reason=StopReason.ROUNDS)
                return
            reflection: Segment
            if given:
                reflection = given.popleft()
                yield from write.prefix(reflection, {})
            else:
                reflection = yield from self._reflection(write, picture)
            if reflection.answer == "yes":
                yield write(TrajectoryFinished, stop_reason=StopReason.CONTENT)
                return
            instruction = reflection.edit or split_verdict(reflection.text)[1]
        yield write(TrajectoryFinished, stop_reason=StopReason.ROUNDS)

    def _image(
        self, write: EventWriter, number: int, draft: np.ndarray | None, said: str
    ) -> Generator[Event, None, np.ndarray | None]:
        """Paint an image; None where it was stopped."""
        request, options = write.request, self.painter.options
        extended = said and self.painter.takes_text and options.redraw != "seed"
        prompt = f"{request.prompt.rstrip('. ')}. {said[:MOST_SAID]}" if extended else request.prompt
        begun = Picture.fromarray(draft) if draft is not None and options.redraw == "image" else None
        guidance = (request.sampling or self.sampling).guidance
        seed = (request.seed + number * SEED_STEP) % 2**63
        yield write.begin("image")
        for shown in self.painter.paint(PaintJob(prompt, seed, guidance, begun, request.stop)):
            if isinstance(shown, LatentPreview):
                yield write.frame(encode_png(shown.picture), shown.share)
            else:
                yield from write.finish_image(encode_png(Picture.fromarray(shown)))
                return shown
        return None

    def _reflection(self, write: EventWriter, picture: np.ndarray) -> Generator[Event, None, Reflection]:
        request, events = write.request, list[Event]()
        yield write.begin("reflection")
        for event in self.critic.judge(write, request.prompt, picture, request.seed):
            events.append(event)
            yield event
        return reflection_of(self.critic.name, events)
