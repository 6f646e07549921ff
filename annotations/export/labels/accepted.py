"""Rows of accepted drawings: prompt, plan, picture and codes, who accepted it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from datasets import Image as Picture
from datasets import Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import PROVENANCE, Context, Excluded, ExportRow, png
from annotations.export.labels.drawings import CODES, RUNS, DrawingLabel, drawing_labels, exclusion_of, runs
from annotations.export.labels.plans import Plan, PlanSource, plans
from model.trajectory import Image, Source, Thought, origin_of

COUNTED = ("with a thought", "decided")
DRAWING = {
    "prompt": Value("string"),
    "thought": Value("string"),
    "thought_origin": Value("string"),  # person or sampled
    "image": Picture(),
    "codes": CODES,
    "origins": RUNS,
    **PROVENANCE,
}


def accepted_drawing(
    annotated: AnnotatedTrajectory, segment: int, label: DrawingLabel, context: Context
) -> ExportRow | Excluded:
    """A row with the columns DRAWING, where the drawing is accepted."""
    if not label.accepted:
        return Excluded(exclusion_of(label), label.answers)
    image = annotated.trajectory.segments[segment]
    assert isinstance(image, Image) and image.sha256 is not None
    plan = _plan_before(annotated, segment, context)
    picture = context.picture(image.sha256)
    values: dict[str, Any] = {
        "prompt": annotated.trajectory.prompt,
        "thought": plan and plan.text,
        "thought_origin": plan and plan.origin.value,
        "image": png(picture),
        "codes": list(image.codes),
        "origins": runs(image.origins),
        **label.provenance_columns(annotated, segment, context),
    }
    return ExportRow(
        values=values,
        answers=(*label.answers, *(plan.answers if plan else ())),
        trajectories=(annotated.trajectory.id,),
        labels=(*(["with a thought"] if plan else []), *(["decided"] if values["decided"] else [])),
        people=label.people(context),
        size=1000 + len(picture) + 4 * len(image.codes),
    )


def with_values(row: ExportRow | Excluded, values: dict[str, Any], size: int) -> ExportRow | Excluded:
    """The same row with further columns, `size` bytes larger."""
    return replace(row, values={**row.values, **values}, size=row.size + size) if isinstance(row, ExportRow) else row


def _plan_before(annotated: AnnotatedTrajectory, segment: int, context: Context) -> Plan | None:
    """The plan of a drawing as people wrote it, else as it stands, unless it was rated otherwise than good."""
    thought = annotated.trajectory.segments[segment - 1] if segment else None
    if not isinstance(thought, Thought):
        return None
    plans_by_segment = plans(annotated, context, drawing_labels(annotated, context)[0])
    best = next((plan for plan in plans_by_segment if isinstance(plan, Plan) and plan.segment == segment - 1), None)
    was_asked = any(group.segment == segment - 1 for group in annotated.groups)
    if best is not None or was_asked:
        return best
    return Plan(segment - 1, thought.text.strip(), PlanSource.DRAWN, origin_of(thought))


def is_edit(annotated: AnnotatedTrajectory) -> bool:
    """Whether it begins with an image of the user's."""
    return any(isinstance(segment, Source) for segment in annotated.trajectory.segments)
