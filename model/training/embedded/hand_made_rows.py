"""Rows of the embedded world by hand, as many of each kind and for the same prompts as prepared ones.

    python -m model.prepare --out PREPARED
    python -m model.training.embedded.hand_made_rows PREPARED --out HAND

What prepared rows are worth is measured against these: scenes that the world composes and spoils itself, with its
verifier's reasons, in the place of what a painter drew.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image as Picture

from model.examples import JudgeExample
from model.images import encode_png
from model.messages import flattened
from model.reflection_text import first_verdict
from model.templates import YES
from model.training.dataset import DataError, data_files, rows_of
from model.training.runs.command import run_command
from model.training.world_data.world_sequences import reflect
from model.world.defects import spoil
from model.world.language import Description, parse
from model.world.plan import write_plan
from model.world.random_scenes import sample_scene
from model.world.repair import repair_scene
from model.world.scene import Scene, render
from model.world.verifier import read

Row = dict[str, Any]


def _draw(rng: random.Random, description: Description, row: Row) -> Row:
    return _drawing(row, sample_scene(rng, description))


def _judge(rng: random.Random, description: Description, row: Row) -> Row:
    scene = sample_scene(rng, description)
    right = first_verdict(row["completion"][0]["content"][0]["text"]) == YES
    image = render(scene) if right else spoil(rng, description, scene)[1]
    prompt = _prompt(row)
    return JudgeExample(prompt, (_png(image),), (), reflect(rng, description, image), origin="sampled").to_row()


def _redraw(rng: random.Random, description: Description, row: Row) -> Row:
    draft = spoil(rng, description, sample_scene(rng, description))[1]
    drafts = {"drafts": [{"bytes": _png(draft), "path": None}], "reflections": [reflect(rng, description, draft)]}
    return _drawing(row, repair_scene(rng, description, read(draft))) | drafts


def _drawing(row: Row, scene: Scene) -> Row:
    """Without codes: the checkpoint's codec makes them of the picture."""
    thought = row["thought"] and write_plan(scene)
    return {"prompt": row["prompt"], "thought": thought, "image": {"bytes": _png(render(scene)), "path": None}}


def _png(image: np.ndarray) -> bytes:
    return encode_png(Picture.fromarray(image))


def _prompt(row: Row) -> str:
    if isinstance(row["prompt"], str):
        return row["prompt"]
    return "".join(part.text or "" for part in flattened("prompt", row["prompt"]) if part.message == 1)


MAKERS: dict[str, Callable[[random.Random, Description, Row], Row]] = {
    "draw_sft": _draw,
    "judge_sft": _judge,
    "redraw_sft": _redraw,
}


def hand_made(folder: Path, kind: str, seed: int) -> list[Row]:
    """A row for each of a folder of this kind. Raises DataError."""
    rows = [row() for file in data_files(folder, kind) for _, row in rows_of(file)]
    rng = random.Random(f"{seed} {kind}")
    return [MAKERS[kind](rng, parse(_prompt(row)), row) for row in rows]


def run(arguments: argparse.Namespace) -> None:
    """Raises DataError and OSError."""
    if arguments.out.exists():
        raise DataError(f"{arguments.out} is there already; choose another --out")
    for kind in MAKERS:
        rows = hand_made(arguments.prepared / kind, kind, arguments.seed)
        (arguments.out / kind).mkdir(parents=True)
        parquet.write_table(arrow.Table.from_pylist(rows), arguments.out / kind / "train.parquet")
        print(f"{len(rows)} rows of {kind}: {arguments.out / kind}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.training.embedded.hand_made_rows", description=__doc__.split("\n")[0]
    )
    parser.add_argument("prepared", type=Path, help="what python -m model.prepare wrote, of the embedded world")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    run_command("hand_made_rows", lambda: run(arguments), DataError)


if __name__ == "__main__":
    main()
