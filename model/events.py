"""What a rollout yields: `fold(events)` is the trajectory, and `replay(trajectory)` its events again (`replay`).

The live page, the gallery, the command line and the tests read the same events. They know values, not networks:
no torch. Previews are for the eye only; folding drops them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

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
    Preview: "preview",
    TextAdded: "text added",
    Verdict: "verdict",
    SegmentFinished: "segment finished",
    TrajectoryFinished: "trajectory finished",
    Failed: "failed",
}
_CLASSES = {name: cls for cls, name in NAMES.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Sampling | Parent):
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
    "tokens": lambda rows: tuple(Token(i, text, Origin(origin)) for i, text, origin in rows),
    "origin": Origin,
    "stop_reason": StopReason,
    "sampling": lambda row: Sampling(**row),
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
        case Preview() | SegmentStarted(kind="reflection" | "source"):
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
            image = trajectory.segments[event.segment]
            codes, origins = (
                (*image.codes, *event.codes),
                (*image.origins, *[event.origin] * len(event.codes)),
            )
            return _put(trajectory, event, replace(image, codes=codes, origins=origins))
        case TextAdded():
            segment = trajectory.segments[event.segment]
            return _put(trajectory, event, replace(segment, tokens=(*segment.tokens, *event.tokens)))
        case TrajectoryFinished():
            return replace(trajectory, stop_reason=event.stop_reason)
        case Failed():
            return replace(trajectory, stop_reason=StopReason.FAILED, error=event.error)
    raise ValueError(f"{event!r} is not an event of a rollout")


def _put(trajectory: Trajectory, event: Event, segment: Segment) -> Trajectory:
    before, after = trajectory.segments[: event.segment], trajectory.segments[event.segment + 1 :]
    return replace(trajectory, segments=(*before, segment, *after))
