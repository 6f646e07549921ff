"""Comparison of answers with gold: feedback in practice, accuracy.

Values only: knows questions and annotations. A rating is right when it is one away at most; of regions, every right one
has to be hit and none may lie elsewhere; texts are not compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotations.schema.annotation import Annotation, Answers, Value
from annotations.schema.answer_validation import chosen
from annotations.schema.questions import Form, Question

OVERLAP = 0.3  # of two boxes: intersection over union
NEAR = 0.1  # of two points, or a point and a box: fractions of the image


@dataclass(frozen=True)
class Feedback:
    """One answer beside the right one."""

    segment: int | None
    question: str  # its title
    given: Value | None
    wanted: Value
    right: bool
    because: str = ""  # what the project's owner says of it


def compare(
    questions: Sequence[Question], gold: Iterable[Mapping[str, Any]], given: Sequence[Annotation]
) -> tuple[Feedback, ...]:
    """Every known answer that can be compared, beside what was given."""
    asked = {question.name: question for question in questions if question.form is not Form.TEXT}
    said = {annotation.segment: annotation.answers for annotation in given}
    made = []
    for known in gold:
        segment = known.get("segment")
        for name, wanted in Answers(known["answers"]).items():
            if name in asked:
                got = said.get(segment, {}).get(name)
                right = got is not None and is_right(asked[name], got, wanted)
                made.append(Feedback(segment, asked[name].title, got, wanted, right, known.get("because", "")))
    return tuple(made)


def is_right(question: Question, given: Value, wanted: Value) -> bool:
    match question.form:
        case Form.RATING:
            return abs(given - wanted) <= 1
        case Form.TAGS | Form.WORDS:
            return set(given) == set(wanted)
        case Form.REGIONS:
            hit = all(any(_same(one, right) for one in given) for right in wanted)
            return hit and all(any(_same(one, right) for right in wanted) for one in given)
        case Form.PREFERENCE:
            return chosen(given) == chosen(wanted)
        case _:
            return given == wanted


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one.get("label") != other.get("label"):
        return False
    if "w" in one and "w" in other:
        return _intersection_over_union(one, other) >= OVERLAP
    return all(
        max(one[a], other[a]) - min(one[a] + one.get(side, 0), other[a] + other.get(side, 0)) <= NEAR
        for a, side in (("x", "w"), ("y", "h"))
    )


def _intersection_over_union(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    width = min(one["x"] + one["w"], other["x"] + other["w"]) - max(one["x"], other["x"])
    height = min(one["y"] + one["h"], other["y"] + other["h"]) - max(one["y"], other["y"])
    both = max(width, 0.0) * max(height, 0.0)
    return both / (one["w"] * one["h"] + other["w"] * other["h"] - both)
