"""A backend without image codes: it paints the scene of a prompt of the embedded world with gradually less noise, as a
diffusion pipeline does, and judges by the world's verifier. Its first draft is wrong."""

import random
from collections import deque
from collections.abc import Generator, Iterator

import numpy as np
from PIL import Image as Picture

from model.backends.contract import Backend, Capabilities, check_task, word_tokens
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.event_writer import EventWriter
from model.backends.request import Request, RequestError, Task, check_values
from model.events import Event, SegmentFinished, TextAdded, TrajectoryFinished, Verdict
from model.images import encode_png, read_rgb
from model.reflection_text import sentence
from model.trajectory import Sampling, StopReason
from model.world.defects import spoil
from model.world.language import Description, parse
from model.world.random_scenes import sample_scene
from model.world.reasons import write_reason
from model.world.scene import SIZE, render
from model.world.verifier import accepted, check, read

STEPS = 6


def open_scenes(source: str, **_: object) -> "SceneBackend":
    return SceneBackend(source)


class SceneBackend(Backend):
    image_size, sampling, domain = SIZE, Sampling(), EMBEDDED_WORLD
    capabilities = Capabilities(edit=False)

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, request: Request) -> None:
        check_values(request, self.sampling, self.image_size)
        check_task(self, request)
        try:
            parse(request.prompt)
        except ValueError as error:
            raise RequestError(f"{self.name} paints the embedded world only: {error}.") from error

    def events(self, request: Request) -> Iterator[Event]:
        self.check(request)
        write, rng, description = EventWriter(request), random.Random(request.seed), parse(request.prompt)
        yield write.start(self.name, request.sampling or self.sampling, 0)
        if request.task is Task.JUDGE:
            yield from write.source(encode_png(Picture.fromarray(request.source)))
            yield from judge(write, rng, description, request.source)
            yield write(TrajectoryFinished, stop_reason=StopReason.JUDGED)
            return
        given = deque(request.prefix)
        for number in range(request.rounds):
            if given:
                picture = np.asarray(read_rgb(request.pictures[given[0].sha256]))
                yield from write.prefix(given.popleft(), request.pictures)
            else:
                scene = sample_scene(rng, description)
                picture = render(scene) if number else spoil(rng, description, scene)[1]
                for event in paint(write, rng, picture):
                    yield event
                    if request.stop():
                        yield write(TrajectoryFinished, stop_reason=StopReason.CANCELLED)
                        return
            if given:
                answer = given[0].answer
                yield from write.prefix(given.popleft(), {})
            else:
                answer = yield from judge(write, rng, description, picture)
            if answer == "yes":
                yield write(TrajectoryFinished, stop_reason=StopReason.CONTENT)
                return
        yield write(TrajectoryFinished, stop_reason=StopReason.ROUNDS)


def paint(write: EventWriter, rng: random.Random, picture: np.ndarray) -> Iterator[Event]:
    noise = np.random.default_rng(rng.getrandbits(64)).integers(0, 256, picture.shape)
    yield write.begin("image")
    for step in range(1, STEPS):
        mixed = (picture * (step / STEPS) + noise * (1 - step / STEPS)).astype(np.uint8)
        yield write.frame(encode_png(Picture.fromarray(mixed)), step / STEPS)
    yield from write.finish_image(encode_png(Picture.fromarray(picture)))


def judge(
    write: EventWriter, rng: random.Random, description: Description, picture: np.ndarray
) -> Generator[Event, None, str]:
    facts = check(description, read(picture))
    answer = "yes" if accepted(facts) else "no"
    yield write.begin("reflection")
    yield write(Verdict, answer=answer, p_yes=0.9 if answer == "yes" else 0.1)
    text = sentence(answer, write_reason(description, facts, rng).lstrip(", "))
    for token in word_tokens(text):
        yield write(TextAdded, tokens=(token,))
    yield write(SegmentFinished, text=text)
    return answer
