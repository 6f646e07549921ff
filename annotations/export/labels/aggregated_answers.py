"""Aggregates the answers to one question about one thing, over all people or per person.

A reviewer's decision stands for everybody who answered otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from annotations.export.aggregate.votes import Votes, vote
from annotations.export.annotated_trajectories import AnswerGroup
from annotations.export.kind import Answer, Context, Excluded
from annotations.export.query import Aggregation, Query
from annotations.schema.annotation import Annotation
from annotations.schema.forms.question_form import QuestionForm
from annotations.schema.forms.rating import Rating
from annotations.schema.questions import Question


class AnswerExclusion(StrEnum):
    """Why answers make no label."""

    OVERRULED = "a reviewer has decided instead"
    TIED = "as many say one thing as another"
    TOO_FEW_AGREE = "fewer people agree than were asked for"
    NEITHER = "rated neither good nor bad"


@dataclass(frozen=True)
class AggregatedAnswer:
    """`people`: those whose answers went into it."""

    group: AnswerGroup
    question: Question
    votes: Votes
    people: tuple[Annotation, ...]

    @property
    def answers(self) -> tuple[Answer, ...]:
        return tuple((person.id or 0, self.question.name) for person in self.people)

    @property
    def decided(self) -> bool:
        return self.group.decision in self.people

    def problem(self, query: Query) -> AnswerExclusion | None:
        """Why it has no label that counts."""
        if self.votes.label is None:
            return AnswerExclusion.TIED
        return AnswerExclusion.TOO_FEW_AGREE if self.votes.agreement < query.min_agreement else None

    @property
    def mean(self) -> float:
        """Of a rating: the mean, from 0 at the lowest end of the scale to 1."""
        return sum(share * self._normalized(label) for label, share in self.votes.shares.items())

    @property
    def deviation(self) -> float:
        """Of a rating: the standard deviation of what people said, on the same scale."""
        squares = (share * (self._normalized(label) - self.mean) ** 2 for label, share in self.votes.shares.items())
        return math.sqrt(sum(squares))

    def _normalized(self, label: Any) -> float:
        form = self.question.form
        assert isinstance(form, Rating)
        return (float(label) - form.scale[0]) / form.steps


def aggregate_answers(
    group: AnswerGroup, question: Question, context: Context, *, each: bool = False
) -> Iterator[AggregatedAnswer | Excluded]:
    """One aggregate; with `each`, and where the query wants all answers by themselves, one of every person."""
    name, decision = question.name, group.decision
    people = [person for person in group.people if name in person.answers]
    if decision is not None and name in decision.answers:
        label = question.form.comparable(decision.answers[name])
        same = [person for person in people if question.form.comparable(person.answers[name]) == label]
        overruled = tuple((person.id or 0, name) for person in people if person not in same)
        if overruled:
            yield Excluded(AnswerExclusion.OVERRULED, overruled)
        people = [decision, *same]
    elif each and context.query.aggregation is Aggregation.ALL:
        for person in people:
            label = question.form.comparable(person.answers[name])
            yield AggregatedAnswer(group, question, vote([(person.annotator, label)]), (person,))
        return
    votes = context.votes(group, name)
    if votes is not None:
        yield AggregatedAnswer(group, question, votes, tuple(people))


def votes_by_part(aggregated: AggregatedAnswer, context: Context) -> dict[str, Votes]:
    """Votes of the same people on each of the parts by which the question's form compares answers, by its name."""
    group, name, form = aggregated.group, aggregated.question.name, aggregated.question.form
    people = replace(group, people=tuple(person for person in aggregated.people if person is not group.decision))
    parts = {part for person in aggregated.people for part in form.parts(person.answers[name])}
    by_part = {part: context.votes(people, name, part) for part in sorted(parts)}
    return {part: votes for part, votes in by_part.items() if votes is not None}


def answered_questions(group: AnswerGroup, *forms: type[QuestionForm]) -> list[Question]:
    """The questions that somebody answered about this thing; of these forms, where any are given."""
    everybody = (*group.people, *([group.decision] if group.decision else []))
    answered = {name for person in everybody for name in person.answers}
    questions = [question for question in group.project.questions if question.name in answered]
    return [question for question in questions if not forms or isinstance(question.form, forms)]


def good_or_bad(value: float, query: Query) -> bool | None:
    """Whether a place on a scale from 0 to 1 is good (True) or bad (False) by the query's thresholds; None: neither."""
    if value >= query.good - 1e-9:
        return True
    return False if value <= query.bad + 1e-9 else None


def single_value(values: Iterable[Any]) -> Any:
    """The value, where all are the same; else None."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def pseudonyms(people: Sequence[Annotation], context: Context) -> tuple[str, ...]:
    return tuple(dict.fromkeys(context.pseudonym(person.annotator) for person in people))
