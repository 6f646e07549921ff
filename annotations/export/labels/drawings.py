"""Whether people accept a drawing, by verdicts, checklists, ratings and preferences; and the features of its codes.

A drawing is accepted where something speaks for it and nothing against it, rejected the other way round. For it speak a
verdict that people say makes it right, the verdict of a checklist, a rating that is good in the mean, and that all of
at least two people prefer it. Against it speak the opposite verdict, a bad rating, and that all
of at least two call both drawings of a pair bad.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from datasets import List, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup
from annotations.export.kind import Answer, Context, Excluded
from annotations.export.labels.aggregated_answers import (
    AggregatedAnswer,
    AnswerExclusion,
    aggregate_answers,
    answered_questions,
    good_or_bad,
    pseudonyms,
    single_value,
    votes_by_part,
)
from annotations.schema.annotation import right_answer
from annotations.schema.forms.facts import VERDICT as FACTS_VERDICT
from annotations.schema.forms.facts import Facts
from annotations.schema.forms.preference import Preference
from annotations.schema.forms.rating import Rating
from annotations.schema.question_targets import PAIR, WHOLE
from annotations.schema.questions import VERDICT_RIGHT, YES, Question
from model.trajectory import Image, Origin, Reflection, Segment, Source, Trajectory

CODES = List(Value("int32"))
RUNS = List({"origin": Value("string"), "count": Value("int32")})
UNANIMOUS = 2  # people
OTHER_DRAWING = "it prefers the other drawing of the pair, or neither"


@dataclass(frozen=True)
class Evidence:
    """What one aggregated answer says of a drawing: for it, against it, or (None) neither."""

    speaks: bool | None
    aggregated: AggregatedAnswer


@dataclass(frozen=True)
class DrawingLabel:
    """All that is said of one drawing, and what follows."""

    evidence: tuple[Evidence, ...]

    @property
    def accepted(self) -> bool | None:
        """None: neither accepted nor rejected."""
        verdicts = {evidence.speaks for evidence in self.evidence}
        return (True in verdicts) if (True in verdicts) != (False in verdicts) else None

    @property
    def answers(self) -> tuple[Answer, ...]:
        return tuple(answer for evidence in self.evidence for answer in evidence.aggregated.answers)

    def provenance_columns(self, annotated: AnnotatedTrajectory, segment: int, context: Context) -> dict[str, Any]:
        """The columns PROVENANCE."""
        some = [evidence.aggregated for evidence in self.evidence]
        agreements = [each.votes.agreement for each in some if not isinstance(each.question.form, Rating)]
        return {
            "project": single_value(each.group.project.id for each in some),
            "trajectory_id": annotated.trajectory.id,
            "segment": segment,
            "checkpoint": annotated.trajectory.checkpoint,
            "annotator": single_value(self.people(context)),
            "decided": any(each.decided for each in some),
            "votes": max((each.votes.count for each in some), default=0),
            "agreement": min(agreements, default=None),
        }

    def people(self, context: Context) -> tuple[str, ...]:
        everybody = [person for evidence in self.evidence for person in evidence.aggregated.people]
        return pseudonyms(everybody, context)


def drawing_labels(annotated: AnnotatedTrajectory, context: Context) -> tuple[dict[int, DrawingLabel], list[Excluded]]:
    """By segment, the drawings about which something is said; and answers that say nothing."""
    by_segment: dict[int, list[Evidence]] = defaultdict(list)
    excluded: list[Excluded] = []
    for group in annotated.groups:
        for question in answered_questions(group):
            segment = drawing_of(annotated.trajectory, group, question) if speaks_of_drawings(question) else None
            if segment is None:
                continue
            for aggregated in aggregate_answers(group, question, context):
                evidence = aggregated if isinstance(aggregated, Excluded) else _evidence(annotated, aggregated, context)
                if isinstance(evidence, Excluded):
                    excluded.append(evidence)
                else:
                    by_segment[segment].append(evidence)
    return {segment: DrawingLabel(tuple(some)) for segment, some in by_segment.items()}, excluded


def speaks_of_drawings(question: Question) -> bool:
    """Whether its answers say how good a drawing is."""
    if question.segment == Reflection.kind:
        return question.name == VERDICT_RIGHT
    about = question.segment in (Image.kind, WHOLE, PAIR)
    return about and isinstance(question.form, Rating | Preference | Facts)


def drawing_of(trajectory: Trajectory, group: AnswerGroup, question: Question) -> int | None:
    """The segment of the image that a question is about: the image itself, the one that a reflection is on, the last
    one of the whole trajectory, or of a pair's first."""
    if group.segment is None:
        return last_image(trajectory) if question.segment in (WHOLE, PAIR) else None
    segment = trajectory.segments[group.segment]
    if isinstance(segment, Image):
        return group.segment
    if not isinstance(segment, Reflection):
        return None
    images = [at for at in range(group.segment) if isinstance(trajectory.segments[at], Image | Source)]
    return images[-1] if images else None


def last_image(trajectory: Trajectory) -> int | None:
    """The segment of the last finished image."""
    return max((at for at, segment in enumerate(trajectory.segments) if is_drawn(segment)), default=None)


def is_drawn(segment: Segment) -> bool:
    return isinstance(segment, Image) and segment.finished and segment.sha256 is not None


def runs(origins: Sequence[Origin]) -> list[dict[str, Any]]:
    """Run lengths of origins."""
    return [{"origin": origin.value, "count": len(list(run))} for origin, run in groupby(origins)]


def exclusion_of(label: DrawingLabel) -> str:
    """Why a drawing is not accepted."""
    verdicts = {evidence.speaks for evidence in label.evidence}
    if {True, False} <= verdicts:
        return "people say both, that the drawing is right and that it is not"
    return "the drawing is not accepted" if False in verdicts else AnswerExclusion.NEITHER


def _evidence(annotated: AnnotatedTrajectory, aggregated: AggregatedAnswer, context: Context) -> Evidence | Excluded:
    question, group = aggregated.question, aggregated.group
    if isinstance(question.form, Rating):
        return Evidence(good_or_bad(aggregated.mean, context.query), aggregated)
    if isinstance(question.form, Facts):
        aggregated = replace(aggregated, votes=votes_by_part(aggregated, context)[FACTS_VERDICT])
    problem = aggregated.problem(context.query)
    if problem is not None:
        return Excluded(problem, aggregated.answers)
    if isinstance(question.form, Facts):
        return Evidence(aggregated.votes.label == YES, aggregated)
    if question.name == VERDICT_RIGHT:
        reflection = annotated.trajectory.segments[group.segment or 0]
        assert isinstance(reflection, Reflection)
        return Evidence(right_answer(reflection, {VERDICT_RIGHT: str(aggregated.votes.label)}) == YES, aggregated)
    unanimous = aggregated.votes.count >= UNANIMOUS and aggregated.votes.agreement == 1
    speaks = {annotated.trajectory.id: True, "both_bad": False}.get(str(aggregated.votes.label))
    return (
        Evidence(speaks, aggregated)
        if unanimous and speaks is not None
        else Excluded(OTHER_DRAWING, aggregated.answers)
    )
