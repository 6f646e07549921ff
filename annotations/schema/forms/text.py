"""Text: free text."""

from dataclasses import dataclass
from typing import Any, ClassVar

from annotations.errors import AnswerError
from annotations.schema.field_types import is_storable
from annotations.schema.forms.question_form import Feature, MeasurementLevel, QuestionForm
from model.trajectory import Trajectory

LONGEST_TEXT = 2000  # characters


@dataclass(frozen=True)
class Text(QuestionForm):
    """At most LONGEST_TEXT characters. No two people write the same, so that texts are neither compared nor gold."""

    name: ClassVar[str] = "text"
    title: ClassVar[str] = "words of their own"
    level: ClassVar[MeasurementLevel | None] = None
    has_gold: ClassVar[bool] = False
    feature: ClassVar[Feature] = "string"

    def expected(self, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
        """Raises AnswerError for text that is too long, or that no database keeps."""
        if not isinstance(value, str):
            return "text"
        if len(value) > LONGEST_TEXT:
            raise AnswerError(f"Got {len(value)} characters, wanted at most {LONGEST_TEXT}; shorten it")
        if not is_storable(value):
            raise AnswerError("The text has characters that cannot be stored; type it again")
        return None

    def labels_of(self, value: Any, trajectory: Trajectory | None = None) -> list[str]:
        return ["written"]
