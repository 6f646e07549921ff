"""The format `unicot`: UniCoT-Self-Reflection, rounds of evaluating and editing one drawing, with images beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Features, List, Value

from annotations.export.formats.external_rows import IMAGES, hashes_of, image_files
from annotations.export.formats.rounds import Files, Round, RoundsKind
from annotations.export.kind import Context
from annotations.schema.published_formats import UNICOT_NOTHING_TO_EDIT
from model.trajectory import Trajectory

LISTS = ("input_image", "output_image", "edit", "eval", "eval_summary")


class UniCot(RoundsKind):
    name = "unicot"
    title = "Rounds of UniCoT"
    purpose = (
        "The columns of UniCoT-Self-Reflection: `data_id`, `prompt`, and per round `input_image`, `output_image` (null "
        "in the last round, which accepts the image), `edit`, `eval` and `eval_summary`; images are paths below "
        "`images/`. What is said is what people corrected or called right; a trajectory in which nobody said what to "
        "change is left out. Imported ones that nobody has answered are as they came, with images in the place of "
        "theirs."
    )
    features = Features(
        {"data_id": Value("string"), "prompt": Value("string")} | {name: List(Value("string")) for name in LISTS}
    )

    def values(self, trajectory: Trajectory, rounds: Sequence[Round]) -> dict[str, Any]:
        reasons = [r.reason for r in rounds]
        values = {"data_id": trajectory.id, "prompt": trajectory.prompt, "eval": reasons, "eval_summary": reasons}
        values["edit"] = [r.edit or UNICOT_NOTHING_TO_EDIT for r in rounds]
        return values | _images([f"{IMAGES}/{r.sha256}.png" for r in rounds])

    def restored(
        self, trajectory: Trajectory, record: dict[str, Any], context: Context
    ) -> tuple[dict[str, Any], Files]:
        paths, files = image_files(hashes_of(trajectory), context)
        return record | _images(paths), files


def _images(paths: list[str]) -> dict[str, list[str | None]]:
    return {"input_image": [*paths], "output_image": [*paths[1:], None]}
