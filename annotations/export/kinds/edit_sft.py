"""The kind `edit_sft`: an image of the user's, an instruction, and an edited image that people accept."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features
from datasets import Image as Picture

from annotations.export.kind import Context, ExportKind, ExportRow, LeftOut, png
from annotations.export.labels.accepted import COUNTED, DRAWING, accepted_drawing, with_values
from annotations.export.labels.drawings import CODES, is_drawn, speaks_of_drawings, standings
from annotations.export.labels.opinions import with_the_rest
from annotations.export.subjects import Subject
from annotations.schema.questions import Question
from model.trajectory import Source

NO_EDIT = "about a drawing that is no edit, or an image that was only judged"


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
    carries = ("choice", "rating", "preference", "facts", "decision")
    tasks = ("image-to-image",)
    features = Features({**DRAWING, "source": Picture(), "source_codes": CODES})

    def reads(self, question: Question) -> bool:
        return speaks_of_drawings(question)

    def rows(self, subject: Subject, context: Context) -> Iterator[ExportRow | LeftOut]:
        yield from with_the_rest(self, subject, self._made(subject, context), NO_EDIT)

    def _made(self, subject: Subject, context: Context) -> Iterator[ExportRow | LeftOut]:
        labels, left_out = standings(subject, context)
        yield from left_out
        for segment, standing in labels.items():
            before = [each for each in subject.trajectory.segments[:segment] if isinstance(each, Source)]
            if before and is_drawn(subject.trajectory.segments[segment]):
                picture = context.picture(before[-1].sha256)
                beside = {"source": png(picture), "source_codes": list(before[-1].codes)}
                yield with_values(accepted_drawing(subject, segment, standing, context), beside, len(picture))
