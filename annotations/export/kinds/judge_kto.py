"""The kind `judge_kto`: a model's reflection, labelled desirable or not.

False where people hold the verdict wrong, with or without a reason of theirs. Where they hold it right, the rating of
its reason says: good is True, bad False, between them is no row; without a rating the verdict says it alone, unless
somebody has corrected the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from datasets import Features, Value

from annotations.export.aggregate.votes import Votes, vote
from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import (
    IMAGES,
    MESSAGES,
    PROVENANCE,
    Context,
    Excluded,
    ExportKind,
    ExportRow,
    answers_of,
    provenance,
)
from annotations.export.labels.aggregated_answers import AggregatedAnswer, AnswerExclusion, good_or_bad, single_value
from annotations.export.labels.judge_targets import JudgeExclusion, JudgeTarget, context_of, judge_example
from annotations.export.labels.reflections import READS, AggregatedReflection, aggregate_reflections
from annotations.export.query import Aggregation
from annotations.schema.annotation import Annotation
from annotations.schema.questions import NO, REASON_CORRECTION, REASON_RATING, VERDICT_RIGHT, YES
from model.examples import JudgeExample
from model.reflection_text import own_words
from model.trajectory import Origin, origin_of

CORRECTED = "verdict right, but the reason corrected and not rated"
WRITTEN = "the reflection was written by a person, not by the model"


class JudgeKto(ExportKind):
    """One row per reflection; per person where all answers are wanted by themselves."""

    name = "judge_kto"
    title = "Reflections, right or wrong"
    purpose = (
        "Reflections of a model on its own drawings, each with a `label`: whether people hold it as it should be. "
        "False where its verdict is wrong, or its reason rated bad; true where the verdict is right and the reason "
        "rated good or not rated. `rating` is the mean of the reason’s ratings, from 0 to 1. Columns are TRL’s: "
        "conversational, images in the prompt only."
    )
    counted = ("true", "false", "decided")
    advice = "submit annotations that say whether verdicts are right"
    questions = READS
    forms = ("choice", "rating", "text")
    acts = ("decision",)
    tasks = ("image-text-to-text",)
    trl = "KTOTrainer"
    features = Features(
        {
            "prompt": MESSAGES,
            "completion": MESSAGES,
            "images": IMAGES,
            "label": Value("bool"),
            "rating": Value("float64"),
            "margin": Value("float64"),
            "p_yes": Value("float64"),
            **PROVENANCE,
        }
    )

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        for about in aggregate_reflections(annotated, context, READS):
            if isinstance(about, Excluded):
                yield about
            elif context.query.aggregation is Aggregation.ALL and about.group.decision is None:
                for person in about.people:
                    yield _row(annotated, about, (person,), context)
            else:
                yield _row(annotated, about, about.people, context)


def _row(
    annotated: AnnotatedTrajectory, about: AggregatedReflection, people: tuple[Annotation, ...], context: Context
) -> ExportRow | Excluded:
    answers = tuple(answer for person in people for answer in answers_of(person, READS))
    reflection, trajectory = about.reflection, annotated.trajectory
    before = context_of(trajectory, about.segment)
    if origin_of(reflection) is Origin.PERSON:
        return Excluded(WRITTEN, answers)
    if before is None:
        return Excluded(JudgeExclusion.CONTEXT, answers)
    right = next((person.answers[VERDICT_RIGHT] for person in people if VERDICT_RIGHT in person.answers), None)
    rating = _rating(about, people, context)
    label = _label(right, rating, people, context)
    if not isinstance(label, bool):
        return Excluded(label, answers)
    target = JudgeTarget(about.segment, own_words(reflection), Origin.SAMPLED, *before)
    example = judge_example(trajectory, target, picture=context.picture, annotator="")
    row = example.to_row()
    try:
        JudgeExample.from_row(row)
    except ValueError as error:
        return Excluded(f"the trainer refuses it: {error}", answers)
    names = [context.pseudonym(person.annotator) for person in people]
    alone = context.query.aggregation is Aggregation.ALL
    votes: Votes | None = vote([(names[0], right)]) if alone and right is not None else about.votes
    values = {name: row[name] for name in ("prompt", "completion", "images")}
    values |= {"label": label, "rating": rating, "margin": votes and votes.margin, "p_yes": reflection.p_yes}
    decided = about.group.decision in people
    columns = provenance(annotated, about.group, votes, single_value(names)) | {"decided": decided}
    return ExportRow(
        values=values | columns,
        answers=answers,
        trajectories=(trajectory.id,),
        labels=(str(label).lower(), *(["decided"] if decided else [])),
        people=tuple(dict.fromkeys(names)),
        size=1000 + sum(map(len, example.images)),
    )


def _rating(about: AggregatedReflection, people: tuple[Annotation, ...], context: Context) -> float | None:
    """The mean rating of the reason by these people, from 0 to 1."""
    rated = tuple(person for person in people if REASON_RATING in person.answers)
    question = next((q for q in about.group.project.questions if q.name == REASON_RATING), None)
    decision = about.group.decision
    group = replace(about.group, people=rated, decision=decision if decision in rated else None)
    votes = context.votes(group, REASON_RATING) if rated and question is not None else None
    return AggregatedAnswer(group, question, votes, rated).mean if votes is not None and question is not None else None


def _label(right: object, rating: float | None, people: tuple[Annotation, ...], context: Context) -> bool | str:
    """The label, or why there is none."""
    if right is None:
        return JudgeExclusion.NO_VERDICT
    if right == NO:
        return False
    if rating is None:
        corrected = any(REASON_CORRECTION in person.answers for person in people)
        return CORRECTED if corrected else right == YES
    good = good_or_bad(rating, context.query)
    return AnswerExclusion.NEITHER if good is None else good
