"""The grammar: state machine of one trajectory, think → draw → judge until the verdict is yes or `rounds` images exist.

`trajectory` is a generator. It yields events, and `Step`s (feed these pieces to that stream, then sample one token by
this rule). The engine batches the steps over all trajectories and answers each with its sampled token, and likewise a
`DecodeImage` with the picture of its codes (`TrajectoryRun.advance`). Templates and contexts: Janus-Pro-R1, inference
code and appendix B.4.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from PIL import Image as Picture

from model.backends.event_writer import EventWriter
from model.backends.janus import Janus
from model.backends.request import MOST_REFLECTION_TOKENS, MOST_THOUGHT_TOKENS, Request, Task
from model.decoding.detokenize import TextReader
from model.decoding.prepared_request import PreparedRequest
from model.decoding.sampling import Rule, image_rule, log_probabilities, reason_rule, thought_rule, verdict_rule
from model.events import (
    Event,
    Failed,
    ImageCodesAdded,
    LogProbabilities,
    SegmentFinished,
    TextAdded,
    TrajectoryFinished,
    Verdict,
)
from model.images import encode_png, read_rgb
from model.sequences import (
    Codes,
    Piece,
    Rewind,
    SkipPosition,
    Text,
    image_pixel_pieces,
    redraw_prompt_pieces,
    segment_pieces,
    self_check_pieces,
)
from model.templates import BEGIN_IMAGE
from model.trajectory import Image, Reflection, Sampling, Segment, StopReason, Thought, Token

log = logging.getLogger(__name__)


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
class DecodeImage:
    """All codes of an image, to become a picture."""

    codes: tuple[int, ...]


@dataclass(frozen=True)
class DecodedImage:
    """What is sent back: the picture, (H, W, 3), and its PNG."""

    picture: np.ndarray
    png: bytes


@dataclass(frozen=True)
class PreviewImage:
    """The codes of an image so far: to be shown when there is time."""

    codes: tuple[int, ...]


Yielded = Event | Step | DecodeImage | PreviewImage
Answer = Sampled | DecodedImage | None
Steps = Generator[Yielded, Answer, None]


def trajectory(janus: Janus, prepared: PreparedRequest, drawing_stream: Stream, judging_stream: Stream) -> Steps:
    """The coroutine of one trajectory: up to `rounds` images, each judged, until a verdict is yes."""
    request, sampling = prepared.request, prepared.sampling
    write = EventWriter(request)
    yield write.start(janus.name, sampling, janus.image_codes)
    if request.task is Task.EDIT:
        yield from edit(janus, prepared, write, drawing_stream)
        return
    if request.task is Task.JUDGE:
        yield from judge_source(janus, prepared, write, judging_stream)
        return
    to_draw = to_judge = prepared.prompt.pieces
    context = deque(request.prefix)
    for number in range(request.rounds):
        if thought := _taken(context, Thought):
            yield from write.prefix(thought, {})
            to_draw += tuple(segment_pieces(janus, thought))
        elif (sampling.thinks or (sampling.thinks_after_no and number)) and not context:
            to_draw = yield from think(janus, sampling, write, drawing_stream, to_draw)
        if image := _taken(context, Image):
            picture, png = yield from known_picture(request, image)
            sha256 = hashlib.sha256(png).hexdigest()
            yield from write.prefix(replace(image, sha256=sha256), {sha256: png})
            seen = replace(image, codes=encode(janus, picture)) if sampling.published_contexts else image
            to_draw += tuple(segment_pieces(janus, seen))
        else:
            picture, to_draw = yield from draw(janus, request, sampling, write, drawing_stream, to_draw)
            if sampling.published_contexts:
                to_draw = (Rewind(janus.image_codes - 1), Codes(encode(janus, picture)))
        to_judge += tuple(image_pixel_pieces(janus, picture))
        if reflection := _taken(context, Reflection):
            yield from write.prefix(reflection, {})
            to_judge += tuple(segment_pieces(janus, reflection))
            ended = True
        else:
            reflection, to_judge = yield from judge(janus, sampling, write, judging_stream, to_judge)
            ended = not to_judge
        if reflection.answer == "yes":
            yield write(TrajectoryFinished, stop_reason=StopReason.CONTENT)
            return
        gap = (
            (SkipPosition(),) if sampling.published_contexts and ended else ()
        )  # where the published code masks the end of turn
        to_draw += (*segment_pieces(janus, reflection), *gap, *redraw_prompt_pieces(janus))
        to_judge += tuple(redraw_prompt_pieces(janus))
    yield write(TrajectoryFinished, stop_reason=StopReason.ROUNDS)


Kind = TypeVar("Kind", Thought, Image, Reflection)


def _taken(context: deque[Segment], kind: type[Kind]) -> Kind | None:
    """The next given segment, if it is of this kind."""
    return context.popleft() if context and isinstance(context[0], kind) else None


def known_picture(request: Request, image: Image) -> Generator[Yielded, Answer, tuple[np.ndarray, bytes]]:
    """A given image's pixels (H, W, 3) and PNG: the request's own, or decoded from its codes."""
    png = request.pictures.get(image.sha256)
    if png is not None:
        return np.asarray(read_rgb(png)), png
    decoded = yield DecodeImage(image.codes)
    return decoded.picture, decoded.png


def encode(janus: Janus, picture: np.ndarray) -> tuple[int, ...]:
    return tuple(janus.encode([picture])[0].tolist())


def edit(janus: Janus, prepared: PreparedRequest, write: EventWriter, stream: Stream) -> Steps:
    """The source, a thought if the checkpoint thinks, the edited image. It is not judged (Janus-Pro-R1, §B.5)."""
    request, sampling = prepared.request, prepared.sampling
    codes = encode(janus, request.source)
    yield from write.source(encode_png(Picture.fromarray(request.source)), codes)
    pieces = prepared.prompt.with_source(codes)
    if sampling.thinks:
        pieces = yield from think(janus, sampling, write, stream, pieces)
    yield from draw(janus, request, sampling, write, stream, pieces)
    yield write(TrajectoryFinished, stop_reason=StopReason.EDITED)


def judge_source(janus: Janus, prepared: PreparedRequest, write: EventWriter, stream: Stream) -> Steps:
    """Judge the source image as a first draft is judged."""
    source = prepared.request.source
    yield from write.source(encode_png(Picture.fromarray(source)), encode(janus, source))
    pieces = (*prepared.prompt.pieces, *image_pixel_pieces(janus, source))
    yield from judge(janus, prepared.sampling, write, stream, pieces)
    yield write(TrajectoryFinished, stop_reason=StopReason.JUDGED)


def think(
    janus: Janus, sampling: Sampling, write: EventWriter, stream: Stream, pieces: tuple[Piece, ...]
) -> Generator[Yielded, Answer, tuple[Piece, ...]]:
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
        pieces = (Text((sampled.token,), cfg_masked=True),)
    yield write(SegmentFinished, text=Thought(tuple(tokens)).text)
    return pieces


def draw(
    janus: Janus, request: Request, sampling: Sampling, write: EventWriter, stream: Stream, pieces: tuple[Piece, ...]
) -> Generator[Yielded, Answer, tuple[np.ndarray, tuple[Piece, ...]]]:
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
                yield PreviewImage(tuple(codes))
            shown = len(codes)
    decoded = yield DecodeImage(tuple(codes))
    yield from write.finish_image(decoded.png, len(codes))
    return decoded.picture, pieces


def judge(
    janus: Janus, sampling: Sampling, write: EventWriter, stream: Stream, pieces: tuple[Piece, ...]
) -> Generator[Yielded, Answer, tuple[Reflection, tuple[Piece, ...]]]:
    """Sample the verdict from {Yes, No}, then the reason until the end of the turn; returns it and what is left to
    feed: the end of the turn is that of the prompt to redraw."""
    ids = janus.ids
    sampled = yield Step(stream, (*pieces, *self_check_pieces(janus)), "text", verdict_rule(ids, sampling))
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


@dataclass(eq=False)
class TrajectoryRun:
    """One trajectory in the engine: its grammar coroutine, its streams, what it waits for, its last event."""

    request: Request
    steps: Steps
    streams: tuple[Stream, ...]
    generator: torch.Generator
    pending: Step | DecodeImage | None = None  # what it waits for
    preview: PreviewImage | None = None  # what of its unfinished image is to be shown
    preview_segment: int | None = None  # the segment of the image that previews may be shown of
    previewed: int = 0  # how many of its cells have been
    latest: Event | None = None
    sampled: list[tuple[int, float]] = field(default_factory=list)  # tokens of its segment, with their log-probability
    drawn: list[int] = field(default_factory=list)  # codes of its unfinished image that events have told

    def event(self, kind: type[Event], **values: object) -> Event:
        """An event made by the engine, with the segment and time of the run's last event."""
        last = self.latest
        self.latest = kind(trajectory_id=self.request.id, segment=last.segment, t_ms=last.t_ms, **values)
        return self.latest

    def advance(self, answer: Sampled | DecodedImage | None) -> list[Event]:
        """Send the coroutine what it waited for; the events that it yields until it waits again or ends."""
        events: list[Event] = []
        if self.request.log_probs and isinstance(answer, Sampled):
            self.sampled.append(
                (answer.token, log_probabilities(answer.logits, self.pending.rule)[answer.token].item())
            )
        self.pending = None
        try:
            with torch.inference_mode():
                while True:
                    match self.steps.send(answer):
                        case Step() as step:
                            self.pending = step
                            return events
                        case DecodeImage() as image:
                            self.pending, self.preview = image, None
                            return events
                        case PreviewImage() as preview:
                            self.preview = preview
                            if self.preview_segment is None:
                                self.preview_segment, self.previewed = self.latest.segment, 0
                        case event:
                            events.append(event)
                            self.latest = event
                            if isinstance(event, ImageCodesAdded):
                                self.drawn += event.codes
                            elif isinstance(event, SegmentFinished):
                                self.drawn.clear()
                            if self.sampled and isinstance(event, SegmentFinished):
                                ids, log_probs = zip(*self.sampled, strict=True)
                                events.append(self.event(LogProbabilities, ids=ids, log_probs=log_probs))
                                self.sampled.clear()
                    answer = None
        except StopIteration:
            return events
        except Exception as error:  # ends this trajectory only
            log.exception("a trajectory broke")
            return [*events, self.fail(error)]

    def close(self) -> None:
        """Close the coroutine; no further events."""
        self.steps.close()
        self.pending = self.preview = self.preview_segment = None

    def end(self, kind: type[Event], **values: object) -> Event:
        """Close the coroutine; the last event, of this kind."""
        self.close()
        return self.event(kind, **values)

    def fail(self, error: Exception) -> Event:
        return self.end(Failed, error=f"{type(error).__name__}: {error}")
