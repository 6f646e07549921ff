"""Target plans: corrected by a person, rated good, or written by a person in a branch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup
from annotations.export.kind import Answer, Context, Excluded, answers_of, message, png
from annotations.export.labels.aggregated_answers import (
    AggregatedAnswer,
    AnswerExclusion,
    aggregate_answers,
    good_or_bad,
    pseudonyms,
    single_value,
)
from annotations.export.labels.drawings import DrawingLabel
from annotations.export.labels.judge_targets import JudgeExclusion
from annotations.export.query import Aggregation, Query
from annotations.schema.annotation import Annotation
from annotations.schema.questions import THOUGHT_CORRECTION, THOUGHT_RATING
from model.reflection_text import own_words
from model.templates import CHECK_TEXT, CONNECT_TEXT
from model.trajectory import Image, Origin, Reflection, Source, Thought, Trajectory, origin_of

READS = (THOUGHT_RATING, THOUGHT_CORRECTION)


class PlanSource(StrEnum):
    """Where the words of a plan come from."""

    CORRECTION = "correction"
    RATING = "rating"  # the model's, rated good
    BRANCH = "branch"  # written by a person to see what is drawn from it
    DRAWN = "drawn"  # nobody was asked about it; a drawing was made from it


class PlanExclusion(StrEnum):
    """Why what was said of a plan makes none to learn."""

    BAD = "the plan is bad, and nobody wrote a better one"
    DRAWING = "the drawing made from the plan was rejected"


@dataclass(frozen=True)
class Plan:
    """`text` should be the plan in segment `segment`."""

    segment: int
    text: str
    source: PlanSource
    origin: Origin
    people: tuple[Annotation, ...] = ()
    group: AnswerGroup | None = None  # None: of a branch that nobody was asked about
    weight: float = 1.0
    rating: float | None = None  # of the model's plan: mean, from 0 to 1

    @property
    def answers(self) -> tuple[Answer, ...]:
        return tuple(answer for person in self.people for answer in answers_of(person, READS))

    def provenance_columns(self, annotated: AnnotatedTrajectory, context: Context) -> dict[str, Any]:
        """The columns PROVENANCE."""
        return {
            "project": self.group and self.group.project.id,
            "trajectory_id": annotated.trajectory.id,
            "segment": self.segment,
            "checkpoint": annotated.trajectory.checkpoint,
            "annotator": single_value(pseudonyms(self.people, context)),
            "decided": self.group is not None and self.group.decision in self.people,
            "votes": len(self.group.people) if self.group else 0,
            "agreement": None,
        }


def plans(
    annotated: AnnotatedTrajectory, context: Context, drawings: Mapping[int, DrawingLabel]
) -> Iterator[Plan | Excluded]:
    """What people said of plans, and the plan that a person wrote to begin the branch."""
    segments = annotated.trajectory.segments
    about: set[int] = set()
    for group in annotated.groups:
        if group.segment is not None and isinstance(segments[group.segment], Thought):
            about.add(group.segment)
            yield from _said(annotated, group, context)
    branch_point = annotated.trajectory.parent
    if (
        branch_point is None
        or branch_point.segment in about
        or branch_point.segment >= len(segments)
        or is_narrowed(context.query)
    ):
        return
    thought = segments[branch_point.segment]
    if isinstance(thought, Thought) and origin_of(thought) is Origin.PERSON:
        label = drawings.get(drawing_after(annotated.trajectory, branch_point.segment) or -1)
        if label is not None and label.accepted is False:
            yield Excluded(PlanExclusion.DRAWING)
        else:
            yield Plan(branch_point.segment, thought.text.strip(), PlanSource.BRANCH, Origin.PERSON)


def _said(annotated: AnnotatedTrajectory, group: AnswerGroup, context: Context) -> Iterator[Plan | Excluded]:
    thought = annotated.trajectory.segments[group.segment or 0]
    assert isinstance(thought, Thought)
    people = group.people
    if group.decision is not None:
        agreeing = [person for person in people if _says_the_same(person, group.decision)]
        overruled = [*(person for person in people if person not in agreeing), *group.overruled]
        yield from (Excluded(AnswerExclusion.OVERRULED, answers_of(person, READS)) for person in overruled)
        people = (group.decision, *agreeing)
    made: dict[Plan, list[Annotation]] = defaultdict(list)
    for person in people:
        plan = _plan(thought, group, person, context)
        if isinstance(plan, Excluded):
            yield plan
        elif context.query.aggregation is Aggregation.ALL:
            yield replace(plan, people=(person,))
        else:
            made[plan].append(person)
    for plan, some in made.items():
        yield replace(plan, people=tuple(some), weight=1 / len(made))


def _plan(thought: Thought, group: AnswerGroup, person: Annotation, context: Context) -> Plan | Excluded:
    answers, own = answers_of(person, READS), thought.text.strip()
    rating, correction = _rating(group, person, context), str(person.answers.get(THOUGHT_CORRECTION, "")).strip()
    segment = group.segment or 0
    if correction and correction != own:
        return Plan(segment, correction, PlanSource.CORRECTION, Origin.PERSON, group=group, rating=rating)
    good = None if rating is None else good_or_bad(rating, context.query)
    if not good:
        return Excluded(PlanExclusion.BAD if good is False else AnswerExclusion.NEITHER, answers)
    origin = origin_of(thought)
    if context.query.own_words and origin is not Origin.PERSON:
        return Excluded(JudgeExclusion.OWN_WORDS, answers)
    return Plan(segment, own, PlanSource.RATING, origin, group=group, rating=rating)


def _rating(group: AnswerGroup, person: Annotation, context: Context) -> float | None:
    """The mean rating of the plan; the person's own where all answers are wanted by themselves."""
    question = next((q for q in group.project.questions if q.name == THOUGHT_RATING), None)
    if question is None:
        return None
    for aggregated in aggregate_answers(group, question, context, each=True):
        together = context.query.aggregation is not Aggregation.ALL
        if isinstance(aggregated, AggregatedAnswer) and (together or person in aggregated.people):
            return aggregated.mean
    return None


def _says_the_same(person: Annotation, decision: Annotation) -> bool:
    return all(person.answers.get(name) == value for name, value in decision.answers.items() if name in READS)


def is_narrowed(query: Query) -> bool:
    """Whether a query asks for answers of some people, projects or days, so that what nobody answered is not meant."""
    return bool(query.projects or query.annotators or query.since or query.until)


def drawing_after(trajectory: Trajectory, segment: int) -> int | None:
    """The image that a plan was made for."""
    after = segment + 1
    return after if after < len(trajectory.segments) and isinstance(trajectory.segments[after], Image) else None


def conversation(trajectory: Trajectory, end: int, context: Context) -> tuple[list[Any], list[Any]]:
    """Messages and pictures of the first `end` segments, in the order in which they were made; images that were not
    finished are left out."""
    messages: list[Any] = [message("user", trajectory.prompt)]
    pictures: list[Any] = []
    for at, segment in enumerate(trajectory.segments[:end]):
        match segment:
            case Thought():
                messages.append(message("assistant", segment.text.strip()))
            case Source():
                pictures.append(png(context.picture(segment.sha256)))
                messages[0] = message("user", None, trajectory.prompt)
            case Image() if segment.sha256:
                pictures.append(png(context.picture(segment.sha256)))
                messages.append(message("assistant", None))
            case Reflection():
                messages += [message("user", CHECK_TEXT), message("assistant", own_words(segment))]
                if at + 1 < len(trajectory.segments):
                    messages.append(message("user", CONNECT_TEXT))
    return messages, pictures
