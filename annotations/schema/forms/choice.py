"""Choice: one of the question's choices."""

from dataclasses import dataclass
from typing import Any, ClassVar

from annotations.schema.forms.question_form import Feature, FormOfChoices
from model.trajectory import Trajectory


@dataclass(frozen=True)
class Choice(FormOfChoices):
    """One of `choices`."""

    name: ClassVar[str] = "choice"
    title: ClassVar[str] = "one of some"
    feature: ClassVar[Feature] = "string"

    def problem(self, target: str) -> str | None:
        if len(self.choices) < 2:
            return f"has {len(self.choices)} choices; wanted at least two"
        return super().problem(target)

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        return None if value in self.choices else f"one of: {', '.join(self.choices)}"
