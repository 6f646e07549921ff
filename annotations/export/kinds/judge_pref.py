"""The kind `judge_pref`: chosen and rejected reflection on the same images.

Chosen is what `judge_targets` makes of the people whose answers count. Rejected is what the model said, what the
outvoted or overruled wrote, and, where a person rewrote the reflection in a branch, what stood there before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    message,
    provenance,
)
from annotations.export.labels.aggregated_answers import single_value
from annotations.export.labels.judge_targets import JudgeExclusion, JudgeTarget, judge_example, judge_target
from annotations.export.labels.reflections import READS, AggregatedReflection, aggregate_reflections
from annotations.export.query import Query
from annotations.schema.annotation import Annotation
from annotations.schema.questions import REASON_CORRECTION, VERDICT_RIGHT
from model.examples import JudgeExample
from model.reflection_text import own_words
from model.trajectory import Origin, Reflection, origin_of

NOTHING_WORSE = "no other words about the same images that people hold worse"


@dataclass(frozen=True)
class RejectedWording:
    """Words that were rejected."""

    text: str
    origin: Origin
    people: tuple[Annotation, ...] = ()  # who wrote them; nobody of the model's


class JudgePref(ExportKind):
    """One row per reflection, better wording and worse wording."""

    name = "judge_pref"
    title = "Reflections, better and worse"
    purpose = (
        "Pairs of reflections of a model on its own drawings. Each row has the prompt, the images drawn for it so far "
        "and the reflections between them, and two things that were said of the last image: `chosen`, which people "
        "wrote or hold right, and `rejected`, which the model said, or somebody whom the others or a reviewer "
        "contradict. `margin` is the share of votes for the chosen verdict less that against it (1: a reviewer’s "
        "decision, or everybody). `weight` makes the pairs of one reflection weigh 1 together. Columns are TRL’s: "
        "conversational, images in the prompt only."
    )
    counted = ("person", "sampled", "decided")  # who wrote what is chosen
    advice = "submit annotations that correct a reflection"
    questions = READS
    forms = ("choice", "rating", "text")
    acts = ("verdict", "decision")
    tasks = ("image-text-to-text",)
    trl = "DPOTrainer"
    features = Features(
        {
            "prompt": MESSAGES,
            "chosen": MESSAGES,
            "rejected": MESSAGES,
            "images": IMAGES,
            "margin": Value("float64"),
            "weight": Value("float64"),
            "chosen_origin": Value("string"),
            "rejected_origin": Value("string"),
            "correction": Value("string"),  # the chosen reason as a person wrote it
            "p_yes": Value("float64"),  # the model's, of its verdict
            **PROVENANCE,
        }
    )

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        made = [
            row
            for about in aggregate_reflections(annotated, context, READS)
            for row in ([about] if isinstance(about, Excluded) else _rows(annotated, about, context))
        ]
        used = {answer for row in made if isinstance(row, ExportRow) for answer in row.answers}
        for row in made:
            if isinstance(row, ExportRow) or not used.issuperset(row.answers):
                yield row


def _rows(
    annotated: AnnotatedTrajectory, about: AggregatedReflection, context: Context
) -> Iterator[ExportRow | Excluded]:
    better: dict[JudgeTarget, list[Annotation]] = defaultdict(list)
    for person in about.people:
        target = judge_target(annotated.trajectory, person, about.rating, context.query.good)
        if isinstance(target, JudgeExclusion):
            yield Excluded(target, answers_of(person, READS))
        else:
            better[replace(target, edit=None)].append(person)
    decided = next((target for target, people in better.items() if about.group.decision in people), None)
    worse = [*_contradicted(annotated, about, context.query), *_models(annotated, about)]
    overruled = [target for target in better if decided is not None and target != decided]
    for target in overruled:
        worse.append(RejectedWording(target.completion, target.origin, tuple(better.pop(target))))
    completions = {target.completion for target in better}
    rejected = [wording for wording in _merged(worse) if wording.text not in completions]
    chosen = [t for t in better if not context.query.own_words or t.origin is Origin.PERSON] if rejected else []
    for target in chosen:
        for wording in rejected:
            yield _row(annotated, about, target, better[target], wording, 1 / (len(chosen) * len(rejected)), context)
    for target in better:
        if target not in chosen:
            reason = JudgeExclusion.OWN_WORDS if rejected else NOTHING_WORSE
            yield from (Excluded(reason, answers_of(person, READS)) for person in better[target])
    if overruled and not chosen:
        yield from (
            Excluded(JudgeExclusion.OVERRULED, answers_of(p, READS)) for wording in worse for p in wording.people
        )


def _merged(wordings: list[RejectedWording]) -> list[RejectedWording]:
    """Each text once, with all who wrote it."""
    by_text: dict[str, RejectedWording] = {}
    for wording in wordings:
        before = by_text.get(wording.text)
        people = (*before.people, *wording.people) if before else wording.people
        by_text[wording.text] = replace(before or wording, people=people)
    return list(by_text.values())


def _models(annotated: AnnotatedTrajectory, about: AggregatedReflection) -> Iterator[RejectedWording]:
    """The reflection that was judged, and the one in whose place a person wrote it."""
    yield RejectedWording(own_words(about.reflection), origin_of(about.reflection))
    branch_point = annotated.trajectory.parent
    if annotated.parent is not None and branch_point is not None and branch_point.segment == about.segment:
        before = dict(enumerate(annotated.parent.segments)).get(about.segment)  # an imported one may be shorter
        if isinstance(before, Reflection) and before.finished and origin_of(about.reflection) is Origin.PERSON:
            yield RejectedWording(own_words(before), origin_of(before))


def _contradicted(
    annotated: AnnotatedTrajectory, about: AggregatedReflection, query: Query
) -> Iterator[RejectedWording]:
    """What those wrote whom the others outvoted, or a reviewer overruled."""
    if about.votes is None or about.votes.label is None:
        return
    for person in about.group.people:
        if person not in about.people and REASON_CORRECTION in person.answers:
            target = judge_target(annotated.trajectory, person, about.rating, query.good)
            if isinstance(target, JudgeTarget):
                yield RejectedWording(target.completion, target.origin, (person,))


def _margin(about: AggregatedReflection, person: Annotation) -> float | None:
    """The share of votes for this person's verdict less the largest for another."""
    answer = person.answers.get(VERDICT_RIGHT)
    if about.votes is None or answer is None:
        return None
    others = (share for label, share in about.votes.shares.items() if label != answer)
    return about.votes.shares.get(answer, 0.0) - max(others, default=0.0)


def _row(
    annotated: AnnotatedTrajectory,
    about: AggregatedReflection,
    target: JudgeTarget,
    people: list[Annotation],
    wording: RejectedWording,
    weight: float,
    context: Context,
) -> ExportRow | Excluded:
    names = [context.pseudonym(person.annotator) for person in people]
    answers = tuple(answer for person in (*people, *wording.people) for answer in answers_of(person, READS))
    example = judge_example(annotated.trajectory, target, picture=context.picture, annotator="")
    row = example.to_row()
    try:
        JudgeExample.from_row(row)
        JudgeExample.from_row(row | {"completion": [message("assistant", wording.text)]})
    except ValueError as error:
        return Excluded(f"the trainer refuses it: {error}", answers)
    decided = about.group.decision in people
    values: dict[str, Any] = {
        "prompt": row["prompt"],
        "chosen": row["completion"],
        "rejected": [message("assistant", wording.text)],
        "images": row["images"],
        "margin": _margin(about, people[0]),
        "weight": weight,
        "chosen_origin": target.origin.value,
        "rejected_origin": wording.origin.value,
        "correction": target.correction,
        "p_yes": about.reflection.p_yes,
    }
    columns = provenance(annotated, about.group, about.votes, single_value(names)) | {"decided": decided}
    everybody = (*names, *(context.pseudonym(person.annotator) for person in wording.people))
    return ExportRow(
        values=values | columns,
        answers=answers,
        trajectories=(annotated.trajectory.id,),
        labels=(target.origin.value, *(["decided"] if decided else [])),
        people=tuple(dict.fromkeys(everybody)),
        size=1500 + sum(map(len, example.images)),
    )
