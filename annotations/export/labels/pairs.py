"""Pairs of drawings of which people prefer one: by preference, by the best of several, by their order, by ratings.

A tie is no pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from annotations.export.kind import Context, Elsewhere, LeftOut
from annotations.export.labels.drawings import is_drawn, last_image
from annotations.export.labels.opinions import Opinion, asked, opinions, votes_by_part
from annotations.export.labels.pair import Pair, Place, WhyNoPair, pair_of
from annotations.export.labels.rated_pairs import is_rated, rated_pairs
from annotations.export.subjects import Subject
from annotations.schema.forms.best import Best
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.ranking import Ranking, two_of
from annotations.schema.questions import Question
from annotations.schema.subjects import PAIR


def is_compared(question: Question) -> bool:
    """Whether answers to a question prefer a drawing to another."""
    return isinstance(question.form, Preference | Best | Ranking) or is_rated(question)


def pairs(subject: Subject, context: Context) -> Iterator[Pair | LeftOut | Elsewhere]:
    """All of a subject."""
    for group in subject.groups:
        for question in asked(group, Preference, Best, Ranking):
            for opinion in opinions(group, question, context, each=True):
                if isinstance(opinion, LeftOut):
                    yield opinion
                elif question.segment == PAIR:
                    yield _preferred(subject, opinion, context)
                elif isinstance(question.form, Ranking):
                    yield from _ranked(subject, opinion, context)
                else:
                    yield from _best(subject, opinion, context)
    yield from rated_pairs(subject, context)


def _preferred(subject: Subject, opinion: Opinion, context: Context) -> Pair | LeftOut:
    group, votes = opinion.group, opinion.votes
    if group.other is None:
        return LeftOut(WhyNoPair.GONE, opinion.answers)
    if votes.label in ("tie", "both_bad"):
        return LeftOut(WhyNoPair.TIE if votes.label == "tie" else WhyNoPair.BOTH_BAD, opinion.answers)
    problem = opinion.problem(context.query)
    if problem is not None:
        return LeftOut(problem, opinion.answers)
    first, second = (subject.trajectory, group.other)
    chosen, rejected = (first, second) if votes.label == first.id else (second, first)
    better, worse = last_image(chosen), last_image(rejected)
    if better is None or worse is None:
        return LeftOut(WhyNoPair.UNFINISHED, opinion.answers)
    sides: list[Any] = [person.answers[opinion.question.name] for person in opinion.people]
    shown_left = sum(side["left"] == chosen.id for side in sides) / len(sides)
    margin = votes.shares[votes.label] - votes.shares.get(rejected.id, 0.0)
    return pair_of(opinion, Place(chosen, better), Place(rejected, worse), margin, shown_left)


def _best(subject: Subject, opinion: Opinion, context: Context) -> Iterator[Pair | LeftOut]:
    """The best image against every other of its trajectory."""
    problem = opinion.problem(context.query)
    if problem is not None:
        yield LeftOut(problem, opinion.answers)
        return
    trajectory, votes = subject.trajectory, opinion.votes
    best = int(str(votes.label))
    others = [at for at, segment in enumerate(trajectory.segments) if is_drawn(segment) and at != best]
    made = [
        pair_of(
            opinion,
            Place(trajectory, best),
            Place(trajectory, other),
            votes.shares[votes.label] - votes.shares.get(other, 0.0),
        )
        for other in others
    ]
    count = sum(isinstance(pair, Pair) for pair in made)
    yield from (replace(pair, weight=1 / count) if isinstance(pair, Pair) else pair for pair in made)
    if not made:
        yield LeftOut(WhyNoPair.ALONE, opinion.answers)


def _ranked(subject: Subject, opinion: Opinion, context: Context) -> Iterator[Pair | LeftOut]:
    """Every two images, by the people who put one before the other; together they weigh like one preference."""
    by_two = votes_by_part(opinion, context).items()
    made = [_first_of_two(subject, replace(opinion, votes=votes), two_of(part), context) for part, votes in by_two]
    some = [each for each in made if isinstance(each, Pair)]
    yield from (replace(pair, weight=1 / len(some)) for pair in some)
    if not some:
        reasons = [each for each in made if isinstance(each, LeftOut)]
        yield from reasons[:1] or [LeftOut(WhyNoPair.ALONE, opinion.answers)]


def _first_of_two(subject: Subject, opinion: Opinion, two: tuple[int, int], context: Context) -> Pair | LeftOut:
    """The image of `two` segments for which most voted, before the other."""
    problem = opinion.problem(context.query)
    if problem is not None:
        return LeftOut(problem, opinion.answers)
    votes = opinion.votes
    better, worse = two if votes.label == two[0] else two[::-1]
    margin = votes.shares[votes.label] - votes.shares.get(worse, 0.0)
    return pair_of(opinion, Place(subject.trajectory, better), Place(subject.trajectory, worse), margin)
