"""Comparison of answers with gold: feedback in practice, accuracy.

Values only: knows questions and annotations. How two answers compare is known to the question's form.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotations.schema.annotation import Annotation, Answers, Value
from annotations.schema.questions import Question


@dataclass(frozen=True)
class Feedback:
    """One answer beside the right one."""

    segment: int | None
    question: str  # its title
    answer: Value | None
    gold: Value
    right: bool
    because: str = ""  # what the project's owner says of it
    name: str = ""  # of the question


def compare(
    questions: Sequence[Question], gold: Iterable[Mapping[str, Any]], annotations: Sequence[Annotation]
) -> tuple[Feedback, ...]:
    """Every known answer that can be compared, beside what was given."""
    asked = {question.name: question for question in questions if question.form.has_gold}
    by_segment = {annotation.segment: annotation.answers for annotation in annotations}
    made = []
    for known in gold:
        segment = known.get("segment")
        for name, wanted in Answers(known["answers"]).items():
            if name in asked:
                got = by_segment.get(segment, {}).get(name)
                right = got is not None and asked[name].form.is_right(got, wanted)
                made.append(Feedback(segment, asked[name].title, got, wanted, right, known.get("because", ""), name))
    return tuple(made)
