"""One person's answers about one segment, and whether they fit the questions. A value: equal by content.

Knows questions and trajectories; no database. Whoever stores an annotation calls `validate` first.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from annotations.errors import AnswerError
from annotations.questions import (
    LONGEST_TEXT,
    NO,
    RATINGS,
    REASON_CORRECTION,
    VERDICT_RIGHT,
    YES,
    Form,
    Question,
    questions_about,
)
from model.trajectory import Reflection, Segment, Trajectory
from model.wording import split_verdict

Value = str | int


class Status(StrEnum):
    """How far an annotation is."""

    UNFINISHED = "unfinished"  # begun, kept, counts for nothing
    SUBMITTED = "submitted"
    DISCARDED = "discarded"  # this person will not answer


class Answers(Mapping[str, Value]):
    """Answers by the name of their question: read like a dict, never changed. None and blank text are no
    answers.
    """

    __slots__ = ("_pairs",)

    def __init__(self, values: Mapping[str, Value | None] | None = None) -> None:
        given = sorted((values or {}).items())
        self._pairs = tuple((name, value) for name, value in given if not _is_blank(value))

    def __getitem__(self, name: str) -> Value:
        for known, value in self._pairs:
            if known == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Answers({dict(self._pairs)!r})"


def _is_blank(value: Value | None) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


@dataclass(frozen=True)
class Annotation:
    """What one annotator said of one segment. A mapping given as `answers` becomes `Answers`.

    `key` makes submitting it twice harmless; the store fills in what is empty of `key`, `id` and
    `created_at`.
    """

    trajectory_id: str
    segment: int  # index into the trajectory's segments
    annotator: str
    answers: Mapping[str, Value] = Answers()
    status: Status = Status.SUBMITTED
    seconds: float = 0.0  # spent on it
    key: str = field(default="", compare=False)
    id: int | None = field(default=None, compare=False)  # of the revision; later ones are higher
    undoes: int | None = field(default=None, compare=False)  # the revision that this one takes back
    created_at: datetime | None = field(default=None, compare=False)  # UTC

    def __post_init__(self) -> None:
        if not isinstance(self.answers, Answers):
            object.__setattr__(self, "answers", Answers(self.answers))
        object.__setattr__(self, "status", Status(self.status))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        row = dict(vars(self)) | {"answers": dict(self.answers), "status": self.status.value}
        return row | {"created_at": self.created_at and self.created_at.isoformat()}

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Annotation":
        moment = row.get("created_at")
        return Annotation(**row | {"created_at": moment and datetime.fromisoformat(moment)})


def validate(annotation: Annotation, trajectory: Trajectory) -> Segment:
    """The segment that the annotation is about. Raises AnswerError, which names the question."""
    if not annotation.annotator.strip():
        raise AnswerError("got an annotation without an annotator; sign in, or give a name")
    if not (math.isfinite(annotation.seconds) and annotation.seconds >= 0):
        raise AnswerError(f"got {annotation.seconds} seconds, wanted a number that is not negative")
    segment = _segment(annotation, trajectory)
    questions = {question.name: question for question in questions_about(segment.kind)}
    for name, value in annotation.answers.items():
        if name not in questions:
            raise AnswerError(f"“{name}” is not asked about a {segment.kind}; the questions are {', '.join(questions)}")
        _check(questions[name], value)
    if annotation.status is Status.SUBMITTED:
        missing = [q.title for q in questions.values() if q.required and q.name not in annotation.answers]
        if missing:
            raise AnswerError(f"not answered yet: {' '.join(missing)} Answer it, then submit")
    if isinstance(segment, Reflection):
        _check_agreement(segment, annotation.answers)
    return segment


def _segment(annotation: Annotation, trajectory: Trajectory) -> Segment:
    if not 0 <= annotation.segment < len(trajectory.segments):
        raise AnswerError(
            f"got segment {annotation.segment}; this trajectory has the segments 0 to {len(trajectory.segments) - 1}"
        )
    segment = trajectory.segments[annotation.segment]
    if not questions_about(segment.kind):
        raise AnswerError(
            f"segment {annotation.segment} is of kind {segment.kind}, about which nothing is asked; "
            "annotate a reflection or a thought"
        )
    if not segment.finished:
        raise AnswerError(f"the {segment.kind} in segment {annotation.segment} was not finished; skip it")
    return segment


def _check(question: Question, value: Value) -> None:
    match question.form:
        case Form.CHOICE if value not in question.choices:
            raise AnswerError(f"{question.title} Got {value!r}, wanted one of: {', '.join(question.choices)}")
        case Form.RATING if isinstance(value, bool) or not isinstance(value, int) or value not in RATINGS:
            raise AnswerError(f"{question.title} Got {value!r}, wanted a whole number from 1 to 5")
        case Form.TEXT:
            _check_text(question, value)


def _check_text(question: Question, value: Value) -> None:
    if not isinstance(value, str):
        raise AnswerError(f"{question.title} Got {value!r}, wanted text")
    if len(value) > LONGEST_TEXT:
        raise AnswerError(f"{question.title} Got {len(value)} characters, wanted at most {LONGEST_TEXT}; shorten it")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value):
        raise AnswerError(f"{question.title} The text has characters that cannot be stored; type it again")


def _check_agreement(reflection: Reflection, answers: Mapping[str, Value]) -> None:
    correction, judged = answers.get(REASON_CORRECTION), answers.get(VERDICT_RIGHT)
    if correction is None or judged is None:
        return
    said, wanted = split_verdict(str(correction))[0], right_answer(reflection, answers)
    if said is not None and said != wanted:
        raise AnswerError(
            f"the correction begins with “{said}”, but by your answer above the right verdict is “{wanted}”; "
            "change one of them"
        )


def right_answer(reflection: Reflection, answers: Mapping[str, Value]) -> str:
    """The verdict that the annotator holds right: “yes” or “no”. A wrong verdict makes its opposite right."""
    if answers[VERDICT_RIGHT] == YES:
        return reflection.answer
    return NO if reflection.answer == YES else YES
