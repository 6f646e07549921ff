"""Pairs of drawings of the embedded world for a reward model: a right one, and the same with a synthetic defect.

    python -m model.training.embedded.reward_pairs --pairs 600 --out pairs.parquet
    python -m model.training.embedded.reward_pairs --pairs 200 --held-out --out others.parquet
    python -m model.training.reward --data pairs.parquet --held-out others.parquet --out reward

Rows have the columns of the export kind `reward`; the verifier says which drawing is right, and the margin is how many
of the facts more hold of it. With --held-out they are of prompts that no training sees.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image as Picture

from model.atomic_files import move_whole
from model.images import encode_png
from model.training.runs.command import bounded, run_command
from model.world.defects import spoil
from model.world.language import CATEGORIES, write
from model.world.random_scenes import sample_scene
from model.world.scene import render
from model.world.splits import sample_test, sample_training
from model.world.verifier import check, read, score


def reward_pairs(count: int, seed: int, *, held_out: bool = False) -> Iterator[dict[str, Any]]:
    """Rows of the kind `reward`, categories in turn."""
    rng = random.Random(f"{seed} {held_out} reward pairs")
    for number in range(count):
        category = CATEGORIES[number % len(CATEGORIES)]
        description = (sample_test if held_out else sample_training)(rng, category)
        right = sample_scene(rng, description)
        _, wrong = spoil(rng, description, right)
        pictures = [{"bytes": encode_png(Picture.fromarray(each)), "path": None} for each in (render(right), wrong)]
        yield {
            "type": "pair",
            "prompt": write(description),
            "criterion": "right",
            "image": pictures[0],
            "rejected": pictures[1],
            "margin": 1 - score(check(description, read(wrong))),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training.embedded.reward_pairs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--pairs", type=bounded(int, 1, 10**6), default=600, help="how many (default: 600)")
    parser.add_argument("--held-out", action="store_true", help="of prompts that no training sees")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file")
    arguments = parser.parse_args()

    def work() -> None:
        rows = list(reward_pairs(arguments.pairs, arguments.seed, held_out=arguments.held_out))
        scratch = arguments.out.with_name(f".{arguments.out.name}.part")
        parquet.write_table(arrow.Table.from_pylist(rows), scratch)
        move_whole(scratch, arguments.out)

    run_command("reward_pairs", work)


if __name__ == "__main__":
    main()
