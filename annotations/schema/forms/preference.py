"""Preference: which of two trajectories is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from annotations.schema.forms.question_form import Feature, QuestionForm
from annotations.schema.question_targets import PAIR
from model.trajectory import Trajectory

PREFERENCES = ("left", "right", "tie", "both_bad")
LABELS = {"left": "Left", "tie": "Equal", "both_bad": "Both bad", "right": "Right"}  # as they lie on a page


@dataclass(frozen=True)
class Preference(QuestionForm):
    """{choice: one of PREFERENCES, left, right: ids of what stood there}."""

    name: ClassVar[str] = "preference"
    title: ClassVar[str] = "which of two"
    feature: ClassVar[Feature] = {"choice": "string", "left": "string", "right": "string"}

    def problem(self, target: str) -> str | None:
        return None if target == PAIR else f"compares two; ask it about a {PAIR}"

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        if not isinstance(value, Mapping) or set(value) != {"choice", "left", "right"}:
            return "a choice, and the ids of what stood on the left and on the right"
        if value["choice"] not in PREFERENCES:
            return f"a choice, one of: {', '.join(PREFERENCES)}"
        two = {trajectory.id, other.id if other else ""}
        return None if {value["left"], value["right"]} == two else f"the two of the pair: {' and '.join(sorted(two))}"

    def comparable(self, value: Any) -> str:
        return chosen(value)

    def labels(self) -> Sequence[str]:
        return PREFERENCES

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        return [value["choice"]]

    def column(self, value: Any) -> dict[str, str]:
        return dict(value)

    def choices_for(self, trajectory: Trajectory) -> list[tuple[str, Any]]:
        return [(label, choice) for choice, label in LABELS.items()]

    def to_page(self, value: Any, left: str | None) -> str:
        side = chosen(value)
        return side if side in PREFERENCES else "left" if side == left else "right"

    def from_page(self, value: Any, left: str | None, right: str | None) -> Any:
        return {"choice": value, "left": left, "right": right} if value in PREFERENCES else value

    def in_words(self, value: Any, trajectory: Trajectory) -> str:
        return LABELS[self.to_page(value, trajectory.id)]


def chosen(preference: Mapping[str, str]) -> str:
    """What a preference is for: the id of a trajectory, a tie, or both bad; whoever stood on the left."""
    choice = preference["choice"]
    return preference[choice] if choice in ("left", "right") else choice
