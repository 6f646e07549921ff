"""Events of a rollout as frozen dataclasses; `fold(events)` makes the trajectory, `replay(trajectory)` the events.

The live page, the gallery, the command line and the tests read the same events. They know values, not networks:
no torch. Previews are for the eye only, log-probabilities for training; folding drops both.
"""

import base64
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from model.images import crop_cells
from model.trajectory import (
    Image,
    Origin,
    Parent,
    Reflection,
    Sampling,
    Segment,
    Source,
    StopReason,
    Thought,
    Token,
    Trajectory,
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events carry: whose they are, which segment they belong to, milliseconds since the start."""

    trajectory_id: str
    segment: int
    t_ms: int = 0

    def to_dict(self) -> dict[str, Any]:
        row = {"event": NAMES[type(self)]}
        return row | {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, kw_only=True)
class TrajectoryStarted(Event):
    prompt: str
    seed: int
    rounds: int
    sampling: Sampling
    checkpoint: str
    parent: Parent | None = None
    created_at: str = ""
    image_codes: int  # codes of a whole image
    segment: int = 0


@dataclass(frozen=True, kw_only=True)
class SegmentStarted(Event):
    kind: str


@dataclass(frozen=True, kw_only=True)
class ImageCodesAdded(Event):
    start: int  # raster index of the first of these codes
    codes: tuple[int, ...]
    origin: Origin = Origin.SAMPLED


@dataclass(frozen=True, kw_only=True)
class FrameAdded(Event):
    """A stage of an image without codes, or what there is of one that was stopped; its replay shows it again: a PNG by
    its hash, of any size. A backend adds a few of them, since each is stored."""

    sha256: str
    png: bytes | None = None
    share: float = 0.0  # of the image's steps that are done


@dataclass(frozen=True, kw_only=True)
class Preview(Event):
    """PNG bytes of the cells `start..start+count` of an image, or of the whole picture (`whole`)."""

    png: bytes
    start: int = 0
    count: int = 0
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class TextAdded(Event):
    tokens: tuple[Token, ...]

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)


@dataclass(frozen=True, kw_only=True)
class Verdict(Event):
    answer: str  # "yes" or "no"
    p_yes: float


@dataclass(frozen=True, kw_only=True)
class SegmentFinished(Event):
    sha256: str | None = None  # of an image's PNG
    codes: tuple[int, ...] | None = None  # of a source, which is not drawn
    text: str | None = None  # of a thought or a reflection


@dataclass(frozen=True, kw_only=True)
class LogProbabilities(Event):
    """Of every token that was sampled for a segment, in order: its id, and its log-probability in the distribution that
    it was drawn from. Made where a request asks for them; not stored."""

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TrajectoryFinished(Event):
    stop_reason: StopReason


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """An error; everything before it stands."""

    error: str


NAMES: dict[type[Event], str] = {
    TrajectoryStarted: "trajectory started",
    SegmentStarted: "segment started",
    ImageCodesAdded: "image codes added",
    FrameAdded: "frame added",
    Preview: "preview",
    TextAdded: "text added",
    Verdict: "verdict",
    SegmentFinished: "segment finished",
    LogProbabilities: "log-probabilities",
    TrajectoryFinished: "trajectory finished",
    Failed: "failed",
}
_CLASSES = {name: cls for cls, name in NAMES.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Sampling):
        return value.to_dict()
    if isinstance(value, Parent):
        return dict(vars(value))
    if isinstance(value, tuple):
        return [list(item) if isinstance(item, Token) else item for item in value]
    return value


def from_dict(row: dict[str, Any]) -> Event:
    """The inverse of `to_dict`. Raises ValueError for a name that is no event's."""
    cls = _CLASSES.get(row.get("event", ""))
    if cls is None:
        raise ValueError(f"“{row.get('event')}” is not an event; known events: {', '.join(_CLASSES)}")
    known = {key: value for key, value in row.items() if key != "event"}
    for key, make in _READERS.items():
        if known.get(key) is not None:
            known[key] = make(known[key])
    return cls(**known)


_READERS: dict[str, Callable[[Any], Any]] = {
    "png": base64.b64decode,
    "codes": tuple,
    "ids": tuple,
    "log_probs": tuple,
    "tokens": lambda rows: tuple(Token(i, text, Origin(origin)) for i, text, origin in rows),
    "origin": Origin,
    "stop_reason": StopReason,
    "sampling": Sampling.from_dict,
    "parent": lambda row: Parent(**row),
}


def fold(events: Iterable[Event]) -> Trajectory:
    """The trajectory that these events of one rollout tell; also of a rollout that is still running."""
    trajectory: Trajectory | None = None
    for event in events:
        trajectory = advance(trajectory, event)
    if trajectory is None:
        raise ValueError("no events: a trajectory begins with “trajectory started”")
    return trajectory


def advance(trajectory: Trajectory | None, event: Event) -> Trajectory:
    """One step of `fold`: the trajectory after one more event."""
    if isinstance(event, TrajectoryStarted):
        return Trajectory(
            prompt=event.prompt,
            seed=event.seed,
            rounds=event.rounds,
            sampling=event.sampling,
            checkpoint=event.checkpoint,
            parent=event.parent,
            id=event.trajectory_id,
            created_at=event.created_at,
        )
    if trajectory is None:
        raise ValueError(f"“{NAMES[type(event)]}” came before “trajectory started”")
    match event:
        case Preview() | LogProbabilities() | SegmentStarted(kind="reflection" | "source"):
            return trajectory
        case SegmentStarted(kind="thought"):
            return _put(trajectory, event, Thought((), finished=False))
        case SegmentStarted(kind="image"):
            return _put(trajectory, event, Image((), finished=False))
        case Verdict():
            return _put(trajectory, event, Reflection(event.answer, event.p_yes, finished=False))
        case SegmentFinished(codes=codes) if codes is not None:
            times = (*trajectory.times_ms, event.t_ms)
            return replace(_put(trajectory, event, Source(codes, event.sha256 or "")), times_ms=times)
        case SegmentFinished():
            segment = replace(trajectory.segments[event.segment], finished=True)
            if isinstance(segment, Image):
                segment = replace(segment, sha256=event.sha256)
            return replace(_put(trajectory, event, segment), times_ms=(*trajectory.times_ms, event.t_ms))
        case ImageCodesAdded():
            image = _image(trajectory, event)
            codes, origins = ((*image.codes, *event.codes), (*image.origins, *[event.origin] * len(event.codes)))
            return _put(trajectory, event, replace(image, codes=codes, origins=origins))
        case FrameAdded(sha256=frame):
            image = _image(trajectory, event)
            return _put(trajectory, event, replace(image, frames=(*image.frames, frame)))
        case TextAdded():
            segment = trajectory.segments[event.segment]
            if not isinstance(segment, Thought | Reflection):
                raise ValueError(f"“{NAMES[type(event)]}” came for a {segment.kind}")
            return _put(trajectory, event, replace(segment, tokens=(*segment.tokens, *event.tokens)))
        case TrajectoryFinished():
            return replace(trajectory, stop_reason=event.stop_reason)
        case Failed():
            return replace(trajectory, stop_reason=StopReason.FAILED, error=event.error)
    raise ValueError(f"{event!r} is not an event of a rollout")


def _image(trajectory: Trajectory, event: Event) -> Image:
    """The image that an event is about. Raises ValueError where that is another segment."""
    segment = trajectory.segments[event.segment]
    if not isinstance(segment, Image):
        raise ValueError(f"“{NAMES[type(event)]}” came for a {segment.kind}")
    return segment


def _put(trajectory: Trajectory, event: Event, segment: Segment) -> Trajectory:
    before, after = trajectory.segments[: event.segment], trajectory.segments[event.segment + 1 :]
    return replace(trajectory, segments=(*before, segment, *after))


def replay(trajectory: Trajectory, pictures: Callable[[str], bytes] | None = None, group: int = 4) -> Iterator[Event]:
    """The events of a stored trajectory, image codes `group` at a time.

    `pictures` gives the PNG of a hash; with it, every group comes with a preview of its cells, cut from the final
    picture, and frames come with theirs, so that nothing but the store is needed to watch a trajectory again.
    """
    tid = trajectory.id
    size = max((len(image.codes) for image in trajectory.images if image.finished), default=0)
    yield TrajectoryStarted(
        trajectory_id=tid,
        prompt=trajectory.prompt,
        seed=trajectory.seed,
        rounds=trajectory.rounds,
        sampling=trajectory.sampling,
        checkpoint=trajectory.checkpoint,
        parent=trajectory.parent,
        created_at=trajectory.created_at,
        image_codes=size,
    )
    for index, segment in enumerate(trajectory.segments):
        t_ms = trajectory.times_ms[index] if index < len(trajectory.times_ms) else 0
        yield SegmentStarted(trajectory_id=tid, segment=index, t_ms=t_ms, kind=segment.kind)
        for event in replay_segment(tid, index, segment, pictures, group):
            yield replace(event, t_ms=t_ms)
    last = max(len(trajectory.segments) - 1, 0)
    end = trajectory.times_ms[-1] if trajectory.times_ms else 0
    if trajectory.error is not None:
        yield Failed(trajectory_id=tid, segment=last, t_ms=end, error=trajectory.error)
    elif trajectory.stop_reason is not None:
        yield TrajectoryFinished(trajectory_id=tid, segment=last, t_ms=end, stop_reason=trajectory.stop_reason)


def replay_segment(
    tid: str, index: int, segment: Segment, pictures: Callable[[str], bytes] | None, group: int = 4
) -> Iterator[Event]:
    """The events of one stored segment, without the one that starts it."""
    here = {"trajectory_id": tid, "segment": index}
    match segment:
        case Image():
            yield from _replay_image(here, segment, pictures, group)
        case Thought():
            for token in segment.tokens:
                yield TextAdded(**here, tokens=(token,))
        case Reflection():
            yield Verdict(**here, answer=segment.answer, p_yes=segment.p_yes)
            for token in segment.tokens:
                yield TextAdded(**here, tokens=(token,))
        case Source() if pictures is not None:
            yield Preview(**here, png=pictures(segment.sha256), whole=True, count=len(segment.codes))
    if segment.finished:
        yield SegmentFinished(
            **here,
            sha256=getattr(segment, "sha256", None),
            codes=segment.codes if isinstance(segment, Source) else None,
            text=getattr(segment, "text", None),
        )


def _replay_image(
    here: dict[str, Any], image: Image, pictures: Callable[[str], bytes] | None, group: int
) -> Iterator[Event]:
    png = pictures(image.sha256) if pictures is not None and image.sha256 is not None else None
    for number, frame in enumerate(image.frames, start=1):
        share = number / (len(image.frames) + 1)
        yield FrameAdded(**here, sha256=frame, png=pictures(frame) if pictures is not None else None, share=share)
    for start, codes, origin in _groups(image, group):
        yield ImageCodesAdded(**here, start=start, codes=codes, origin=origin)
        if png is not None:
            cells = crop_cells(png, len(image.codes), start, len(codes))
            yield Preview(**here, png=cells, start=start, count=len(codes))
    if png is not None:
        yield Preview(**here, png=png, start=0, count=len(image.codes), whole=True)


def _groups(image: Image, group: int) -> Iterator[tuple[int, tuple[int, ...], Origin]]:
    """Runs of at most `group` codes of one origin, within one row of the grid."""
    side = math.isqrt(len(image.codes)) if image.finished else len(image.codes)
    start = 0
    while start < len(image.codes):
        origin, stop = image.origins[start], start + 1
        limit = min(start + group, (start // side + 1) * side)
        while stop < limit and image.origins[stop] == origin:
            stop += 1
        yield start, image.codes[start:stop], origin
        start = stop
