"""Preference pairs of drawings from answers of the forms preference, best and ranking, and from ratings.

A tie is no pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import Context, Excluded, ExportedElsewhere
from annotations.export.labels.aggregated_answers import (
    AggregatedAnswer,
    aggregate_answers,
    answered_questions,
    votes_by_part,
)
from annotations.export.labels.drawings import is_drawn, last_image
from annotations.export.labels.pair import ImageRef, Pair, PairExclusion, pair_of
from annotations.export.labels.rated_pairs import is_rated, rated_pairs
from annotations.schema.forms.best import Best
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.ranking import Ranking, two_of
from annotations.schema.question_targets import PAIR
from annotations.schema.questions import Question


def is_compared(question: Question) -> bool:
    """Whether answers to a question prefer a drawing to another."""
    return isinstance(question.form, Preference | Best | Ranking) or is_rated(question)


def pairs(annotated: AnnotatedTrajectory, context: Context) -> Iterator[Pair | Excluded | ExportedElsewhere]:
    """All of a trajectory."""
    for group in annotated.groups:
        for question in answered_questions(group, Preference, Best, Ranking):
            for aggregated in aggregate_answers(group, question, context, each=True):
                if isinstance(aggregated, Excluded):
                    yield aggregated
                elif question.segment == PAIR:
                    yield _preferred(annotated, aggregated, context)
                elif isinstance(question.form, Ranking):
                    yield from _ranked(annotated, aggregated, context)
                else:
                    yield from _best(annotated, aggregated, context)
    yield from rated_pairs(annotated, context)


def _preferred(annotated: AnnotatedTrajectory, aggregated: AggregatedAnswer, context: Context) -> Pair | Excluded:
    group, votes = aggregated.group, aggregated.votes
    if group.other is None:
        return Excluded(PairExclusion.GONE, aggregated.answers)
    if votes.label in ("tie", "both_bad"):
        return Excluded(PairExclusion.TIE if votes.label == "tie" else PairExclusion.BOTH_BAD, aggregated.answers)
    problem = aggregated.problem(context.query)
    if problem is not None:
        return Excluded(problem, aggregated.answers)
    first, second = (annotated.trajectory, group.other)
    chosen, rejected = (first, second) if votes.label == first.id else (second, first)
    better, worse = last_image(chosen), last_image(rejected)
    if better is None or worse is None:
        return Excluded(PairExclusion.UNFINISHED, aggregated.answers)
    sides: list[Any] = [person.answers[aggregated.question.name] for person in aggregated.people]
    shown_left = sum(side["left"] == chosen.id for side in sides) / len(sides)
    margin = votes.shares[votes.label] - votes.shares.get(rejected.id, 0.0)
    return pair_of(aggregated, ImageRef(chosen, better), ImageRef(rejected, worse), margin, shown_left)


def _best(annotated: AnnotatedTrajectory, aggregated: AggregatedAnswer, context: Context) -> Iterator[Pair | Excluded]:
    """The best image against every other of its trajectory."""
    problem = aggregated.problem(context.query)
    if problem is not None:
        yield Excluded(problem, aggregated.answers)
        return
    trajectory, votes = annotated.trajectory, aggregated.votes
    best = int(str(votes.label))
    others = [at for at, segment in enumerate(trajectory.segments) if is_drawn(segment) and at != best]
    made = [
        pair_of(
            aggregated,
            ImageRef(trajectory, best),
            ImageRef(trajectory, other),
            votes.shares[votes.label] - votes.shares.get(other, 0.0),
        )
        for other in others
    ]
    count = sum(isinstance(pair, Pair) for pair in made)
    yield from (replace(pair, weight=1 / count) if isinstance(pair, Pair) else pair for pair in made)
    if not made:
        yield Excluded(PairExclusion.ALONE, aggregated.answers)


def _ranked(
    annotated: AnnotatedTrajectory, aggregated: AggregatedAnswer, context: Context
) -> Iterator[Pair | Excluded]:
    """Every two images, by the people who put one before the other; together they weigh like one preference."""
    by_two = votes_by_part(aggregated, context).items()
    made = [_first_of_two(annotated, replace(aggregated, votes=votes), two_of(part), context) for part, votes in by_two]
    some = [each for each in made if isinstance(each, Pair)]
    yield from (replace(pair, weight=1 / len(some)) for pair in some)
    if not some:
        reasons = [each for each in made if isinstance(each, Excluded)]
        yield from reasons[:1] or [Excluded(PairExclusion.ALONE, aggregated.answers)]


def _first_of_two(
    annotated: AnnotatedTrajectory, aggregated: AggregatedAnswer, two: tuple[int, int], context: Context
) -> Pair | Excluded:
    """The image of `two` segments for which most voted, before the other."""
    problem = aggregated.problem(context.query)
    if problem is not None:
        return Excluded(problem, aggregated.answers)
    votes = aggregated.votes
    better, worse = two if votes.label == two[0] else two[::-1]
    margin = votes.shares[votes.label] - votes.shares.get(worse, 0.0)
    return pair_of(aggregated, ImageRef(annotated.trajectory, better), ImageRef(annotated.trajectory, worse), margin)
