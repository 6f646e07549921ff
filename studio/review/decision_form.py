"""The decision form of a reviewer, and annotations from its values.

Values only; knows questions and trajectories, no store and no page. Where everybody answered alike, that is filled in;
where they differ, the field is empty. Regions are looked at, not drawn here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from annotations.schema.annotation import Annotation, Answers
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.regions import Regions
from annotations.schema.forms.text import Text
from annotations.schema.project import Project
from annotations.schema.questions import Question, questions_about
from annotations.store.items import subjects_of
from model.trajectory import Trajectory


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
            if not isinstance(question.form, Regions):
                agreed = _agreed(question, [a for a in said if a.segment == segment])
                made.append(Field(segment, question, where, tuple(question.form.choices_for(trajectory)), agreed))
    return made


def _agreed(question: Question, said: Sequence[Annotation]) -> Any:
    """What all said of one thing, if they said the same."""
    if isinstance(question.form, Text | Preference):  # of a preference, left and right differ between people
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
        value = field.question.form.from_page(value, trajectory.id, other)
        by_segment.setdefault(field.segment, {})[field.question.name] = value
    return [
        Annotation(trajectory.id, segment, reviewer, answers, key=f"{key}-{'all' if segment is None else segment}")
        for segment, given in by_segment.items()
        if (answers := Answers(given))
    ]
