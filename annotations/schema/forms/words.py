"""Words: words of the prompt, by index."""

from dataclasses import dataclass
from typing import Any, ClassVar

from annotations.schema.forms.question_form import Feature, MeasurementLevel, QuestionForm, are_different, is_whole
from model.trajectory import Trajectory


@dataclass(frozen=True)
class Words(QuestionForm):
    """Indices of words of the prompt, which is split at white space."""

    name: ClassVar[str] = "words"
    title: ClassVar[str] = "words of the prompt"
    level: ClassVar[MeasurementLevel | None] = None
    feature: ClassVar[Feature] = ["int64"]

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        words = len(trajectory.prompt.split())
        fits = are_different(value) and all(is_whole(index) and 0 <= index < words for index in value)
        return None if fits else f"different indices of words of the prompt, 0 to {words - 1}"

    def comparable(self, value: Any) -> frozenset[int]:
        return frozenset(value)

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        return ["marked"]

    def choices_for(self, trajectory: Trajectory) -> list[tuple[str, Any]]:
        return [(word, index) for index, word in enumerate(trajectory.prompt.split())]

    def in_words(self, value: Any, trajectory: Trajectory) -> str:
        words = trajectory.prompt.split()
        return ", ".join(words[index] for index in value if index < len(words))
