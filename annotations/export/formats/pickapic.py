"""The format `pickapic`: the columns of Pick-a-Pic v1 and v2, and ours.

Which image is the first follows from their hashes, so that the chosen one is on neither side more often.
"""

from __future__ import annotations

import hashlib
from datetime import UTC
from typing import Any

from datasets import Features, Value

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.formats.external_rows import PairsKind, RowContent
from annotations.export.kind import PROVENANCE, Context
from annotations.export.labels.aggregated_answers import pseudonyms
from annotations.export.labels.pair import ImageRef, Pair
from model.trajectory import Trajectory

PUBLISHED = {
    "are_different": Value("bool"),
    "best_image_uid": Value("string"),
    "caption": Value("string"),
    "created_at": Value("timestamp[ns]"),
    "has_label": Value("bool"),
    "image_0_uid": Value("string"),
    "image_0_url": Value("string"),
    "image_1_uid": Value("string"),
    "image_1_url": Value("string"),
    "jpg_0": Value("binary"),
    "jpg_1": Value("binary"),
    "label_0": Value("float64"),
    "label_1": Value("float64"),
    "model_0": Value("string"),
    "model_1": Value("string"),
    "ranking_id": Value("int64"),
    "user_id": Value("int64"),
    "num_example_per_prompt": Value("int64"),
}


class PickAPic(PairsKind):
    name = "pickapic"
    title = "Pairs in Pick-a-Pic’s columns"
    purpose = (
        "The columns of Pick-a-Pic: `caption`, two images (`jpg_0`, `jpg_1`: the stored PNG files, without loss; "
        "readers go by content) with `image_0_uid`, `model_0` and so on, and `label_0`, `label_1` (1 for the preferred "
        "one). Beside them stand the `criterion` (the name of a question), the `margin` of shares of votes or mean "
        "ratings, the `weight` of the row, and whose answers these are. A tie is no row, but for imported pairs that "
        "nobody else has answered, which are as they came."
    )
    features = Features(
        PUBLISHED | {"criterion": Value("string"), "margin": Value("float64"), "weight": Value("float64")} | PROVENANCE
    )

    def values(self, annotated: AnnotatedTrajectory, pair: Pair, context: Context) -> RowContent:
        first, second = sorted((pair.chosen, pair.rejected), key=lambda image: (image.sha256, _uid(image)))
        moments = [person.created_at for person in pair.people if person.created_at]
        names = pseudonyms(pair.people, context)
        values: dict[str, Any] = {
            "are_different": True,
            "best_image_uid": _uid(pair.chosen),
            "caption": pair.chosen.trajectory.prompt,
            "created_at": max(moments).astimezone(UTC).replace(tzinfo=None) if moments else None,
            "has_label": True,
            "ranking_id": _number(*pair.trajectories, str(first.segment), str(second.segment), pair.criterion, *names),
            "user_id": _number(*names),
            "num_example_per_prompt": 1,
            "criterion": pair.criterion,
            "margin": pair.margin,
            "weight": pair.weight,
            **pair.provenance_columns(context),
        }
        for number, image in enumerate((first, second)):
            values |= {
                f"image_{number}_uid": _uid(image),
                f"image_{number}_url": "",
                f"jpg_{number}": context.picture(image.sha256),
                f"label_{number}": float(image is pair.chosen),
                f"model_{number}": image.trajectory.checkpoint,
            }
        return values, {}

    def restored(self, first: Trajectory, second: Trajectory, record: dict[str, Any], context: Context) -> RowContent:
        return record, {}


def _uid(image: ImageRef) -> str:
    return f"{image.trajectory.id}-{image.segment}"


def _number(*names: str) -> int:
    """A number of 63 bits that stands for names."""
    return int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8]) >> 1
