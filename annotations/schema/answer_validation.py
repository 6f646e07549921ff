"""Validation of an answer against its question, per question form.

Knows questions and trajectories; no annotation, no database. Every refusal names the question, says what was got and
what was wanted.
"""

from collections.abc import Mapping
from typing import Any

from annotations.errors import AnswerError
from annotations.schema.questions import LONGEST_TEXT, PREFERENCES, RATINGS, Form, Question
from model.numbers import is_number
from model.trajectory import Image, Trajectory

MOST_REGIONS = 100
MOST_TAGS = 20
LONGEST_TAG = 40  # characters


def check_answer(question: Question, value: Any, trajectory: Trajectory, other: Trajectory | None = None) -> None:
    """Raises AnswerError. `other` is the second trajectory of a pair."""
    wanted = _wanted(question, value, trajectory, other)
    if wanted is not None:
        raise AnswerError(f"{question.title} Got {_short(value)}, wanted {wanted}")


def _wanted(question: Question, value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
    """What would have been an answer; None where the value is one."""
    match question.form:
        case Form.CHOICE:
            return None if value in question.choices else f"one of: {', '.join(question.choices)}"
        case Form.RATING:
            return None if _is_whole(value) and value in RATINGS else "a whole number from 1 to 5"
        case Form.TEXT:
            return _wanted_text(question, value)
        case Form.TAGS:
            return _wanted_tags(question, value)
        case Form.REGIONS:
            return _wanted_regions(question, value)
        case Form.WORDS:
            words = len(trajectory.prompt.split())
            fits = _are_different(value) and all(_is_whole(at) and 0 <= at < words for at in value)
            return None if fits else f"different indices of words of the prompt, 0 to {words - 1}"
        case Form.BEST:
            images = [i for i, s in enumerate(trajectory.segments) if isinstance(s, Image) and s.finished]
            fits = _is_whole(value) and value in images
            return None if fits else f"the segment of an image: {', '.join(map(str, images))}"
        case Form.PREFERENCE:
            return _wanted_preference(value, trajectory, other)


def _wanted_text(question: Question, value: Any) -> str | None:
    if not isinstance(value, str):
        return "text"
    if len(value) > LONGEST_TEXT:
        raise AnswerError(f"{question.title} Got {len(value)} characters, wanted at most {LONGEST_TEXT}; shorten it")
    if not is_storable(value):
        raise AnswerError(f"{question.title} The text has characters that cannot be stored; type it again")
    return None


def is_storable(text: str) -> bool:
    """Whether every database keeps all characters of it."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def _wanted_tags(question: Question, value: Any) -> str | None:
    if not _are_different(value) or len(value) > MOST_TAGS:
        return f"at most {MOST_TAGS} different tags"
    if question.choices:
        return None if set(value) <= set(question.choices) else f"some of: {', '.join(question.choices)}"
    fits = all(isinstance(tag, str) and len(tag.strip()) > 0 and len(tag) <= LONGEST_TAG for tag in value)
    return None if fits and all(map(is_storable, value)) else f"words of at most {LONGEST_TAG} characters"


def _wanted_regions(question: Question, value: Any) -> str | None:
    if not isinstance(value, tuple | list) or len(value) > MOST_REGIONS:
        return f"at most {MOST_REGIONS} boxes and points"
    for region in value:
        if not isinstance(region, Mapping) or set(region) - {"label"} not in ({"x", "y"}, {"x", "y", "w", "h"}):
            return "boxes with x, y, w, h and points with x, y"
        x, y, w, h = (region.get(name, 0.0) for name in "xywh")
        if not all(_is_fraction(number) for number in (x, y, w, h)) or x + w > 1 + 1e-9 or y + h > 1 + 1e-9:
            return "fractions of the image: numbers from 0 to 1, boxes that stay inside"
        if "w" in region and not (w > 0 and h > 0):
            return "boxes that are wider and higher than nothing"
        if question.choices and region.get("label") not in question.choices:
            return f"regions with a label, one of: {', '.join(question.choices)}"
        if not question.choices and "label" in region:
            return "regions without a label"
    return None


def _wanted_preference(value: Any, trajectory: Trajectory, other: Trajectory | None) -> str | None:
    if not isinstance(value, Mapping) or set(value) != {"choice", "left", "right"}:
        return "a choice, and the ids of what stood on the left and on the right"
    if value["choice"] not in PREFERENCES:
        return f"a choice, one of: {', '.join(PREFERENCES)}"
    two = {trajectory.id, other.id if other else ""}
    return None if {value["left"], value["right"]} == two else f"the two of the pair: {' and '.join(sorted(two))}"


def chosen(preference: Mapping[str, str]) -> str:
    """What a preference is for: the id of a trajectory, a tie, or both bad; whoever stood on the left."""
    choice = preference["choice"]
    return preference[choice] if choice in ("left", "right") else choice


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_fraction(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _are_different(value: Any) -> bool:
    if not isinstance(value, tuple | list) or any(isinstance(one, tuple | list | Mapping) for one in value):
        return False
    return len(set(value)) == len(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
