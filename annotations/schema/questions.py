"""Questions of a project: the forms of answers (choice, rating, text, regions …), and the default questions.

Knows the forms of answers and the kinds of things people can be asked about; nothing of storage or of pages.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from annotations.errors import ProjectError
from model.trajectory import SEGMENTS, Image, Reflection, Source, Thought

YES, NO = "yes", "no"
LONGEST_TEXT = 2000  # characters
WHOLE, PAIR = "trajectory", "pair"  # what a question is about, if not about a kind of segment
SUBJECTS = (*SEGMENTS, WHOLE, PAIR)


class Form(StrEnum):
    """What an answer looks like, as JSON."""

    CHOICE = "choice"  # one of `choices`
    RATING = "rating"  # a whole number from 1 to 5
    TEXT = "text"  # at most LONGEST_TEXT characters
    TAGS = "tags"  # some of `choices`; any short words where there are none
    REGIONS = "regions"  # boxes {x, y, w, h} and points {x, y}, fractions of the image, `label` one of `choices`
    WORDS = "words"  # indices of words of the prompt, which is split at white space
    BEST = "best"  # of several images: the segment of one of them
    PREFERENCE = "preference"  # {choice: one of PREFERENCES, left, right: ids of what stood there}


PREFERENCES = ("left", "right", "tie", "both_bad")


@dataclass(frozen=True)
class Question:
    """One question about one thing. `required` holds for what is submitted, not for what is unfinished."""

    name: str
    segment: str  # what it is asked about: a kind of segment, the whole trajectory, or a pair of them
    form: Form
    title: str
    help: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"form": self.form.value, "choices": list(self.choices)}

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Question":
        """Raises ProjectError for what is no question."""
        try:
            return Question(**row | {"form": Form(row["form"]), "choices": tuple(row.get("choices", ()))})
        except (KeyError, TypeError, ValueError) as error:
            raise ProjectError(f"got {row!r} as a question, wanted name, segment, form and title: {error}") from error


RATINGS = range(1, 6)
VERDICT_RIGHT = "verdict_right"
REASON_RATING = "reason_rating"
REASON_CORRECTION = "reason_correction"
THOUGHT_RATING = "thought_rating"
THOUGHT_CORRECTION = "thought_correction"

QUESTIONS = (
    Question(
        VERDICT_RIGHT,
        Reflection.kind,
        Form.CHOICE,
        "Is the verdict right?",
        "Look at the picture and the prompt only: is the model’s yes or no the right answer?",
        required=True,
        choices=(YES, NO),
    ),
    Question(
        REASON_RATING,
        Reflection.kind,
        Form.RATING,
        "How good is the reason?",
        "1: wrong or about something else. 3: true but incomplete. 5: true, complete and to the point.",
    ),
    Question(
        REASON_CORRECTION,
        Reflection.kind,
        Form.TEXT,
        "What should the reason be?",
        "The whole reason, without the yes or no. A wrong verdict needs one to become a training example.",
    ),
    Question(
        THOUGHT_RATING,
        Thought.kind,
        Form.RATING,
        "How good is the plan?",
        "1: it contradicts the prompt. 5: a picture drawn from it would match the prompt.",
        required=True,
    ),
    Question(
        THOUGHT_CORRECTION,
        Thought.kind,
        Form.TEXT,
        "What should the plan be?",
        "The whole plan, in the model’s own form.",
    ),
)
SKIP_REASON = Question("skip_reason", "", Form.TEXT, "Why do you skip it?")  # may come with what is not submitted


def questions_about(segment: str, questions: Sequence[Question] = QUESTIONS) -> tuple[Question, ...]:
    """The questions about things of this kind, in the order they are asked."""
    return tuple(question for question in questions if question.segment == segment)


def check_questions(questions: Sequence[Question]) -> None:
    """Raises ProjectError for questions that nobody could answer, and says which."""
    names = [question.name for question in questions]
    if not questions:
        raise ProjectError("a project without questions asks nothing; give it at least one")
    for question in questions:
        problem = _problem(question)
        if names.count(question.name) > 1:
            problem = "has a name that another has, too"
        if problem:
            raise ProjectError(f"the question “{question.name}” {problem}")


def _problem(question: Question) -> str | None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", question.name) or question.name == SKIP_REASON.name:
        return "wants another name: at most 40 small letters, digits and _, such as reason_rating"
    if question.segment not in SUBJECTS:
        return f"is about a “{question.segment}”; wanted one of: {', '.join(SUBJECTS)}"
    if not question.title.strip():
        return "has no title, which is what people read"
    if len(set(question.choices)) < len(question.choices) or not all(c.strip() for c in question.choices):
        return "has a choice that is empty or there twice"
    if question.form is Form.CHOICE and len(question.choices) < 2:
        return f"has {len(question.choices)} choices; wanted at least two"
    if question.form is Form.BEST and question.segment != WHOLE:
        return f"asks for the best of several images; ask it about the whole {WHOLE}"
    if question.form is Form.PREFERENCE and question.segment != PAIR:
        return f"compares two; ask it about a {PAIR}"
    if question.form is Form.REGIONS and question.segment not in (Image.kind, Source.kind):
        return f"asks for places in an image; ask it about an {Image.kind} or a {Source.kind}"
    return None
