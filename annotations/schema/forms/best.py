"""Best: which of a trajectory's images is the best."""

from dataclasses import dataclass
from typing import Any, ClassVar

from annotations.schema.forms.question_form import Feature, QuestionForm, is_whole
from annotations.schema.question_targets import WHOLE
from model.trajectory import Image, Trajectory


@dataclass(frozen=True)
class Best(QuestionForm):
    """The segment of one of the finished images."""

    name: ClassVar[str] = "best"
    title: ClassVar[str] = "the best image"
    names_images: ClassVar[bool] = True
    feature: ClassVar[Feature] = "int64"

    def problem(self, target: str) -> str | None:
        return None if target == WHOLE else f"asks for the best of several images; ask it about the whole {WHOLE}"

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        images = images_of(trajectory)
        fits = is_whole(value) and value in images
        return None if fits else f"the segment of an image: {', '.join(map(str, images))}"

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        return [self.in_words(value, trajectory)] if trajectory is not None else []

    def choices_for(self, trajectory: Trajectory) -> list[tuple[str, Any]]:
        return [(f"image {number}", index) for number, index in enumerate(images_of(trajectory), start=1)]

    def in_words(self, value: Any, trajectory: Trajectory) -> str:
        return next(name for name, index in self.choices_for(trajectory) if index == value)


def images_of(trajectory: Trajectory) -> list[int]:
    return [index for index, s in enumerate(trajectory.segments) if isinstance(s, Image) and s.finished]
