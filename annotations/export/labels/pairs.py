"""Pairs of drawings of which people prefer one: by preference, by the best of several, by ratings of the same people.

A tie is no pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import Any

from annotations.export.kind import Answer, Context, LeftOut
from annotations.export.labels.drawings import is_drawn, last_image
from annotations.export.labels.opinions import Opinion, Why, asked, only, opinions, pseudonyms
from annotations.export.query import Aggregation
from annotations.export.subjects import Group, Subject
from annotations.schema.annotation import Annotation
from annotations.schema.forms.best import Best
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.rating import Rating
from annotations.schema.questions import Question
from annotations.schema.subjects import PAIR
from model.trajectory import Image, Trajectory

EQUAL = 1e-9


class WhyNoPair(StrEnum):
    """Why answers prefer no drawing to another."""

    TIE = "a tie: neither is better"
    BOTH_BAD = "both are bad"
    GONE = "the other drawing was deleted"
    SAME_PICTURE = "both show the same picture"
    UNFINISHED = "a drawing has no finished image"
    ALONE = "the only drawing of its trajectory that the same people rated so"


@dataclass(frozen=True)
class Place:
    """A finished image."""

    trajectory: Trajectory
    segment: int

    @property
    def image(self) -> Image:
        image = self.trajectory.segments[self.segment]
        assert isinstance(image, Image) and image.sha256 is not None
        return image

    @property
    def sha256(self) -> str:
        return self.image.sha256 or ""


@dataclass(frozen=True)
class Pair:
    """`chosen` is better than `rejected` by `criterion`, the name of a question."""

    chosen: Place
    rejected: Place
    criterion: str
    source: str  # the form of the question
    margin: float  # of shares of votes, or of mean ratings from 0 to 1
    votes: int
    agreement: float
    group: Group
    people: tuple[Annotation, ...]
    answers: tuple[Answer, ...]
    shown_left: float | None = None  # the share of people who had the chosen one on their left; None: no sides
    weight: float = 1.0

    def beside(self, context: Context) -> dict[str, Any]:
        """The columns PROVENANCE."""
        return {
            "project": self.group.project.id,
            "trajectory_id": self.chosen.trajectory.id,
            "segment": self.chosen.segment,
            "checkpoint": self.chosen.trajectory.checkpoint,
            "annotator": only(pseudonyms(self.people, context)),
            "decided": self.group.decision in self.people,
            "votes": self.votes,
            "agreement": self.agreement,
        }

    @property
    def trajectories(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(place.trajectory.id for place in (self.chosen, self.rejected)))


def is_compared(question: Question) -> bool:
    """Whether answers to a question prefer a drawing to another."""
    return isinstance(question.form, Preference | Best) or (
        isinstance(question.form, Rating) and question.segment == Image.kind
    )


def pairs(subject: Subject, context: Context) -> Iterator[Pair | LeftOut]:
    """All of a subject."""
    for group in subject.groups:
        for question in asked(group, Preference, Best):
            for opinion in opinions(group, question, context, each=True):
                if isinstance(opinion, LeftOut):
                    yield opinion
                elif question.segment == PAIR:
                    yield _preferred(subject, opinion, context)
                else:
                    yield from _best(subject, opinion, context)
    yield from _rated(subject, context)


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
    return _pair(opinion, Place(chosen, better), Place(rejected, worse), margin, shown_left)


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
        _pair(
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


def _pair(
    opinion: Opinion, chosen: Place, rejected: Place, margin: float, shown_left: float | None = None
) -> Pair | LeftOut:
    if chosen.sha256 == rejected.sha256:
        return LeftOut(WhyNoPair.SAME_PICTURE, opinion.answers)
    name, form, votes = opinion.question.name, opinion.question.form.name, opinion.votes
    some = (votes.count, votes.agreement, opinion.group, opinion.people, opinion.answers)
    return Pair(chosen, rejected, name, form, margin, *some, shown_left)


def _rated(subject: Subject, context: Context) -> Iterator[Pair | LeftOut]:
    """Every two images of the trajectory that the same people rated by one question."""
    segments = subject.trajectory.segments
    by_question: dict[tuple[str, str], list[tuple[Group, Question]]] = {}
    for group in subject.groups:
        if group.segment is not None and is_drawn(segments[group.segment]):
            for question in asked(group, Rating):
                by_question.setdefault((group.project.id, question.name), []).append((group, question))
    for some in by_question.values():
        for (group, question), (other, _) in combinations(some, 2):
            yield from _higher(subject, group, other, question, context)


def _higher(
    subject: Subject, group: Group, other: Group, question: Question, context: Context
) -> Iterator[Pair | LeftOut]:
    """The image that is rated higher, by the mean of the people who rated both."""
    first, second = _ratings(group, question), _ratings(other, question)
    both = [name for name in first if name in second]
    apart = context.query.aggregation is Aggregation.ALL
    for names in [[name] for name in both] if apart else [both] if both else []:
        yield _compared(
            subject,
            _opinion(group, question, [first[name] for name in names], context),
            _opinion(other, question, [second[name] for name in names], context),
            context,
        )


def _compared(subject: Subject, first: Opinion, second: Opinion, context: Context) -> Pair | LeftOut:
    """Both of the same people in the same order."""
    answers = (*first.answers, *second.answers)
    difference = first.mean - second.mean
    if abs(difference) <= EQUAL:
        return LeftOut(WhyNoPair.TIE, answers)
    high, low = (first, second) if difference > 0 else (second, first)
    name = high.question.name
    ratings = [tuple(float(str(p.answers[name])) for p in two) for two in zip(high.people, low.people, strict=True)]
    agreement = sum(better > worse for better, worse in ratings) / len(ratings)
    if agreement < context.query.min_agreement:
        return LeftOut(Why.TOO_FEW_AGREE, answers)
    chosen, rejected = (Place(subject.trajectory, opinion.group.segment or 0) for opinion in (high, low))
    pair = _pair(high, chosen, rejected, abs(difference))
    return (
        replace(pair, answers=answers)
        if isinstance(pair, LeftOut)
        else replace(pair, answers=answers, votes=len(ratings), agreement=agreement)
    )


def _ratings(group: Group, question: Question) -> dict[str, Annotation]:
    """By annotator, who rated it; under no name the reviewer alone, where one decided."""
    if group.decision is not None and question.name in group.decision.answers:
        return {"": group.decision}
    return {person.annotator: person for person in group.people if question.name in person.answers}


def _opinion(group: Group, question: Question, people: list[Annotation], context: Context) -> Opinion:
    votes = context.votes(replace(group, people=tuple(p for p in people if p is not group.decision)), question.name)
    assert votes is not None
    return Opinion(group, question, votes, tuple(people))
