"""The kind `edit_sft`: a source image, an instruction, and an edited image that people accept."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features
from datasets import Image as Picture

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import Context, Excluded, ExportKind, ExportRow, png
from annotations.export.labels.accepted import COUNTED, DRAWING, accepted_drawing, with_values
from annotations.export.labels.drawings import CODES, drawing_labels, is_drawn, speaks_of_drawings
from annotations.schema.questions import Question
from model.trajectory import Source


class EditSft(ExportKind):
    """One row per accepted edited image."""

    name = "edit_sft"
    title = "Edits to learn"
    purpose = (
        "Edits of images that people accept: `source` is the image that was given, `prompt` the instruction, `image` "
        "what it should become. All else as in draw_sft; `source_codes` are the codes of the given image."
    )
    counted = COUNTED
    advice = "rate edited images good"
    forms = ("choice", "rating", "preference", "facts")
    acts = ("decision",)
    tasks = ("image-to-image",)
    unused = "about a drawing that is no edit, or an image that was only judged"
    features = Features({**DRAWING, "source": Picture(), "source_codes": CODES})

    def reads(self, question: Question) -> bool:
        return speaks_of_drawings(question)

    def make(self, annotated: AnnotatedTrajectory, context: Context) -> Iterator[ExportRow | Excluded]:
        labels, excluded = drawing_labels(annotated, context)
        yield from excluded
        for segment, label in labels.items():
            before = [each for each in annotated.trajectory.segments[:segment] if isinstance(each, Source)]
            if before and is_drawn(annotated.trajectory.segments[segment]):
                picture = context.picture(before[-1].sha256)
                columns = {"source": png(picture), "source_codes": list(before[-1].codes)}
                yield with_values(accepted_drawing(annotated, segment, label, context), columns, len(picture))
