"""Scores of drawings from 0 to 1: mean ratings, the share of people who accept the drawing, and the share who say that
a fact of its checklist holds, fact by fact and in the mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import Context, Excluded
from annotations.export.labels.aggregated_answers import (
    AggregatedAnswer,
    aggregate_answers,
    answered_questions,
    votes_by_part,
)
from annotations.export.labels.drawings import drawing_of, is_drawn, speaks_of_drawings
from annotations.schema.annotation import right_answer
from annotations.schema.forms.facts import VERDICT as FACTS_VERDICT
from annotations.schema.forms.facts import Facts, score_of
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.rating import Rating
from annotations.schema.questions import VERDICT_RIGHT, YES, Question
from model.trajectory import Reflection

VERDICT = "verdict"  # the criterion of what follows from verdicts


@dataclass(frozen=True)
class DrawingScore:
    """Of the finished image in a segment."""

    segment: int
    criterion: str  # the name of a question, or VERDICT
    mean: float
    deviation: float
    aggregated: AggregatedAnswer
    fact: str = ""  # of which it is, where it is not of the whole prompt


def is_scored(question: Question) -> bool:
    """Whether answers to a question score drawings."""
    return speaks_of_drawings(question) and not isinstance(question.form, Preference)


def scores(
    annotated: AnnotatedTrajectory, context: Context, *, each: bool = False
) -> Iterator[DrawingScore | Excluded]:
    """All of a trajectory; with `each`, and where the query wants all answers by themselves, one of every person."""
    for group in annotated.groups:
        for question in answered_questions(group):
            segment = drawing_of(annotated.trajectory, group, question) if is_scored(question) else None
            if segment is None or not is_drawn(annotated.trajectory.segments[segment]):
                continue
            for aggregated in aggregate_answers(group, question, context, each=each):
                if isinstance(aggregated, Excluded):
                    yield aggregated
                elif isinstance(question.form, Facts):
                    yield from _fact_scores(segment, aggregated, context)
                else:
                    yield _score(annotated, segment, aggregated)


def _fact_scores(segment: int, aggregated: AggregatedAnswer, context: Context) -> Iterator[DrawingScore]:
    """Of the whole checklist, then of each fact."""
    name = aggregated.question.name
    by_part = votes_by_part(aggregated, context)
    scores = {fact: score_of(votes.shares) for fact, votes in by_part.items() if fact != FACTS_VERDICT}
    if scores:
        mean = sum(scores.values()) / len(scores)
        deviation = math.sqrt(sum((score - mean) ** 2 for score in scores.values()) / len(scores))
        yield DrawingScore(segment, name, mean, deviation, aggregated)
    for fact, score in scores.items():
        yield DrawingScore(segment, name, score, math.sqrt(max(score * (1 - score), 0.0)), aggregated, fact)


def _score(annotated: AnnotatedTrajectory, segment: int, aggregated: AggregatedAnswer) -> DrawingScore:
    if isinstance(aggregated.question.form, Rating):
        return DrawingScore(segment, aggregated.question.name, aggregated.mean, aggregated.deviation, aggregated)
    reflection = annotated.trajectory.segments[aggregated.group.segment or 0]
    assert isinstance(reflection, Reflection)
    shares = aggregated.votes.shares.items()
    right = sum(share for label, share in shares if right_answer(reflection, {VERDICT_RIGHT: str(label)}) == YES)
    return DrawingScore(segment, VERDICT, right, math.sqrt(max(right * (1 - right), 0.0)), aggregated)
