"""A trajectory: prompt, segments, and the origin of every token.

Values only: frozen, equal by content, readable from and writable to JSON. Ids and times are carried along but
leave equality alone. No torch, no pictures: an image is its codes and the hash of the PNG that shows them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple

from model.templates import EDIT_TEXT


class Origin(StrEnum):
    """Who put a token where it is. Training reads it as the loss mask."""

    SAMPLED = "sampled"
    TEMPLATE = "template"
    PERSON = "person"


_ORIGINS = {origin.value: origin for origin in Origin}  # a lookup here takes a quarter of a call of the class


class StopReason(StrEnum):
    """Why a trajectory ended."""

    CONTENT = "content"  # the model said yes
    ROUNDS = "rounds"  # the last allowed image was judged no
    EDITED = "edited"  # an edited image, which is not judged
    JUDGED = "judged"  # a given image was judged, once
    CANCELLED = "cancelled"  # somebody pressed Stop
    FAILED = "failed"  # an error; what was done so far is kept
    IMPORTED = "imported"  # made elsewhere, and brought in whole


class Token(NamedTuple):
    """A text token: its id, the text it adds, and who put it there."""

    id: int
    text: str
    origin: Origin = Origin.SAMPLED


MOST_ORIGINS = 2**20  # of one image: a run length of a billion would take all memory
SETTING_KEYS = {"published_contexts": "official"}  # keys of settings in JSON where they differ from their names
SETTING_NAMES = {key: name for name, key in SETTING_KEYS.items()}


def sampling_settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling settings of JSON by their names."""
    return {SETTING_NAMES.get(key, key): value for key, value in row.items()}


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn from the network's distributions; a checkpoint's own defaults come with it."""

    guidance: float = 1.0  # classifier-free guidance weight of images; 1 is off
    temperature: float = 1.0  # of image codes; 0 is greedy
    top_k: int | None = None  # of image codes; None keeps all
    text_temperature: float = 1.0  # of thoughts, verdicts and reasons; 0 is greedy
    text_top_k: int | None = None
    thinks: bool = False  # a thought before every image
    thinks_after_no: bool = False  # a thought before every image but the first, where `thinks` is not set
    published_contexts: bool = (
        False  # of Janus-Pro-R1's code: earlier images encoded anew, a position skipped after a no
    )

    def to_dict(self) -> dict[str, Any]:
        return {SETTING_KEYS.get(name, name): value for name, value in vars(self).items()}

    @staticmethod
    def from_dict(row: Mapping[str, Any]) -> "Sampling":
        """The inverse of `to_dict`; names of settings are read, too. Raises TypeError for others."""
        return Sampling(**sampling_settings(row))


@dataclass(frozen=True)
class Thought:
    """Plan text, written before an image."""

    tokens: tuple[Token, ...]
    finished: bool = True
    kind = "thought"

    @property
    def text(self) -> str:
        return text_of(self.tokens)


@dataclass(frozen=True)
class Image:
    """A drawing: image codes in raster order, or none (`codes == ()`) but `frames`, the hashes of PNGs of the stages
    that it went through; one with codes that was stopped has a frame of what there is of it. `sha256` names its own PNG
    and is None while unfinished."""

    codes: tuple[int, ...]
    sha256: str | None = None
    origins: tuple[Origin, ...] = ()
    finished: bool = True
    frames: tuple[str, ...] = ()
    kind = "image"


@dataclass(frozen=True)
class Reflection:
    """A verdict on the image before it and the reason; the first token is the verdict itself."""

    answer: str  # "yes" or "no"
    p_yes: float  # P(Yes) / (P(Yes) + P(No)) of the first token, before temperature
    tokens: tuple[Token, ...] = ()
    finished: bool = True
    kind = "reflection"

    @property
    def text(self) -> str:
        """Verdict and reason as the model wrote them: “No, the car is red, not blue.”"""
        return text_of(self.tokens)

    @property
    def reason(self) -> str:
        """What is wrong or right: the text after the verdict word, without the edit."""
        return self._parts[0]

    @property
    def edit(self) -> str | None:
        """What to change, behind “Edit:”; None where the model writes none, as Janus-Pro-R1."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str | None]:
        reason, mark, edit = text_of(self.tokens[1:]).lstrip(",. ").partition(f" {EDIT_TEXT} ")
        return (reason, edit.strip()) if mark else (reason, None)


@dataclass(frozen=True)
class Source:
    """An image given by the user, to be edited or judged."""

    codes: tuple[int, ...]
    sha256: str
    finished: bool = True
    kind = "source"


Segment = Thought | Image | Reflection | Source
SEGMENTS: dict[str, type[Segment]] = {c.kind: c for c in (Thought, Image, Reflection, Source)}


@dataclass(frozen=True)
class Parent:
    """Where a branch leaves the trajectory it continues."""

    trajectory_id: str
    segment: int
    token: int


@dataclass(frozen=True)
class Trajectory:
    """The record of one rollout."""

    prompt: str
    seed: int
    rounds: int  # images allowed at most
    sampling: Sampling
    checkpoint: str  # the name of the checkpoint that drew it
    segments: tuple[Segment, ...] = ()
    stop_reason: StopReason | None = None  # None while it is still running
    error: str | None = None
    parent: Parent | None = None
    id: str = field(default="", compare=False)
    created_at: str = field(default="", compare=False)  # ISO 8601, UTC
    times_ms: tuple[int, ...] = field(default=(), compare=False)  # when each segment ended, from the start

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(s for s in self.segments if isinstance(s, Image))

    @property
    def reflections(self) -> tuple[Reflection, ...]:
        return tuple(s for s in self.segments if isinstance(s, Reflection))

    @property
    def aha(self) -> bool:
        """Whether there is an aha moment."""
        return self.aha_segment is not None

    @property
    def aha_segment(self) -> int | None:
        """The index of the first reflection in which the model itself says yes to a revision, where it had said no to
        the draft before, and drew something else."""
        drawn, refused = None, None  # the last image, and the one that was refused
        for index, segment in enumerate(self.segments):
            if isinstance(segment, Image | Source):
                drawn = segment.sha256 or segment.codes
            elif isinstance(segment, Reflection):
                own = origin_of(segment) is not Origin.PERSON
                if segment.answer == "yes" and own and refused not in (None, drawn):
                    return index
                refused = drawn if segment.answer == "no" and own else None
        return None

    def to_dict(self) -> dict[str, Any]:
        row = vars(self) | {"sampling": self.sampling.to_dict(), "parent": self.parent and dict(vars(self.parent))}
        segments = [segment_to_dict(segment) for segment in self.segments]
        return row | {"segments": segments, "times_ms": list(self.times_ms)}

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Trajectory":
        known = dict(row)
        known["sampling"] = Sampling.from_dict(row["sampling"])
        known["segments"] = tuple(segment_from_dict(s) for s in row["segments"])
        known["stop_reason"] = row["stop_reason"] and StopReason(row["stop_reason"])
        known["parent"] = row.get("parent") and Parent(**row["parent"])
        known["times_ms"] = tuple(row.get("times_ms", ()))
        return Trajectory(**known)


def picture_hashes(segment: Segment) -> tuple[str, ...]:
    """The hashes of a segment's pictures: its own, then its frames."""
    own = getattr(segment, "sha256", None)
    return ((own,) if own else ()) + getattr(segment, "frames", ())


def origin_of(segment: Segment) -> Origin:
    """PERSON where a person wrote any of its tokens or changed any of its codes, else SAMPLED."""
    if isinstance(segment, Thought | Reflection):
        by_person = any(token.origin is Origin.PERSON for token in segment.tokens)
    else:
        by_person = isinstance(segment, Image) and Origin.PERSON in segment.origins
    return Origin.PERSON if by_person else Origin.SAMPLED


def text_of(tokens: Iterable[Token]) -> str:
    return "".join(token.text for token in tokens)


def segment_to_dict(segment: Segment) -> dict[str, Any]:
    """JSON values; a token is [id, text, origin], origins of image codes are run lengths."""
    row: dict[str, Any] = {"kind": segment.kind, **vars(segment)}
    if isinstance(segment, Thought | Reflection):
        row["tokens"] = [[id, text, str.__str__(origin)] for id, text, origin in segment.tokens]
        row["text"] = segment.text
    else:
        row["codes"] = list(segment.codes)
    if isinstance(segment, Image):
        row["origins"] = [[origin.value, len(list(run))] for origin, run in groupby(segment.origins)]
    if frames := row.pop("frames", ()):  # of images without codes, and of stopped ones
        row["frames"] = list(frames)
    return row


def segment_from_dict(row: dict[str, Any]) -> Segment:
    """The inverse of `segment_to_dict`. Raises ValueError, KeyError and TypeError."""
    known = {key: value for key, value in row.items() if key not in ("kind", "text")}
    if "tokens" in known:
        written = [Token(i, text, _ORIGINS.get(by) or Origin(by)) for i, text, by in known["tokens"]]
        known["tokens"] = tuple(written)
    if "codes" in known:
        known["codes"] = tuple(known["codes"])
    if "frames" in known:
        known["frames"] = tuple(known["frames"])
    if "origins" in known:
        if (count := sum(count for _, count in known["origins"])) > MOST_ORIGINS:
            raise ValueError(f"got {count} origins of image codes, wanted at most {MOST_ORIGINS}")
        known["origins"] = tuple(Origin(o) for o, count in known["origins"] for _ in range(count))
    return SEGMENTS[row["kind"]](**known)
