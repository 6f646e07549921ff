"""Pairs of drawings of one prompt by their ratings.

Two images of a trajectory are compared by the people who rated both. Images of different trajectories are compared by
their aggregated ratings, which have to differ by `Query.min_rating_difference`: other people rated them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from annotations.export.kind import Context, Elsewhere, LeftOut
from annotations.export.labels.drawings import drawing_of, is_drawn
from annotations.export.labels.opinions import Opinion, Why, asked, opinions
from annotations.export.labels.pair import Pair, Place, WhyNoPair, pair_of
from annotations.export.query import Aggregation
from annotations.export.subjects import AnswerGroup, Subject
from annotations.schema.annotation import Annotation
from annotations.schema.forms.rating import Rating
from annotations.schema.questions import Question
from annotations.schema.subjects import WHOLE
from model.trajectory import Image

EQUAL = 1e-9
ACROSS = "rating_across"  # the source of a pair of two trajectories


@dataclass(frozen=True)
class RatedDrawing:
    """A drawing and what people think of it by one question."""

    place: Place
    opinion: Opinion

    @property
    def criterion(self) -> tuple[str, str]:
        return self.opinion.group.project.id, self.opinion.question.name

    def is_comparable(self, other: RatedDrawing, context: Context) -> bool:
        """Whether both were rated by one question; by one person, where every answer stands by itself."""
        if self.criterion != other.criterion:
            return False
        if context.query.aggregation is not Aggregation.ALL or self.opinion.decided or other.opinion.decided:
            return True
        return self.opinion.people[0].annotator == other.opinion.people[0].annotator


def is_rated(question: Question) -> bool:
    """Whether its answers rate drawings."""
    return isinstance(question.form, Rating) and question.segment in (Image.kind, WHOLE)


def rated_pairs(subject: Subject, context: Context) -> Iterator[Pair | LeftOut | Elsewhere]:
    """All of a subject's own images, and with those of trajectories before it. Pairs with those after it are told as
    answers that are elsewhere; an answer in any pair is in no reason."""
    made = list(_within(subject, context))
    own = _rated_drawings(subject, context)
    drawings = [each for each in own if isinstance(each, RatedDrawing)]
    others = context.same_prompt(subject) if drawings else ()
    reasons: list[LeftOut] = [each for each in own if isinstance(each, LeftOut)]
    later: list[Pair] = []
    for other in others:
        for theirs in _rated_drawings(other, context):
            for mine in drawings:
                if isinstance(theirs, RatedDrawing) and mine.is_comparable(theirs, context):
                    pair = _across(mine, theirs, context)
                    if isinstance(pair, LeftOut):
                        reasons.append(LeftOut(pair.reason, mine.opinion.answers))
                    else:
                        (made if other.number < subject.number else later).append(pair)
    pairs = [each for each in made if isinstance(each, Pair)]
    used = {answer for pair in (*pairs, *later) for answer in pair.answers}
    yield from pairs
    yield Elsewhere(tuple(answer for pair in later for answer in pair.answers))
    for reason in (*(each for each in made if isinstance(each, LeftOut)), *reasons):
        if not used.issuperset(reason.answers):
            used.update(reason.answers)
            yield reason


def _rated_drawings(subject: Subject, context: Context) -> list[RatedDrawing | LeftOut]:
    drawings: list[RatedDrawing | LeftOut] = []
    for group in subject.groups:
        for question in filter(is_rated, asked(group, Rating)):
            segment = drawing_of(subject.trajectory, group, question)
            if segment is None or not is_drawn(subject.trajectory.segments[segment]):
                continue
            for opinion in opinions(group, question, context, each=True):
                place = Place(subject.trajectory, segment)
                drawings.append(opinion if isinstance(opinion, LeftOut) else RatedDrawing(place, opinion))
    return drawings


def _across(first: RatedDrawing, second: RatedDrawing, context: Context) -> Pair | LeftOut:
    """The agreement is the share of all pairs of a vote for each in which the better one is rated higher."""
    difference = first.opinion.mean - second.opinion.mean
    high, low = (first, second) if difference > 0 else (second, first)
    answers = (*high.opinion.answers, *low.opinion.answers)
    if abs(difference) <= EQUAL:
        return LeftOut(WhyNoPair.TIE, answers)
    if abs(difference) < context.query.min_rating_difference - EQUAL:
        return LeftOut(WhyNoPair.TOO_CLOSE, answers)
    above, below = (
        [(float(str(value)), share) for value, share in each.opinion.votes.shares.items()] for each in (high, low)
    )
    agreement = sum(a * b for better, a in above for worse, b in below if better > worse)
    if agreement < context.query.min_agreement:
        return LeftOut(Why.TOO_FEW_AGREE, answers)
    pair = pair_of(high.opinion, high.place, low.place, abs(difference))
    if isinstance(pair, LeftOut):
        return replace(pair, answers=answers)
    people = (*high.opinion.people, *low.opinion.people)
    count = len({person.annotator for person in people})
    return replace(pair, source=ACROSS, people=people, answers=answers, votes=count, agreement=agreement)


def _within(subject: Subject, context: Context) -> Iterator[Pair | LeftOut]:
    """Every two images of the trajectory that the same people rated by one question."""
    segments = subject.trajectory.segments
    by_question: dict[tuple[str, str], list[tuple[AnswerGroup, Question]]] = {}
    for group in subject.groups:
        if group.segment is not None and is_drawn(segments[group.segment]):
            for question in asked(group, Rating):
                by_question.setdefault((group.project.id, question.name), []).append((group, question))
    for some in by_question.values():
        for (group, question), (other, _) in combinations(some, 2):
            yield from _higher(subject, group, other, question, context)


def _higher(
    subject: Subject, group: AnswerGroup, other: AnswerGroup, question: Question, context: Context
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
    pair = pair_of(high, chosen, rejected, abs(difference))
    return (
        replace(pair, answers=answers)
        if isinstance(pair, LeftOut)
        else replace(pair, answers=answers, votes=len(ratings), agreement=agreement)
    )


def _ratings(group: AnswerGroup, question: Question) -> dict[str, Annotation]:
    """By annotator, who rated it; under no name the reviewer alone, where one decided."""
    if group.decision is not None and question.name in group.decision.answers:
        return {"": group.decision}
    return {person.annotator: person for person in group.people if question.name in person.answers}


def _opinion(group: AnswerGroup, question: Question, people: list[Annotation], context: Context) -> Opinion:
    votes = context.votes(replace(group, people=tuple(p for p in people if p is not group.decision)), question.name)
    assert votes is not None
    return Opinion(group, question, votes, tuple(people))
