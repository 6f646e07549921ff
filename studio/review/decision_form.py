"""The decision form of a reviewer, and annotations from its values.

Values only; knows questions and trajectories, no store and no page. Where everybody answered alike, that is filled in;
where they differ, the field is empty. Regions are looked at, not drawn here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotations.schema.annotation import Annotation, Answers
from annotations.schema.project import Project
from annotations.schema.questions import PREFERENCES, RATINGS, Form, Question, questions_about
from annotations.store.items import subjects_of
from model.trajectory import Image, Trajectory

SIDES = dict(zip(("Left", "Right", "Equal", "Both bad"), PREFERENCES, strict=True))


@dataclass(frozen=True)
class Field:
    """One question about one thing."""

    segment: int | None
    question: Question
    where: str = ""  # “image 2”; nothing for the whole of it
    choices: tuple[tuple[str, Any], ...] = ()  # (what is shown, the value)
    value: Any = None  # where everybody agrees

    @property
    def label(self) -> str:
        return f"{self.question.title} ({self.where})" if self.where else self.question.title


def fields_of(project: Project, trajectory: Trajectory, said: Sequence[Annotation]) -> list[Field]:
    """The fields of an item, segment by segment: what the project is about, and whatever else somebody answered."""
    answered = {annotation.segment for annotation in said}
    segments = sorted({*subjects_of(project, trajectory), *answered}, key=lambda s: -1 if s is None else s)
    made = []
    for segment in segments:
        kind = project.subject if segment is None else trajectory.segments[segment].kind
        where = "" if segment is None else f"{kind} {segment + 1}"
        asked = questions_about(kind, project.questions) or questions_about("trajectory", project.questions)
        for question in asked:
            if question.form is not Form.REGIONS:
                agreed = _agreed(question, [a for a in said if a.segment == segment])
                made.append(Field(segment, question, where, choices_of(question, trajectory), agreed))
    return made


def choices_of(question: Question, trajectory: Trajectory) -> tuple[tuple[str, Any], ...]:
    """(what is shown, the value) of a question that offers some."""
    match question.form:
        case Form.CHOICE | Form.TAGS:
            return tuple((choice, choice) for choice in question.choices)
        case Form.RATING:
            return tuple((str(rating), rating) for rating in RATINGS)
        case Form.PREFERENCE:
            return tuple(SIDES.items())
        case Form.WORDS:
            return tuple((word, index) for index, word in enumerate(trajectory.prompt.split()))
        case Form.BEST:
            images = [i for i, s in enumerate(trajectory.segments) if isinstance(s, Image) and s.finished]
            return tuple((f"image {number}", index) for number, index in enumerate(images, start=1))
        case _:
            return ()


def _agreed(question: Question, said: Sequence[Annotation]) -> Any:
    """What all said of one thing, if they said the same."""
    if question.form in (Form.TEXT, Form.PREFERENCE):  # of a preference, left and right differ between people
        return None
    given = [a.answers.get(question.name) for a in said]
    if not given or any(value is None or value != given[0] for value in given):
        return None
    return list(given[0]) if isinstance(given[0], tuple) else given[0]


def decisions(
    fields: Sequence[Field], values: Sequence[Any], trajectory: Trajectory, other: str | None, reviewer: str, key: str
) -> list[Annotation]:
    """One annotation for every thing that something was said of; of a pair, `other` is the second."""
    by_segment: dict[int | None, dict[str, Any]] = {}
    for field, value in zip(fields, values, strict=True):
        if field.question.form is Form.PREFERENCE and value is not None:
            value = {"choice": value, "left": trajectory.id, "right": other}
        by_segment.setdefault(field.segment, {})[field.question.name] = value
    return [
        Annotation(trajectory.id, segment, reviewer, answers, key=f"{key}-{'all' if segment is None else segment}")
        for segment, given in by_segment.items()
        if (answers := Answers(given))
    ]


def told(question: Question, value: Any, first: str, prompt: str) -> str:
    """An answer in words; `first` is the trajectory that the page shows on the left."""
    match question.form:
        case Form.PREFERENCE:
            side = value["choice"]
            shown = side if side not in ("left", "right") else "left" if value[side] == first else "right"
            return {side: words for words, side in SIDES.items()}[shown]
        case Form.WORDS:
            words = prompt.split()
            return ", ".join(words[at] for at in value if at < len(words))
        case Form.REGIONS:
            return ", ".join(_region(region) for region in value)
        case Form.TAGS:
            return ", ".join(value)
        case Form.BEST:
            return f"segment {value + 1}"
        case _:
            return str(value)


def _region(region: Mapping[str, Any]) -> str:
    x, y = (round(100 * region[axis]) for axis in "xy")
    return f"{region.get('label', 'something')} at {x} %, {y} %"
