"""The grammar of a trajectory: a coroutine that yields the steps of thinking, drawing, judging and redrawing.

`trajectory` is a coroutine. It yields events for the outside, and steps for the engine: feed these pieces to that
stream, then sample one token by this rule. The engine runs the steps of all trajectories together and sends every
coroutine its token, and likewise the picture of its codes. Templates and contexts: Janus-Pro-R1, inference code and
appendix B.4.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import torch
from PIL import Image as Picture

from model.backends.janus import Janus
from model.decoding.detokenize import TextReader
from model.decoding.request import MOST_REFLECTION_TOKENS, MOST_THOUGHT_TOKENS, Request, Task, words_of
from model.decoding.sampling import Rule
from model.decoding.sampling_rules import image_rule, reason_rule, thought_rule, verdict_rule
from model.events import (
    Event,
    ImageCodesAdded,
    Preview,
    SegmentFinished,
    SegmentStarted,
    TextAdded,
    TrajectoryFinished,
    TrajectoryStarted,
    Verdict,
    replay_segment,
)
from model.images import encode_png, read_rgb
from model.sequences import Codes, Gap, Piece, Rewind, Text, drawing, editing, invitation, looking, opening, question
from model.templates import BEGIN_IMAGE
from model.trajectory import Image, Reflection, Sampling, Segment, StopReason, Thought, Token


class Stream:
    """One sequence the network reads, and its twin without prompt and thoughts where guidance needs one."""

    def __init__(self, slot: int, twin: int | None = None):
        self.slot = slot
        self.twin = twin


@dataclass(frozen=True)
class Step:
    """Feed `pieces` to `stream`, then sample one token of `head` by `rule`."""

    stream: Stream
    pieces: tuple[Piece, ...]
    head: str  # "text" or "image"
    rule: Rule


@dataclass(frozen=True)
class Sampled:
    """What a step gives back; `logits` (V,) are those the rule was applied to, before temperature."""

    token: int
    logits: torch.Tensor


@dataclass(frozen=True)
class Paint:
    """All codes of an image, to become a picture."""

    codes: tuple[int, ...]


@dataclass(frozen=True)
class DecodedImage:
    """What is sent back: the picture, (H, W, 3), and its PNG."""

    picture: np.ndarray
    png: bytes


@dataclass(frozen=True)
class Sketch:
    """The codes of an image so far: to be shown when there is time."""

    codes: tuple[int, ...]


Wants = Event | Step | Paint | Sketch
Answer = Sampled | DecodedImage | None
Steps = Generator[Wants, Answer, None]


class Writer:
    """Carries what every event carries: id, segment index, time."""

    def __init__(self, request: Request):
        self.id = request.id
        self.segment = -1
        self.began = time.monotonic()

    def __call__(self, event: type[Event], **values: object) -> Event:
        t_ms = int((time.monotonic() - self.began) * 1000)
        return event(trajectory_id=self.id, segment=max(self.segment, 0), t_ms=t_ms, **values)

    def begin(self, kind: str) -> Event:
        self.segment += 1
        return self(SegmentStarted, kind=kind)

    def again(self, segment: Segment, png: bytes | None = None) -> Iterator[Event]:
        """The events of a given segment; `png` is an image's."""
        yield self.begin(segment.kind)
        for event in replay_segment(self.id, self.segment, segment, png and (lambda _: png)):
            yield replace(event, t_ms=int((time.monotonic() - self.began) * 1000))


def trajectory(janus: Janus, request: Request, drawing_stream: Stream, judging_stream: Stream) -> Steps:
    """All of one trajectory: up to `rounds` images, each judged, until the model says yes."""
    sampling = request.sampling or janus.sampling
    write = Writer(request)
    yield write(
        TrajectoryStarted,
        prompt=request.prompt,
        seed=request.seed,
        rounds=request.rounds,
        sampling=sampling,
        checkpoint=janus.name,
        parent=request.parent,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        image_codes=janus.image_codes,
    )
    if request.task is Task.EDIT:
        yield from edit(janus, request, sampling, write, drawing_stream)
        return
    if request.task is Task.JUDGE:
        yield from look(janus, request, sampling, write, judging_stream)
        return
    to_draw = to_judge = tuple(opening(janus, words_of(janus, request.prompt)))
    given = deque(request.given)
    for _ in range(request.rounds):
        if thought := _taken(given, Thought):
            yield from write.again(thought)
            to_draw += tuple(drawing(janus, thought))
        elif sampling.thinks and not given:
            to_draw = yield from think(janus, sampling, write, drawing_stream, to_draw)
        if image := _taken(given, Image):
            picture, png = yield from known_picture(request, image)
            yield from write.again(replace(image, sha256=hashlib.sha256(png).hexdigest()), png)
            seen = replace(image, codes=encode(janus, picture)) if sampling.official else image
            to_draw += tuple(drawing(janus, seen))
        else:
            picture, to_draw = yield from draw(janus, request, sampling, write, drawing_stream, to_draw)
            if sampling.official:
                to_draw = (Rewind(janus.image_codes - 1), Codes(encode(janus, picture)))
        to_judge += tuple(looking(janus, picture))
        if reflection := _taken(given, Reflection):
            yield from write.again(reflection)
            to_judge += tuple(drawing(janus, reflection))
            ended = True
        else:
            reflection, to_judge = yield from judge(janus, sampling, write, judging_stream, to_judge)
            ended = not to_judge
        if reflection.answer == "yes":
            yield write(TrajectoryFinished, stop_reason=StopReason.CONTENT)
            return
        gap = (Gap(),) if sampling.official and ended else ()  # where the published code masks the end of turn
        to_draw += (*drawing(janus, reflection), *gap, *invitation(janus))
        to_judge += tuple(invitation(janus))
    yield write(TrajectoryFinished, stop_reason=StopReason.ROUNDS)


Kind = TypeVar("Kind", Thought, Image, Reflection)


def _taken(given: deque[Segment], kind: type[Kind]) -> Kind | None:
    """The next given segment, if it is of this kind."""
    return given.popleft() if given and isinstance(given[0], kind) else None


def known_picture(request: Request, image: Image) -> Generator[Wants, Answer, tuple[np.ndarray, bytes]]:
    """A given image's pixels (H, W, 3) and PNG: the request's own, or painted from its codes."""
    png = request.pictures.get(image.sha256)
    if png is not None:
        return np.asarray(read_rgb(png)), png
    painted = yield Paint(image.codes)
    return painted.picture, painted.png


def encode(janus: Janus, picture: np.ndarray) -> tuple[int, ...]:
    return tuple(janus.encode([picture])[0].tolist())


def edit(janus: Janus, request: Request, sampling: Sampling, write: Writer, stream: Stream) -> Steps:
    """The source, a thought if the checkpoint thinks, the edited image. It is not judged (Janus-Pro-R1, §B.5)."""
    codes = yield from show(janus, request.source, write)
    pieces = tuple(editing(janus, words_of(janus, request.prompt, Task.EDIT), codes))
    if sampling.thinks:
        pieces = yield from think(janus, sampling, write, stream, pieces)
    yield from draw(janus, request, sampling, write, stream, pieces)
    yield write(TrajectoryFinished, stop_reason=StopReason.EDITED)


def look(janus: Janus, request: Request, sampling: Sampling, write: Writer, stream: Stream) -> Steps:
    """The source and what is said of it, as of a first draft."""
    yield from show(janus, request.source, write)
    begun = opening(janus, words_of(janus, request.prompt))
    yield from judge(janus, sampling, write, stream, (*begun, *looking(janus, request.source)))
    yield write(TrajectoryFinished, stop_reason=StopReason.JUDGED)


def show(janus: Janus, source: np.ndarray, write: Writer) -> Generator[Wants, Answer, tuple[int, ...]]:
    """The segment of an image that was given; returns its codes."""
    codes = encode(janus, source)
    png = encode_png(Picture.fromarray(source))
    yield write.begin("source")
    yield write(Preview, png=png, count=len(codes), whole=True)
    yield write(SegmentFinished, sha256=hashlib.sha256(png).hexdigest(), codes=codes)
    return codes


def think(
    janus: Janus, sampling: Sampling, write: Writer, stream: Stream, pieces: tuple[Piece, ...]
) -> Generator[Wants, Answer, tuple[Piece, ...]]:
    """Sample plan text until the model begins the image; the first token must not. Returns what is left to feed."""
    yield write.begin("thought")
    tokens, reader = [], TextReader(janus.tokenizer)
    while len(tokens) < MOST_THOUGHT_TOKENS:
        rule = thought_rule(janus.ids, sampling, first=not tokens)
        sampled = yield Step(stream, pieces, "text", rule)
        if sampled.token == janus.ids.begin_image:
            pieces = ()
            break
        tokens.append(Token(sampled.token, reader.add(sampled.token)))
        yield write(TextAdded, tokens=(tokens[-1],))
        pieces = (Text((sampled.token,), hideable=True),)
    yield write(SegmentFinished, text=Thought(tuple(tokens)).text)
    return pieces


def draw(
    janus: Janus, request: Request, sampling: Sampling, write: Writer, stream: Stream, pieces: tuple[Piece, ...]
) -> Generator[Wants, Answer, tuple[np.ndarray, tuple[Piece, ...]]]:
    """Sample all codes of an image; returns its picture (H, W, 3) and what is left to feed."""
    rule = image_rule(sampling)
    pieces = (*pieces, Text(tuple(janus.tokenize(BEGIN_IMAGE))))
    yield write.begin("image")
    codes: list[int] = []
    shown = 0
    while len(codes) < janus.image_codes:
        sampled = yield Step(stream, pieces, "image", rule)
        codes.append(sampled.token)
        pieces = (Codes((sampled.token,)),)
        every = request.preview_every or janus.side
        if len(codes) - shown == every or len(codes) % janus.side == 0:
            yield write(ImageCodesAdded, start=shown, codes=tuple(codes[shown:]))
            if request.preview_every is not None and len(codes) < janus.image_codes:
                yield Sketch(tuple(codes))
            shown = len(codes)
    painted = yield Paint(tuple(codes))
    yield write(Preview, png=painted.png, start=0, count=len(codes), whole=True)
    yield write(SegmentFinished, sha256=hashlib.sha256(painted.png).hexdigest())
    return painted.picture, pieces


def judge(
    janus: Janus, sampling: Sampling, write: Writer, stream: Stream, pieces: tuple[Piece, ...]
) -> Generator[Wants, Answer, tuple[Reflection, tuple[Piece, ...]]]:
    """Sample the verdict from {Yes, No}, then the reason until the end of the turn; returns it and what is left to
    feed: the end of the turn is the invitation's."""
    ids = janus.ids
    sampled = yield Step(stream, (*pieces, *question(janus)), "text", verdict_rule(ids, sampling))
    answer = "yes" if sampled.token == ids.yes else "no"
    margin = float(sampled.logits[ids.yes] - sampled.logits[ids.no])
    reflection = Reflection(answer, 1 / (1 + float(np.exp(-margin))))
    yield write.begin("reflection")
    yield write(Verdict, answer=answer, p_yes=reflection.p_yes)
    rule = reason_rule(ids, sampling)
    tokens, reader = [], TextReader(janus.tokenizer)
    while sampled.token != ids.eos:
        tokens.append(Token(sampled.token, reader.add(sampled.token)))
        yield write(TextAdded, tokens=(tokens[-1],))
        if len(tokens) == MOST_REFLECTION_TOKENS:
            break
        sampled = yield Step(stream, (Text((sampled.token,)),), "text", rule)
    reflection = replace(reflection, tokens=tuple(tokens))
    yield write(SegmentFinished, text=reflection.text)
    return reflection, (Text((tokens[-1].id,)),) if sampled.token != ids.eos else ()
