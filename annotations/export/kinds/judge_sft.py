"""The kind `judge_sft`: target reflections on images for supervised fine-tuning.

`judge_targets` has the rule. The rows of one reflection weigh 1 together: people who wrote the same make one row,
others one each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from datasets import Features, Value

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
from annotations.export.labels.aggregated_answers import single_value
from annotations.export.labels.judge_targets import JudgeExclusion, JudgeTarget, judge_example, judge_target
from annotations.export.labels.reflections import WITH_EDIT, AggregatedReflection, aggregate_reflections
from annotations.export.query import Aggregation
from annotations.schema.annotation import Annotation
from annotations.schema.forms.rating import GOOD
from model.examples import JudgeExample
from model.reflection_text import split_verdict
from model.trajectory import Origin


class JudgeSft(ExportKind):
    """One row per reflection and wording."""

    name = "judge_sft"
    title = "Reflections to learn"
    purpose = (
        "Human corrections of what a model said about its own drawings. Each row is one reflection to learn: the "
        "prompt, the images drawn for it so far, the reflections between them, and what should be said of the last "
        "image. `prompt`, `completion` and `images` are as TRL wants them (conversational, images in the prompt only); "
        "`origin` (`person` or `sampled`), `weight`, `p_yes` (the model's, of the verdict) and `correction` stand "
        "beside them. A completion is a sentence: “No, …”; `correction` is the reason as the person wrote it, "
        "character by character (null where the words are the model's own), `edit` what should "
        "be changed, where somebody said so. The images are the stored PNG files, byte for byte."
    )
    counted = ("person", "sampled", "yes", "no", "decided")
    advice = f"submit annotations that correct a reflection, or call it right and rate its reason {GOOD}"
    questions = WITH_EDIT
    forms = ("choice", "rating", "text")
    acts = ("verdict", "decision")
    tasks = ("image-text-to-text",)
    trl = "SFTTrainer"
    features = Features(
        {
            "prompt": MESSAGES,
            "completion": MESSAGES,
            "images": IMAGES,
            "origin": Value("string"),
            "weight": Value("float64"),
            "correction": Value("string"),
            "edit": Value("string"),
            "p_yes": Value("float64"),
            **PROVENANCE,
        }
    )

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        for reflection in aggregate_reflections(annotated, context, WITH_EDIT):
            if isinstance(reflection, Excluded):
                yield reflection
            else:
                yield from _rows(annotated, reflection, context)


def _rows(
    annotated: AnnotatedTrajectory, about: AggregatedReflection, context: Context
) -> Iterator[ExportRow | Excluded]:
    by_target: dict[JudgeTarget, list[Annotation]] = defaultdict(list)
    apart = context.query.aggregation is Aggregation.ALL
    decided, decision_makes_row = about.group.decision, False  # the decision is the first of the people
    for person in about.people:
        target = judge_target(annotated.trajectory, person, about.rating, context.query.good)
        if decision_makes_row:
            target = JudgeExclusion.OVERRULED
        elif isinstance(target, JudgeTarget) and context.query.own_words and target.origin is not Origin.PERSON:
            target = JudgeExclusion.OWN_WORDS
        if isinstance(target, JudgeExclusion):
            yield Excluded(target, answers_of(person, WITH_EDIT))
            continue
        decision_makes_row = person is decided
        if apart:
            yield _row(annotated, about, target, [person], 1.0, context)
        else:
            by_target[target].append(person)
    for target, people in by_target.items():
        yield _row(annotated, about, target, people, 1 / len(by_target), context)


def _row(
    annotated: AnnotatedTrajectory,
    about: AggregatedReflection,
    target: JudgeTarget,
    people: list[Annotation],
    weight: float,
    context: Context,
) -> ExportRow | Excluded:
    names = [context.pseudonym(person.annotator) for person in people]
    answers = tuple(answer for person in people for answer in answers_of(person, WITH_EDIT))
    decided = about.group.decision in people
    example = judge_example(annotated.trajectory, target, picture=context.picture, annotator=single_value(names) or "")
    example = replace(example, weight=weight, decided=decided)
    try:
        JudgeExample.from_row(example.to_row())
    except ValueError as error:
        return Excluded(f"the trainer refuses it: {error}", answers)
    columns: dict[str, Any] = {
        "edit": target.edit,
        "p_yes": about.reflection.p_yes,
        "decided": decided,
        "annotator": single_value(names),
    }
    labels = (target.origin.value, split_verdict(target.completion)[0] or "other", *(["decided"] if decided else []))
    return ExportRow(
        values=example.to_row() | provenance(annotated, about.group, about.votes) | columns,
        answers=answers,
        trajectories=(annotated.trajectory.id,),
        labels=labels,
        people=tuple(names),
        size=1000 + sum(map(len, example.images)),
    )
