"""The kind `image_pref`: chosen and rejected drawing of a prompt, by one criterion. `labels.pairs` has the rule."""

from __future__ import annotations

from collections.abc import Iterator

from datasets import Features, Value
from datasets import Image as Picture

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import PROVENANCE, Context, Excluded, ExportedElsewhere, ExportKind, ExportRow, png
from annotations.export.labels.aggregated_answers import pseudonyms
from annotations.export.labels.drawings import CODES
from annotations.export.labels.pair import Pair, PairExclusion
from annotations.export.labels.pairs import is_compared, pairs
from annotations.export.labels.rated_pairs import ACROSS
from annotations.schema.questions import Question


class ImagePref(ExportKind):
    """One row per pair and criterion."""

    name = "image_pref"
    title = "Drawings, better and worse"
    purpose = (
        "Pairs of drawings of which people prefer `chosen` to `rejected` by one `criterion`, the name of a question. "
        "`source` says how: they were shown both (`preference`; `shown_left` is the share of people who had the chosen "
        "one on their left), they called it the best of a trajectory’s (`best`) or put it before the other "
        "in their order (`ranking`), the same people rated both images of "
        "a trajectory (`rating`), or the mean ratings of two trajectories’ drawings of the prompt differ by "
        "`min_rating_difference` at least (`rating_across`; of a prompt’s trajectories those at most 32 apart). Ties "
        "are left out. `margin` is the share of votes for the chosen one less that for the other, or the difference of "
        "the mean ratings from 0 to 1. Beside the PNG files stand their image codes in raster order "
        "(empty: drawn by a model without codes)."
    )
    counted = ("preference", "best", "ranking", "rating", ACROSS, "decided")
    advice = "compare drawings, choose the best, or rate several of one prompt"
    forms = ("preference", "best", "ranking", "rating")
    acts = ("decision",)
    tasks = ("text-to-image",)
    unused = PairExclusion.ALONE
    features = Features(
        {
            "prompt": Value("string"),
            "chosen": Picture(),
            "rejected": Picture(),
            "chosen_codes": CODES,
            "rejected_codes": CODES,
            "criterion": Value("string"),
            "source": Value("string"),
            "margin": Value("float64"),
            "shown_left": Value("float64"),
            "weight": Value("float64"),
            "chosen_checkpoint": Value("string"),
            "rejected_checkpoint": Value("string"),
            "rejected_trajectory_id": Value("string"),
            "rejected_segment": Value("int64"),
            **PROVENANCE,
        }
    )

    def reads(self, question: Question) -> bool:
        return is_compared(question)

    def make(
        self, annotated: AnnotatedTrajectory, context: Context
    ) -> Iterator[ExportRow | Excluded | ExportedElsewhere]:
        for pair in pairs(annotated, context):
            yield _row(annotated, pair, context) if isinstance(pair, Pair) else pair


def _row(annotated: AnnotatedTrajectory, pair: Pair, context: Context) -> ExportRow:
    chosen, rejected = (context.picture(image.sha256) for image in (pair.chosen, pair.rejected))
    values = {
        "prompt": annotated.trajectory.prompt,
        "chosen": png(chosen),
        "rejected": png(rejected),
        "chosen_codes": list(pair.chosen.image.codes),
        "rejected_codes": list(pair.rejected.image.codes),
        "criterion": pair.criterion,
        "source": pair.source,
        "margin": pair.margin,
        "shown_left": pair.shown_left,
        "weight": pair.weight,
        "chosen_checkpoint": pair.chosen.trajectory.checkpoint,
        "rejected_checkpoint": pair.rejected.trajectory.checkpoint,
        "rejected_trajectory_id": pair.rejected.trajectory.id,
        "rejected_segment": pair.rejected.segment,
    }
    columns = pair.provenance_columns(context)
    codes = len(pair.chosen.image.codes) + len(pair.rejected.image.codes)
    return ExportRow(
        values=values | columns,
        answers=pair.answers,
        trajectories=pair.trajectories,
        labels=(pair.source, *(["decided"] if columns["decided"] else [])),
        people=pseudonyms(pair.people, context),
        size=1000 + len(chosen) + len(rejected) + 4 * codes,
    )
