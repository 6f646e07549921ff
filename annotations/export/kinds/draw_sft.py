"""The kind `draw_sft`: drawings that people accept, and their plans. `labels.drawings` has the rule."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import Context, Excluded, ExportKind, ExportRow
from annotations.export.labels.accepted import COUNTED, DRAWING, accepted_drawing, is_edit
from annotations.export.labels.drawings import drawing_labels, is_drawn, speaks_of_drawings
from annotations.export.labels.plans import READS as PLANS
from annotations.schema.questions import Question


class DrawSft(ExportKind):
    """One row per accepted drawing of a prompt."""

    name = "draw_sft"
    title = "Drawings to learn"
    purpose = (
        "Drawings that people accept: their verdicts say that the drawing is right, they rate it good, or all of at "
        "least two prefer it, and nothing speaks against it. `image` is the stored PNG, byte for byte; `codes` are its "
        "image codes in raster order, so that they are learnt without being encoded again (empty: drawn by a model "
        "without codes), and `origins` says in run lengths who chose them. `thought` is the plan before it, as people "
        "corrected it, else the model’s own unless it was rated otherwise than good (null)."
    )
    counted = COUNTED
    advice = "submit annotations that call drawings right or rate them good"
    forms = ("choice", "rating", "text", "preference", "facts")
    acts = ("decision",)
    tasks = ("text-to-image",)
    unused = "about a plan whose drawing is not accepted, or an edited or given image"
    features = Features(DRAWING)

    def reads(self, question: Question) -> bool:
        return speaks_of_drawings(question) or question.name in PLANS

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        labels, excluded = drawing_labels(annotated, context)
        yield from excluded
        for segment, label in labels.items():
            if not is_edit(annotated) and is_drawn(annotated.trajectory.segments[segment]):
                yield accepted_drawing(annotated, segment, label, context)
