"""Ranking: all of a trajectory's images, the best first."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

from annotations.schema.forms.best import images_of
from annotations.schema.forms.question_form import Feature, QuestionForm, are_different, is_whole
from annotations.schema.question_targets import WHOLE
from model.trajectory import Trajectory


@dataclass(frozen=True)
class Ranking(QuestionForm):
    """The segments of the finished images, the best first; some of them only is unfinished. People are compared by
    every two images: which is better."""

    name: ClassVar[str] = "ranking"
    title: ClassVar[str] = "all images in order"
    names_images: ClassVar[bool] = True
    feature: ClassVar[Feature] = ["int64"]

    def problem(self, target: str) -> str | None:
        return None if target == WHOLE else f"puts several images in order; ask it about the whole {WHOLE}"

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        images = images_of(trajectory)
        fits = are_different(value) and all(map(is_whole, value)) and set(value) <= set(images)
        return None if fits else f"images, each once, by their segments: {', '.join(map(str, images))}"

    def is_complete(self, value: Any, trajectory: Trajectory) -> bool:
        return sorted(value) == images_of(trajectory)

    def comparable(self, value: Any) -> Hashable:
        return tuple(value)

    def parts(self, value: Any) -> Mapping[str, Hashable]:
        """By the two images of a pair, the better one."""
        return {f"{min(pair)} or {max(pair)}": pair[0] for pair in combinations(value, 2)}

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        return [f"{self.in_words(value[:1], trajectory)} is the best"] if trajectory is not None else []

    def choices_for(self, trajectory: Trajectory) -> list[tuple[str, Any]]:
        return [(f"image {number}", index) for number, index in enumerate(images_of(trajectory), start=1)]

    def in_words(self, value: Any, trajectory: Trajectory) -> str:
        names = {index: name for name, index in self.choices_for(trajectory)}
        return ", ".join(names[index] for index in value)


def two_of(part: str) -> tuple[int, int]:
    """The segments of the two images that a part of an answer is about."""
    first, second = part.split(" or ")
    return int(first), int(second)
