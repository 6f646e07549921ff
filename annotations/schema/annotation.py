"""An annotation: one person's answers about a segment, a trajectory or a pair, validated.

Knows questions and trajectories; no database. Whoever stores an annotation calls `validate` first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from annotations.errors import AnswerError
from annotations.schema.question_targets import PAIR, WHOLE
from annotations.schema.questions import (
    NO,
    QUESTIONS,
    REASON_CORRECTION,
    SKIP_REASON,
    VERDICT_RIGHT,
    YES,
    Question,
    questions_about,
)
from model.examples import is_number
from model.reflection_text import is_blank, split_verdict
from model.trajectory import Reflection, Trajectory

Value = str | int | float | tuple["Value", ...] | Mapping[str, "Value"]
IMPORTED_KEY_PREFIX = "imported "  # of the keys of annotations that came with an imported file
REFLECTIONS = "reflections"  # id of the project that every finished drawing with a reflection belongs to


class Status(StrEnum):
    """How far an annotation is."""

    UNFINISHED = "unfinished"  # begun, kept, counts for nothing
    SUBMITTED = "submitted"
    DISCARDED = "discarded"  # this person will not answer


DONE = (Status.SUBMITTED, Status.DISCARDED)


class Decision(StrEnum):
    """What a reviewer's decision makes of what people answered about the same thing."""

    ACCEPTED = "accepted"  # it repeats somebody's answers
    REJECTED = "rejected"  # it answers a question by which people are compared as nobody did
    REWRITTEN = "rewritten"  # it is made of several people's answers, or of words of its own


class Answers(Mapping[str, Value]):
    """Answers by the name of their question: read like a dict, never changed. None, blank text and empty lists
    are no answers; a list becomes a tuple.
    """

    __slots__ = ("_pairs",)

    def __init__(self, values: Mapping[str, Value | None] | None = None) -> None:
        pairs = sorted((values or {}).items())
        self._pairs = tuple((name, _frozen(value)) for name, value in pairs if not _is_blank(value))

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

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {name: _plain(value) for name, value in self._pairs}


def _is_blank(value: Value | None) -> bool:
    return value is None or value in ((), []) or (isinstance(value, str) and is_blank(value))


def _frozen(value: Any) -> Value:
    if isinstance(value, Mapping):
        return Answers(value)
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _plain(value: Value) -> Any:
    if isinstance(value, Answers):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Annotation:
    """What one annotator said of one segment, a whole trajectory, or a pair. A mapping given as `answers` becomes
    `Answers`.

    `key` makes submitting it twice harmless; the store fills in what is empty of `item`, `key`, `id` and
    `created_at`.
    """

    trajectory_id: str  # of a pair, the first
    segment: int | None  # index into the trajectory's segments; None is about all of it, or about the pair
    annotator: str
    answers: Mapping[str, Value] = Answers()
    status: Status = Status.SUBMITTED
    seconds: float = 0.0  # spent on it
    project: str = REFLECTIONS  # id of the project it was given in
    item: int | None = field(default=None, compare=False)  # of the project; None where it is none of its items
    key: str = field(default="", compare=False)
    id: int | None = field(default=None, compare=False)  # of the revision; later ones are higher
    undoes: int | None = field(default=None, compare=False)  # the revision that this one takes back
    created_at: datetime | None = field(default=None, compare=False)  # UTC
    decision: Decision | None = field(default=None, compare=False)  # by a reviewer; None for everybody else

    def __post_init__(self) -> None:
        if not isinstance(self.answers, Answers):
            object.__setattr__(self, "answers", Answers(self.answers))
        object.__setattr__(self, "status", Status(self.status))
        object.__setattr__(self, "decision", self.decision and Decision(self.decision))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        row = dict(vars(self)) | {"answers": Answers(self.answers).to_dict(), "status": self.status.value}
        return row | {"created_at": self.created_at and self.created_at.isoformat()}

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Annotation":
        moment = row.get("created_at")
        return Annotation(**row | {"created_at": moment and datetime.fromisoformat(moment)})


def validate(
    annotation: Annotation,
    trajectory: Trajectory,
    questions: Sequence[Question] = QUESTIONS,
    other: Trajectory | None = None,
) -> str:
    """What the annotation is about: a kind of segment, a trajectory, a pair. `other` is the second of a pair.

    Raises AnswerError, which names the question.
    """
    if not annotation.annotator.strip():
        raise AnswerError("got an annotation without an annotator; sign in, or give a name")
    if not is_number(annotation.seconds) or annotation.seconds < 0:
        raise AnswerError(f"got {annotation.seconds!r:.60} seconds, wanted a number that is not negative")
    kind = _kind(annotation, trajectory, questions, other)
    asked = {question.name: question for question in questions_about(kind, questions)}
    optional = {} if annotation.status is Status.SUBMITTED else {SKIP_REASON.name: SKIP_REASON}
    for name, value in annotation.answers.items():
        question = (asked | optional).get(name)
        if question is None:
            raise AnswerError(f"“{name}” is not asked about a {kind}; the questions are {', '.join(asked)}")
        question.check(value, trajectory, other)
    if annotation.status is Status.SUBMITTED:
        missing = [
            question.title for question in asked.values() if not _is_answered(question, annotation.answers, trajectory)
        ]
        if missing:
            raise AnswerError(f"not answered yet: {' '.join(missing)} Answer it, then submit")
    segment = None if annotation.segment is None else trajectory.segments[annotation.segment]
    if isinstance(segment, Reflection):
        _check_agreement(segment, annotation.answers)
    return kind


def _is_answered(question: Question, answers: Mapping[str, Value], trajectory: Trajectory) -> bool:
    """Whether an answer that has to be there is, and none is half."""
    if question.name not in answers:
        return not question.required
    return question.form.is_complete(answers[question.name], trajectory)


def _kind(
    annotation: Annotation, trajectory: Trajectory, questions: Sequence[Question], other: Trajectory | None
) -> str:
    if annotation.segment is None:
        kind = WHOLE if other is None else PAIR
        if not questions_about(kind, questions):
            raise AnswerError(f"nothing is asked about a whole {kind}; name the segment that the answers are about")
        return kind
    if not 0 <= annotation.segment < len(trajectory.segments):
        raise AnswerError(
            f"got segment {annotation.segment}; this trajectory has the segments 0 to {len(trajectory.segments) - 1}"
        )
    segment = trajectory.segments[annotation.segment]
    if not questions_about(segment.kind, questions):
        asked = " or a ".join(dict.fromkeys(question.segment for question in questions))
        raise AnswerError(
            f"segment {annotation.segment} is of kind {segment.kind}, about which nothing is asked; annotate a {asked}"
        )
    if not segment.finished:
        raise AnswerError(f"the {segment.kind} in segment {annotation.segment} was not finished; skip it")
    return segment.kind


def _check_agreement(reflection: Reflection, answers: Mapping[str, Value]) -> None:
    correction, judged = answers.get(REASON_CORRECTION), answers.get(VERDICT_RIGHT)
    if correction is None or judged is None:
        return
    written, right = split_verdict(str(correction))[0], right_answer(reflection, answers)
    if written is not None and written != right:
        raise AnswerError(
            f"the correction begins with “{written}”, but by your answer above the right verdict is “{right}”; "
            "change one of them"
        )


def right_answer(reflection: Reflection, answers: Mapping[str, Value]) -> str:
    """The verdict that the annotator holds right: “yes” or “no”. A wrong verdict makes its opposite right."""
    if answers[VERDICT_RIGHT] == YES:
        return reflection.answer
    return NO if reflection.answer == YES else YES
