"""Tags: some of the question's choices, or free short words where it has none."""

from dataclasses import dataclass
from typing import Any, ClassVar

from annotations.schema.field_types import is_storable
from annotations.schema.forms.question_form import Feature, FormOfChoices, MeasurementLevel, are_different
from model.trajectory import Trajectory

MOST_TAGS = 20
LONGEST_TAG = 40  # characters


@dataclass(frozen=True)
class Tags(FormOfChoices):
    """Some of `choices`; any short words where there are none."""

    name: ClassVar[str] = "tags"
    title: ClassVar[str] = "tags"
    level: ClassVar[MeasurementLevel | None] = None
    feature: ClassVar[Feature] = ["string"]

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        if not are_different(value) or len(value) > MOST_TAGS:
            return f"at most {MOST_TAGS} different tags"
        if self.choices:
            return None if set(value) <= set(self.choices) else f"some of: {', '.join(self.choices)}"
        fits = all(isinstance(tag, str) and len(tag.strip()) > 0 and len(tag) <= LONGEST_TAG for tag in value)
        return None if fits and all(map(is_storable, value)) else f"words of at most {LONGEST_TAG} characters"

    def comparable(self, value: Any) -> frozenset[str]:
        return frozenset(value)

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        return list(dict.fromkeys(value))

    def in_words(self, value: Any, trajectory: Trajectory) -> str:
        return ", ".join(value)
