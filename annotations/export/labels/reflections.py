"""Aggregates answers about reflections for the `judge_*` kinds: the verdict, and whose words count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from annotations.export.aggregate.votes import Votes
from annotations.export.annotated_trajectories import AnnotatedTrajectory, AnswerGroup
from annotations.export.kind import Context, Excluded, answers_of
from annotations.export.labels.judge_targets import JudgeExclusion
from annotations.export.query import Aggregation
from annotations.schema.annotation import Annotation
from annotations.schema.forms.rating import Rating
from annotations.schema.questions import EDIT, REASON_CORRECTION, REASON_RATING, VERDICT_RIGHT
from model.trajectory import Reflection

READS = (VERDICT_RIGHT, REASON_RATING, REASON_CORRECTION)
WITH_EDIT = (*READS, EDIT)


@dataclass(frozen=True)
class AggregatedReflection:
    """A reflection and the people whose answers count: the reviewer who decided, or all who side with the label."""

    group: AnswerGroup
    segment: int
    reflection: Reflection
    votes: Votes | None  # on whether the verdict is right; None: a project that does not ask it
    people: tuple[Annotation, ...]

    @property
    def rating(self) -> Rating:
        """The form in which the project asks how good the reason is."""
        forms = (q.form for q in self.group.project.questions if q.name == REASON_RATING)
        return next((form for form in forms if isinstance(form, Rating)), Rating())


def aggregate_reflections(
    annotated: AnnotatedTrajectory, context: Context, reads: Sequence[str]
) -> Iterator[AggregatedReflection | Excluded]:
    """Every reflection that people were asked about, and why answers of the questions `reads` do not count: a reviewer
    overruled them (OVERRULED), the majority is against them (OUTVOTED), or there is none (DISAGREE)."""
    for group in annotated.groups:
        about = None if group.segment is None else annotated.trajectory.segments[group.segment]
        if not isinstance(about, Reflection):
            continue
        segment = group.segment or 0
        if group.decision is not None:
            for person in (*group.people, *group.overruled):
                if person in group.overruled or not _says_the_same(person, group.decision):
                    yield Excluded(JudgeExclusion.OVERRULED, answers_of(person, reads))
            same = tuple(person for person in group.people if _says_the_same(person, group.decision))
            yield AggregatedReflection(
                group, segment, about, context.votes(group, VERDICT_RIGHT), (group.decision, *same)
            )
            continue
        votes = context.votes(group, VERDICT_RIGHT)
        if votes is None or context.query.aggregation is Aggregation.ALL:
            yield AggregatedReflection(group, segment, about, votes, group.people)
        elif votes.label is None or votes.agreement < context.query.min_agreement:
            yield from (Excluded(JudgeExclusion.DISAGREE, answers_of(person, reads)) for person in group.people)
        else:
            side = [p for p in group.people if p.answers.get(VERDICT_RIGHT, votes.label) == votes.label]
            yield from (Excluded(JudgeExclusion.OUTVOTED, answers_of(p, reads)) for p in group.people if p not in side)
            yield AggregatedReflection(group, segment, about, votes, tuple(side))


def _says_the_same(person: Annotation, decision: Annotation) -> bool:
    """Whether a reviewer who decided leaves this person's answers standing."""
    compared = (VERDICT_RIGHT, REASON_RATING)
    return all(person.answers.get(n) == decision.answers[n] for n in compared if n in decision.answers)
