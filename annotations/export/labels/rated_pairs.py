"""Preference pairs of drawings of one prompt, from the difference of their ratings.

Two images of a trajectory are compared by the people who rated both. Images of different trajectories are compared by
their aggregated ratings, which have to differ by `Query.min_rating_difference`: other people rated them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup
from annotations.export.kind import Context, Excluded, ExportedElsewhere
from annotations.export.labels.aggregated_answers import (
    AggregatedAnswer,
    AnswerExclusion,
    aggregate_answers,
    answered_questions,
)
from annotations.export.labels.drawings import drawing_of, is_drawn
from annotations.export.labels.pair import ImageRef, Pair, PairExclusion, pair_of
from annotations.export.query import Aggregation
from annotations.schema.annotation import Annotation
from annotations.schema.forms.rating import Rating
from annotations.schema.question_targets import WHOLE
from annotations.schema.questions import Question
from model.trajectory import Image

EQUAL = 1e-9
ACROSS = "rating_across"  # the source of a pair of two trajectories


@dataclass(frozen=True)
class RatedDrawing:
    """A drawing and what people think of it by one question."""

    image: ImageRef
    aggregated: AggregatedAnswer

    @property
    def criterion(self) -> tuple[str, str]:
        return self.aggregated.group.project.id, self.aggregated.question.name

    def is_comparable(self, other: RatedDrawing, context: Context) -> bool:
        """Whether both were rated by one question; by one person, where every answer stands by itself."""
        if self.criterion != other.criterion:
            return False
        if context.query.aggregation is not Aggregation.ALL or self.aggregated.decided or other.aggregated.decided:
            return True
        return self.aggregated.people[0].annotator == other.aggregated.people[0].annotator


def is_rated(question: Question) -> bool:
    """Whether its answers rate drawings."""
    return isinstance(question.form, Rating) and question.segment in (Image.kind, WHOLE)


def rated_pairs(annotated: AnnotatedTrajectory, context: Context) -> Iterator[Pair | Excluded | ExportedElsewhere]:
    """Pairs of a trajectory's own images, and of these with images of earlier trajectories. Pairs with later ones are
    yielded as exported elsewhere; an answer that is in any pair is in no exclusion."""
    made = list(_within(annotated, context))
    own = _rated_drawings(annotated, context)
    drawings = [each for each in own if isinstance(each, RatedDrawing)]
    others = context.same_prompt(annotated) if drawings else ()
    reasons: list[Excluded] = [each for each in own if isinstance(each, Excluded)]
    later: list[Pair] = []
    for other in others:
        for theirs in _rated_drawings(other, context):
            for mine in drawings:
                if isinstance(theirs, RatedDrawing) and mine.is_comparable(theirs, context):
                    pair = _across(mine, theirs, context)
                    if isinstance(pair, Excluded):
                        reasons.append(Excluded(pair.reason, mine.aggregated.answers))
                    else:
                        (made if other.number < annotated.number else later).append(pair)
    pairs = [each for each in made if isinstance(each, Pair)]
    used = {answer for pair in (*pairs, *later) for answer in pair.answers}
    yield from pairs
    yield ExportedElsewhere(tuple(answer for pair in later for answer in pair.answers))
    for reason in (*(each for each in made if isinstance(each, Excluded)), *reasons):
        if not used.issuperset(reason.answers):
            used.update(reason.answers)
            yield reason


def _rated_drawings(annotated: AnnotatedTrajectory, context: Context) -> list[RatedDrawing | Excluded]:
    drawings: list[RatedDrawing | Excluded] = []
    for group in annotated.groups:
        for question in filter(is_rated, answered_questions(group, Rating)):
            segment = drawing_of(annotated.trajectory, group, question)
            if segment is None or not is_drawn(annotated.trajectory.segments[segment]):
                continue
            for aggregated in aggregate_answers(group, question, context, each=True):
                image = ImageRef(annotated.trajectory, segment)
                drawings.append(aggregated if isinstance(aggregated, Excluded) else RatedDrawing(image, aggregated))
    return drawings


def _across(first: RatedDrawing, second: RatedDrawing, context: Context) -> Pair | Excluded:
    """The agreement is the share of all pairs of a vote for each in which the better one is rated higher."""
    difference = first.aggregated.mean - second.aggregated.mean
    high, low = (first, second) if difference > 0 else (second, first)
    answers = (*high.aggregated.answers, *low.aggregated.answers)
    if abs(difference) <= EQUAL:
        return Excluded(PairExclusion.TIE, answers)
    if abs(difference) < context.query.min_rating_difference - EQUAL:
        return Excluded(PairExclusion.TOO_CLOSE, answers)
    above, below = (
        [(float(str(value)), share) for value, share in each.aggregated.votes.shares.items()] for each in (high, low)
    )
    agreement = sum(a * b for better, a in above for worse, b in below if better > worse)
    if agreement < context.query.min_agreement:
        return Excluded(AnswerExclusion.TOO_FEW_AGREE, answers)
    pair = pair_of(high.aggregated, high.image, low.image, abs(difference))
    if isinstance(pair, Excluded):
        return replace(pair, answers=answers)
    people = (*high.aggregated.people, *low.aggregated.people)
    count = len({person.annotator for person in people})
    return replace(pair, source=ACROSS, people=people, answers=answers, votes=count, agreement=agreement)


def _within(annotated: AnnotatedTrajectory, context: Context) -> Iterator[Pair | Excluded]:
    """Every two images of the trajectory that the same people rated by one question."""
    segments = annotated.trajectory.segments
    by_question: dict[tuple[str, str], list[tuple[AnswerGroup, Question]]] = {}
    for group in annotated.groups:
        if group.segment is not None and is_drawn(segments[group.segment]):
            for question in answered_questions(group, Rating):
                by_question.setdefault((group.project.id, question.name), []).append((group, question))
    for some in by_question.values():
        for (group, question), (other, _) in combinations(some, 2):
            yield from _higher(annotated, group, other, question, context)


def _higher(
    annotated: AnnotatedTrajectory, group: AnswerGroup, other: AnswerGroup, question: Question, context: Context
) -> Iterator[Pair | Excluded]:
    """The image that is rated higher, by the mean of the people who rated both."""
    first, second = _ratings(group, question), _ratings(other, question)
    both = [name for name in first if name in second]
    apart = context.query.aggregation is Aggregation.ALL
    for names in [[name] for name in both] if apart else [both] if both else []:
        yield _compared(
            annotated,
            _aggregated(group, question, [first[name] for name in names], context),
            _aggregated(other, question, [second[name] for name in names], context),
            context,
        )


def _compared(
    annotated: AnnotatedTrajectory, first: AggregatedAnswer, second: AggregatedAnswer, context: Context
) -> Pair | Excluded:
    """Both of the same people in the same order."""
    answers = (*first.answers, *second.answers)
    difference = first.mean - second.mean
    if abs(difference) <= EQUAL:
        return Excluded(PairExclusion.TIE, answers)
    high, low = (first, second) if difference > 0 else (second, first)
    name = high.question.name
    ratings = [tuple(float(str(p.answers[name])) for p in two) for two in zip(high.people, low.people, strict=True)]
    agreement = sum(better > worse for better, worse in ratings) / len(ratings)
    if agreement < context.query.min_agreement:
        return Excluded(AnswerExclusion.TOO_FEW_AGREE, answers)
    chosen, rejected = (ImageRef(annotated.trajectory, aggregated.group.segment or 0) for aggregated in (high, low))
    pair = pair_of(high, chosen, rejected, abs(difference))
    return (
        replace(pair, answers=answers)
        if isinstance(pair, Excluded)
        else replace(pair, answers=answers, votes=len(ratings), agreement=agreement)
    )


def _ratings(group: AnswerGroup, question: Question) -> dict[str, Annotation]:
    """The ratings by annotator; where a reviewer decided, the decision alone, under an empty name."""
    if group.decision is not None and question.name in group.decision.answers:
        return {"": group.decision}
    return {person.annotator: person for person in group.people if question.name in person.answers}


def _aggregated(group: AnswerGroup, question: Question, people: list[Annotation], context: Context) -> AggregatedAnswer:
    votes = context.votes(replace(group, people=tuple(p for p in people if p is not group.decision)), question.name)
    assert votes is not None
    return AggregatedAnswer(group, question, votes, tuple(people))
