"""Files of drafts that a model drew of prompts of the embedded world, each with its score by the verifier (Parquet)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image as Picture

from model.atomic_files import move_whole
from model.images import encode_png, read_rgb
from model.training.dataset import DataError, one_line, rows_of
from model.world.language import Description, parse, write

DRAWN = {"codes": arrow.list_(arrow.int64()), "image": arrow.binary(), "thought": arrow.string()}
EARLIER = arrow.list_(arrow.struct(DRAWN | {"reflection": arrow.string()}))
COLUMNS = arrow.schema({"prompt": arrow.string(), **DRAWN, "score": arrow.float64(), "earlier": EARLIER})


@dataclass(frozen=True, eq=False)
class RejectedDraft:
    """An earlier drawing of a trajectory, and what the model said of it."""

    codes: tuple[int, ...]
    image: np.ndarray  # (H, W, 3) uint8, as the codec decoded it
    reflection: str  # “No, …”, true or not
    thought: str | None = None


@dataclass(frozen=True, eq=False)
class PolicyDraft:
    """A drawing that a model made for a description, and its score S: the share of facts that hold (the paper's)."""

    description: Description
    codes: tuple[int, ...]
    image: np.ndarray  # (H, W, 3) uint8, as the codec decoded it
    score: float
    thought: str | None = None  # that it was drawn after
    earlier: tuple[RejectedDraft, ...] = ()  # drawings before it, in whose context it was drawn

    @property
    def right(self) -> bool:
        return self.score == 1


def check_place(path: Path) -> None:
    """Raises DataError where a file stands that no `write_drafts` has written, before hours of drawing."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; give --out a file, such as drafts.parquet")
    if path.exists():
        try:
            columns = parquet.read_schema(path).names
        except (OSError, arrow.ArrowException):
            columns = []
        if not {"prompt", "codes", "image", "score"} <= set(columns) <= set(COLUMNS.names):
            raise DataError(f"{path} is there already and holds no drafts; choose another --out")


def write_drafts(drafts: Sequence[PolicyDraft], path: Path) -> None:
    """One row per draft, its image as a PNG; the file is there whole or not at all. Raises DataError."""
    check_place(path)
    rows = [
        {
            "prompt": write(draft.description),
            **_drawn(draft),
            "score": draft.score,
            "earlier": [{**_drawn(before), "reflection": before.reflection} for before in draft.earlier],
        }
        for draft in drafts
    ]
    scratch = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(arrow.Table.from_pylist(rows, schema=COLUMNS), scratch)
        move_whole(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error}; choose another --out, or make room") from error


def _drawn(draft: PolicyDraft | RejectedDraft) -> dict[str, Any]:
    image = encode_png(Picture.fromarray(draft.image))
    return {"codes": list(draft.codes), "image": image, "thought": draft.thought}


def read_drafts(path: Path) -> list[PolicyDraft]:
    """What `write_drafts` wrote. Raises DataError, which names the row."""
    drafts = []
    for number, row in rows_of(path):
        try:
            drafts.append(_draft_of(row()))
        except (OSError, KeyError, ValueError, TypeError, SyntaxError) as error:
            advice = "give a file that python -m model.training.embedded.own_drafts wrote"
            raise DataError(f"{path}, row {number}: {one_line(error)}; {advice}") from error
    return drafts


def _draft_of(row: dict[str, Any]) -> PolicyDraft:
    if not isinstance(row["score"], float) or not 0 <= row["score"] <= 1:
        raise ValueError(f"the score is {row['score']}, wanted a number from 0 to 1")
    earlier = tuple(_rejected_of(before) for before in row.get("earlier") or ())
    return PolicyDraft(parse(row["prompt"]), score=row["score"], earlier=earlier, **_drawing_of(row))


def _rejected_of(row: dict[str, Any]) -> RejectedDraft:
    if not str(row["reflection"]).startswith("No"):
        raise ValueError(f"the reflection on an earlier draft is {row['reflection']!r}, wanted one that begins with No")
    return RejectedDraft(reflection=row["reflection"], **_drawing_of(row))


def _drawing_of(row: dict[str, Any]) -> dict[str, Any]:
    image = np.asarray(read_rgb(row["image"]))
    return {"codes": tuple(row["codes"]), "image": image, "thought": row.get("thought")}
