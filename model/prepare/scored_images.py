"""Values of the preparation: what is to be drawn, what was drawn, and what a critic says of it. No torch."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model.reflection_text import own_words
from model.trajectory import (
    Image,
    Reflection,
    Sampling,
    Segment,
    StopReason,
    Thought,
    Trajectory,
    segment_from_dict,
    segment_to_dict,
)


class PrepareError(ValueError):
    """A preparation that cannot go on; says what to do."""


@dataclass(frozen=True)
class PainterSettings:
    """What paints, and how: everything that determines an image but its prompt and seed."""

    name: str
    stamp: str  # of its weights
    sampling: Sampling


@dataclass(frozen=True)
class PlannedImage:
    """One image to draw."""

    painter: PainterSettings
    prompt: str
    seed: int

    @property
    def key(self) -> str:
        """By which its drawing is found again."""
        return _digest([self.painter.stamp, self.painter.sampling.to_dict(), self.prompt, self.seed])

    @staticmethod
    def of(painter: PainterSettings, prompt: str, images: int, seed: int) -> "Iterator[PlannedImage]":
        """`images` of a prompt. Their seeds follow from the prompt and the run's seed, wherever the prompt stands."""
        for number in range(images):
            own = int(_digest([seed, prompt, number])[:8], 16)
            yield PlannedImage(painter, prompt, own)


@dataclass(frozen=True)
class DrawnImage:
    """An image as its painter drew it: perhaps a thought, then the image."""

    plan: PlannedImage
    segments: tuple[Segment, ...]

    @property
    def image(self) -> Image:
        return next(segment for segment in reversed(self.segments) if isinstance(segment, Image))

    @property
    def sha256(self) -> str:
        return self.image.sha256 or ""

    @property
    def thought(self) -> str | None:
        return next((segment.text.strip() for segment in self.segments if isinstance(segment, Thought)), None)

    def score_key(self, critic: str) -> str:
        """By which its score is found again: equal pictures of a prompt have one."""
        return _digest([critic, self.plan.prompt, self.sha256])

    def to_dict(self) -> dict[str, Any]:
        about = {"prompt": self.plan.prompt, "seed": self.plan.seed, "painter": self.plan.painter.name}
        return about | {"segments": [segment_to_dict(segment) for segment in self.segments]}

    @staticmethod
    def from_dict(plan: PlannedImage, row: dict[str, Any]) -> "DrawnImage":
        return DrawnImage(plan, tuple(map(segment_from_dict, row["segments"])))


@dataclass(frozen=True)
class ScoredImage:
    """A drawn image with the critic's reflection; S is its P(yes)."""

    drawn: DrawnImage
    reflection: Reflection

    @property
    def score(self) -> float:
        return self.reflection.p_yes

    @property
    def says_yes(self) -> bool:
        return self.reflection.answer == "yes"

    @property
    def reason(self) -> str:
        """“No, the car is red.”"""
        return own_words(self.reflection)

    def trajectory(self, critic: str) -> Trajectory:
        """One draft and the critic's reflection, as a pair of painter and critic makes it in one round."""
        plan = self.drawn.plan
        return Trajectory(
            plan.prompt,
            plan.seed,
            rounds=1,
            sampling=plan.painter.sampling,
            checkpoint=f"{plan.painter.name}+{critic}",
            segments=(*self.drawn.segments, self.reflection),
            stop_reason=StopReason.CONTENT if self.says_yes else StopReason.ROUNDS,
            id=plan.key[:32],
        )


def different(images: Sequence[ScoredImage]) -> list[ScoredImage]:
    """A prompt's images, of equal pictures the first."""
    first: dict[str, ScoredImage] = {}
    for each in images:
        first.setdefault(each.drawn.sha256, each)
    return list(first.values())


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
