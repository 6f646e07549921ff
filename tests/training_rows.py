"""Rows as other people write them, saved as Parquet files; what tests of reading and of training share."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image as Picture

from model.images import encode_png
from model.world.scene import random_scene, render

PNG = encode_png(Picture.fromarray(render(random_scene(random.Random(0), 3))))


def text(words: str | None) -> dict[str, Any]:
    return {"type": "text", "text": words}


IMAGE = {"type": "image", "text": None}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def row(**changes: Any) -> dict[str, Any]:
    """A row that can be learnt, but for the changes."""
    known = {
        "prompt": [user(text("two red apples")), assistant(IMAGE)],
        "completion": [assistant(text("No, one apple is missing."))],
        "images": [{"bytes": PNG, "path": None}],
    }
    return known | changes


def save(folder: Path, rows: list[dict[str, Any]], manifest: dict[str, Any] | None = None) -> Path:
    """A folder with one Parquet file, and a manifest of it where one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "train.parquet"
    columns = dict.fromkeys(name for each in rows for name in each)
    parquet.write_table(arrow.Table.from_pylist([columns | each for each in rows]), file)
    if manifest is not None:
        known = {"kind": "judge_sft", "file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps(known | manifest))
    return folder
