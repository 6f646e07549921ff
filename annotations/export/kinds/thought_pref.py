"""The kind `thought_pref`: chosen and rejected plan at the same position.

Chosen is a plan that a person wrote: a correction, or the beginning of a branch. Rejected is what stood there before,
and what those wrote whom a reviewer overruled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from datasets import Features, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import (
    IMAGES,
    MESSAGES,
    PROVENANCE,
    Answer,
    Context,
    Excluded,
    ExportKind,
    ExportRow,
    answers_of,
    message,
)
from annotations.export.labels.aggregated_answers import pseudonyms
from annotations.export.labels.drawings import drawing_labels
from annotations.export.labels.plans import READS, Plan, PlanSource, conversation, plans
from annotations.export.query import Aggregation
from annotations.schema.annotation import Annotation
from annotations.schema.questions import THOUGHT_CORRECTION
from model.trajectory import Thought, origin_of

SAME = "nothing else was written at this place that people hold worse"
NO_PARENT = "the drawing that the branch continues was deleted"
Worse = tuple[str, str, tuple[Annotation, ...]]  # text, origin, who wrote it


class ThoughtPref(ExportKind):
    """One row per plan of a person's and plan that it replaces."""

    name = "thought_pref"
    title = "Plans, better and worse"
    purpose = (
        "Pairs of plans for the same drawing: `chosen` was written by a person as a correction, or to begin a branch "
        "(`source`), `rejected` is the model’s, or of somebody whom a reviewer overruled. `margin` is how far below "
        "the best the rejected plan was rated, from 0 to 1 (null: not rated). Columns are TRL’s: conversational, "
        "images in the prompt only."
    )
    counted = ("correction", "branch", "decided")
    advice = "correct plans"
    questions = READS
    forms = ("rating", "text")
    acts = ("plan", "branch", "decision")
    everything = True
    tasks = ("text-generation",)
    trl = "DPOTrainer"
    unused = SAME
    features = Features(
        {
            "prompt": MESSAGES,
            "chosen": MESSAGES,
            "rejected": MESSAGES,
            "images": IMAGES,
            "margin": Value("float64"),
            "weight": Value("float64"),
            "source": Value("string"),
            "rejected_origin": Value("string"),
            **PROVENANCE,
        }
    )

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        drawings, _ = drawing_labels(annotated, context)
        excluded: list[Excluded] = []
        used: set[Answer] = set()
        for plan in plans(annotated, context, drawings):
            if isinstance(plan, Excluded):
                excluded.append(plan)
                continue
            worse = list(_worse(annotated, plan, context))
            if not worse and plan.source is PlanSource.BRANCH:
                excluded.append(Excluded(NO_PARENT if annotated.parent is None else SAME))
            for each in worse:
                row = _row(annotated, plan, each, plan.weight / len(worse), context)
                used.update(row.answers)
                yield row
        yield from (reason for reason in excluded if not reason.answers or not used.issuperset(reason.answers))


def _worse(annotated: AnnotatedTrajectory, plan: Plan, context: Context) -> Iterator[Worse]:
    """What a plan is better than."""
    if plan.source is PlanSource.RATING:
        return
    trajectory = annotated.trajectory if plan.source is PlanSource.CORRECTION else annotated.parent
    before = trajectory.segments[plan.segment] if trajectory and plan.segment < len(trajectory.segments) else None
    if isinstance(before, Thought) and before.finished and before.text.strip() not in ("", plan.text):
        yield before.text.strip(), origin_of(before).value, ()
    decision = plan.group.decision if plan.group else None
    if plan.group is None or decision not in plan.people or context.query.aggregation is Aggregation.ALL:
        return
    for person in plan.group.people:
        text = str(person.answers.get(THOUGHT_CORRECTION, "")).strip()
        if person not in plan.people and text not in ("", plan.text):
            yield text, "person", (person,)


def _row(annotated: AnnotatedTrajectory, plan: Plan, worse: Worse, weight: float, context: Context) -> ExportRow:
    text, origin, writers = worse
    answers = (*plan.answers, *(answer for person in writers for answer in answers_of(person, READS)))
    messages, pictures = conversation(annotated.trajectory, plan.segment, context)
    values = {
        "prompt": messages,
        "chosen": [message("assistant", plan.text)],
        "rejected": [message("assistant", text)],
        "images": pictures,
        "margin": 1.0 if writers else None if plan.rating is None else 1 - plan.rating,
        "weight": weight,
        "source": plan.source.value,
        "rejected_origin": origin,
    }
    columns = plan.provenance_columns(annotated, context)
    everybody: Sequence[Annotation] = (*plan.people, *writers)
    return ExportRow(
        values=values | columns,
        answers=answers,
        trajectories=(annotated.trajectory.id, *([annotated.parent.id] if annotated.parent and not plan.group else [])),
        labels=(plan.source.value, *(["decided"] if columns["decided"] else [])),
        people=pseudonyms(everybody, context),
        size=1500 + sum(len(picture["bytes"]) for picture in pictures),
    )
