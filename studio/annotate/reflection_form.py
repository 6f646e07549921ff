"""The reflection form: fields, and annotations from its values.

Knows trajectories and questions. No store, no page: `handlers` shows an `Item`, and gets back its token and an
`Answer`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

from annotations.errors import AnswerError
from annotations.schema.annotation import Annotation, right_answer
from annotations.schema.questions import (
    NO,
    REASON_CORRECTION,
    REASON_RATING,
    THOUGHT_CORRECTION,
    THOUGHT_RATING,
    VERDICT_RIGHT,
)
from model.trajectory import Reflection, Thought, Trajectory
from studio.annotate.item_token import ItemToken


@dataclass(frozen=True)
class Item:
    """What is on the table: a reflection, the thought behind its image, and the key of this showing."""

    item: int  # of the queue
    project: str
    trajectory_id: str
    segment: int  # of the reflection
    opposite: str  # the verdict that is right if the model's is wrong: “yes” or “no”
    thought: int | None  # segment of the plan, where there is one
    key: str
    shown_at: float  # seconds since the epoch

    @property
    def showing(self) -> ItemToken:
        return ItemToken(self.item, self.segment, self.key, self.shown_at)

    def token(self) -> str:
        return self.showing.token()


class Answer(NamedTuple):
    """The fields of the form, as a page sends them; None and blank text are no answers."""

    verdict: str | None = None
    rating: int | None = None
    reason: str | None = None
    plan_rating: int | None = None
    plan: str | None = None


def reflections_of(trajectory: Trajectory) -> list[int]:
    """The segments that can be asked about."""
    return [i for i, s in enumerate(trajectory.segments) if isinstance(s, Reflection) and s.finished]


def open_item(item: int, project: str, trajectory: Trajectory, segment: int) -> Item:
    """A showing of one reflection, with the last thought since the reflection before it."""
    reflection = trajectory.segments[segment]
    before = reversed(list(enumerate(trajectory.segments[:segment])))
    since = takewhile(lambda pair: not isinstance(pair[1], Reflection), before)
    thought = next((i for i, s in since if isinstance(s, Thought) and s.finished), None)
    opposite = right_answer(reflection, {VERDICT_RIGHT: NO})
    begun = ItemToken.begin(item, segment)
    return Item(item, project, trajectory.id, segment, opposite, thought, begun.key, begun.shown_at)


def shown_again(showing: ItemToken, project: str, trajectory: Trajectory) -> Item:
    """The showing that a token names. Raises AnswerError where it names none."""
    if showing.segment not in reflections_of(trajectory):
        raise AnswerError("this page shows something that is not asked about any more; load it again")
    made = open_item(showing.item, project, trajectory, showing.segment)
    return replace(made, key=showing.key, shown_at=showing.shown_at)


def annotations_of(item: Item, trajectory: Trajectory, annotator: str, answer: Answer) -> list[Annotation]:
    """One annotation of the reflection, and one of the thought where anything was said of it.

    Raises AnswerError where the verdict is called wrong and nothing says what it should have been.
    """
    made = unfinished(item, trajectory, annotator, answer, f"{item.key}-")
    if answer.verdict == NO and REASON_CORRECTION not in made[0].answers:
        raise AnswerError("A wrong verdict has a wrong reason: write what it should have said, or skip this drawing.")
    return made


def unfinished(item: Item, trajectory: Trajectory, annotator: str, answer: Answer, key: str) -> list[Annotation]:
    """The same, of a form that is not filled in yet; `key` begins theirs."""
    reflection = trajectory.segments[item.segment]
    correction = rewritten(answer.reason, reflection.reason)
    rating = answer.rating if reflection.reason.strip() else None  # a reason that is not there has no rating
    said = {VERDICT_RIGHT: answer.verdict, REASON_RATING: rating, REASON_CORRECTION: correction}
    made = [
        Annotation(item.trajectory_id, item.segment, annotator, said, seconds=item.showing.seconds(), key=f"{key}r")
    ]
    if item.thought is not None:
        plan = rewritten(answer.plan, trajectory.segments[item.thought].text)
        if answer.plan_rating is not None or plan is not None:
            told = {THOUGHT_RATING: answer.plan_rating, THOUGHT_CORRECTION: plan}
            made.append(Annotation(item.trajectory_id, item.thought, annotator, told, key=f"{key}t"))
    return made


def rewritten(text: str | None, original: str) -> str | None:
    """The text as a person wrote it, or None where it is the model's own, or blank."""
    words = (text or "").split()
    return None if not words or words == original.split() else text
