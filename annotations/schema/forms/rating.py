"""Rating: a whole number of a scale, 1 to 5 unless the question says otherwise.

Thresholds follow from the scale: on 1 to 5, ratings of 4 and 5 are good, and a rating is right that is one off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from annotations.schema.forms.question_form import Feature, MeasurementLevel, QuestionForm, is_whole
from model.trajectory import Trajectory

MOST_STEPS = 10  # between the ends of a scale


@dataclass(frozen=True)
class Rating(QuestionForm):
    """A whole number from one end of `scale` to the other."""

    name: ClassVar[str] = "rating"
    title: ClassVar[str] = "a rating"
    level: ClassVar[MeasurementLevel | None] = MeasurementLevel.ORDINAL
    feature: ClassVar[Feature] = "int64"

    scale: tuple[int, int] = (1, 5)

    @property
    def steps(self) -> int:
        return self.scale[1] - self.scale[0]

    @property
    def values(self) -> range:
        return range(self.scale[0], self.scale[1] + 1)

    @property
    def good(self) -> int:
        """The lowest rating that is good: of the upper quarter of the scale."""
        return self.scale[1] - self.steps // 4

    def problem(self, target: str) -> str | None:
        ends = self.scale
        if not isinstance(ends, tuple) or len(ends) != 2 or not all(map(is_whole, ends)) or ends[0] < 0:
            return f"has the scale {ends!r:.40}; wanted two whole numbers, such as [1, 5]"
        if not 1 <= self.steps <= MOST_STEPS:
            return f"has a scale from {ends[0]} to {ends[1]}; wanted one of 1 to {MOST_STEPS} steps, lowest end first"
        return None

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        fits = is_whole(value) and value in self.values
        return None if fits else f"a whole number from {self.scale[0]} to {self.scale[1]}"

    def is_right(self, answer: Any, gold: Any) -> bool:
        return abs(answer - gold) <= self.steps // 4

    def labels(self) -> Sequence[str]:
        return [str(rating) for rating in self.values]

    def choices_for(self, trajectory: Trajectory) -> list[tuple[str, Any]]:
        return [(str(rating), rating) for rating in self.values]


GOOD = f"{Rating().good} of {Rating().scale[1]} or better"  # in words, for any scale
