"""What annotators are asked, as data: a page builds its form from it, `annotation.validate` checks answers
with it.

Knows the kinds of segments people can be asked about; nothing of storage or of pages.
"""

from dataclasses import dataclass
from enum import StrEnum

from model.trajectory import Reflection, Thought

YES, NO = "yes", "no"
LONGEST_TEXT = 2000  # characters


class Form(StrEnum):
    """What an answer looks like."""

    CHOICE = "choice"  # one of `choices`
    RATING = "rating"  # a whole number from 1 to 5
    TEXT = "text"  # at most LONGEST_TEXT characters


@dataclass(frozen=True)
class Question:
    """One question about one segment. `required` holds for what is submitted, not for what is unfinished."""

    name: str
    segment: str  # the kind of segment it is asked about
    form: Form
    title: str
    help: str
    required: bool = False
    choices: tuple[str, ...] = ()


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


def questions_about(segment: str) -> tuple[Question, ...]:
    """The questions about segments of this kind, in the order they are asked; none for images and sources."""
    return tuple(question for question in QUESTIONS if question.segment == segment)
