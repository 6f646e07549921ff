"""Questions of a project, and the default questions.

What people can be asked about is in `question_targets`, the forms of answers in `forms`. Imports nothing of storage or
of pages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from annotations.errors import AnswerError, ProjectError
from annotations.schema.field_types import is_storable
from annotations.schema.forms.choice import Choice
from annotations.schema.forms.question_form import QuestionForm
from annotations.schema.forms.rating import Rating
from annotations.schema.forms.registry import OPTIONS, form_of
from annotations.schema.forms.text import LONGEST_TEXT, Text
from annotations.schema.question_targets import QUESTION_TARGETS
from model.reflection_text import is_blank
from model.trajectory import Reflection, Thought, Trajectory

YES, NO = "yes", "no"


@dataclass(frozen=True)
class Question:
    """One question about one thing. `required` holds for what is submitted, not for what is unfinished."""

    name: str
    segment: str  # what it is asked about: a kind of segment, WHOLE trajectory, or PAIR of them
    form: QuestionForm
    title: str
    help: str = ""
    required: bool = False

    def check(self, value: Any, trajectory: Trajectory, other: Trajectory | None = None) -> None:
        """Raises AnswerError for what is no answer, with what was got and what was wanted. `other` is the second
        trajectory of a pair.
        """
        try:
            expected = self.form.expected(value, trajectory, other)
        except AnswerError as error:
            raise AnswerError(f"{self.title} {error}") from error
        if expected is not None:
            raise AnswerError(f"{self.title} Got {_short(value)}, wanted {expected}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the form by its name, its options beside."""
        return vars(self) | {"form": self.form.name, "choices": []} | self.form.options()

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Question":
        """Raises ProjectError for what is no question."""
        try:
            own = {name: value for name, value in row.items() if name not in OPTIONS}
            return Question(**own | {"form": form_of(row)})
        except (KeyError, TypeError, ValueError) as error:
            raise ProjectError(f"got {row!r} as a question, wanted name, segment, form and title: {error}") from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


VERDICT_RIGHT = "verdict_right"
REASON_RATING = "reason_rating"
REASON_CORRECTION = "reason_correction"
EDIT = "edit"
THOUGHT_RATING = "thought_rating"
THOUGHT_CORRECTION = "thought_correction"

QUESTIONS = (
    Question(
        VERDICT_RIGHT,
        Reflection.kind,
        Choice((YES, NO)),
        "Is the verdict right?",
        "Look at the picture and the prompt only: is the model’s yes or no the right answer?",
        required=True,
    ),
    Question(
        REASON_RATING,
        Reflection.kind,
        Rating(),
        "How good is the reason?",
        "1: wrong or about something else. 3: true but incomplete. 5: true, complete and to the point.",
    ),
    Question(
        REASON_CORRECTION,
        Reflection.kind,
        Text(),
        "What should the reason be?",
        "The whole reason, without the yes or no. A wrong verdict needs one to become a training example.",
    ),
    Question(
        THOUGHT_RATING,
        Thought.kind,
        Rating(),
        "How good is the plan?",
        "1: it contradicts the prompt. 5: a picture drawn from it would match the prompt.",
        required=True,
    ),
    Question(
        THOUGHT_CORRECTION, Thought.kind, Text(), "What should the plan be?", "The whole plan, in the model’s own form."
    ),
)
EDIT_QUESTION = Question(
    EDIT,
    Reflection.kind,
    Text(),
    "What should be changed?",
    "One instruction for the next image, such as: make the second apple red. Nothing where the image is right.",
)
SKIP_REASON = Question("skip_reason", "", Text(), "Why do you skip it?")  # may come with what is not submitted


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
            raise ProjectError(f"the question “{question.title.strip() or question.name}” {problem}")


def _problem(question: Question) -> str | None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", question.name) or question.name == SKIP_REASON.name:
        return "wants another name: at most 40 small letters, digits and _, such as reason_rating"
    if question.segment not in QUESTION_TARGETS:
        return f"is about a “{question.segment}”; wanted one of: {', '.join(QUESTION_TARGETS)}"
    if is_blank(question.title):
        return "has no title, which is what people read"
    texts = (question.title, question.help, *getattr(question.form, "choices", ()))
    if not all(map(is_storable, texts)) or max(map(len, texts)) > LONGEST_TEXT:
        return f"has a text that cannot be stored; wanted at most {LONGEST_TEXT:,} plain characters"
    return question.form.problem(question.segment)
