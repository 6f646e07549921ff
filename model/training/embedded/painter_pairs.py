"""Pairs of a painter's pictures of the embedded world, of which the verifier finds one right and the other wrong.

    python -m model.training.embedded.painter_pairs --checkpoint painter --prompts 400 --images 6 --out pairs.parquet
    python -m model.training.dpo --backend diffusion --checkpoint painter --data pairs.parquet --out preferred

Prompts are GenEval-like ones of the training split, categories in turn. Every right picture of a prompt is paired with
a wrong one, as long as there are both. Rows have the columns of the export kind `image_pref`; the margin is how many of
the facts more hold of the right one.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image as Picture

from model.atomic_files import move_whole
from model.backends.contract import Backend
from model.backends.registry import open_backend, painter_source
from model.backends.request import Request
from model.evaluation.finished_rollouts import drawn_pictures
from model.images import encode_png
from model.training.runs.command import bounded, run_command
from model.world.language import Description, write
from model.world.splits import GENEVAL, sample_training
from model.world.verifier import accepted, check, read, score

AT_ONCE = 64  # pictures
COLUMNS = ("prompt", "chosen", "rejected", "margin")


def painted(backend: Backend, descriptions: Sequence[Description], images: int, seed: int) -> list[list[np.ndarray]]:
    """`images` pictures (H, W, 3) uint8 of every description, each with a seed of its own."""
    requests = [
        Request(write(description), seed + images * number + which, 1, preview_every=None, id=f"{number} {which}")
        for number, description in enumerate(descriptions)
        for which in range(images)
    ]
    made: list[list[np.ndarray]] = [[] for _ in descriptions]
    for name, _, pictures in sorted(drawn_pictures(backend, requests, AT_ONCE), key=lambda each: each[0]):
        made[int(name.partition(" ")[0])] += pictures[:1]
    return made


def pairs_of(description: Description, pictures: Sequence[np.ndarray]) -> Iterator[dict[str, Any]]:
    """Rows of the kind `image_pref`: right pictures, each with a wrong one."""
    facts = [check(description, read(picture)) for picture in pictures]
    right, wrong = ([n for n, each in enumerate(facts) if accepted(each) is kind] for kind in (True, False))
    for chosen, rejected in zip(right, wrong, strict=False):
        files = [
            {"bytes": encode_png(Picture.fromarray(pictures[number])), "path": None} for number in (chosen, rejected)
        ]
        values = (write(description), *files, score(facts[chosen]) - score(facts[rejected]))
        yield dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training.embedded.painter_pairs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--checkpoint", default="painter", help="what paints (default: painter)")
    parser.add_argument("--prompts", type=bounded(int, 1, 10**6), default=400, help="how many (default: 400)")
    parser.add_argument("--images", type=bounded(int, 2, 64), default=6, help="of a prompt (default: 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file")
    arguments = parser.parse_args()

    def work() -> None:
        rng = Random(f"{arguments.seed} painter pairs")
        descriptions = [sample_training(rng, GENEVAL[n % len(GENEVAL)]) for n in range(arguments.prompts)]
        backend = open_backend(painter_source(arguments.checkpoint))
        pictures = painted(backend, descriptions, arguments.images, arguments.seed)
        rows = [row for pair in zip(descriptions, pictures, strict=True) for row in pairs_of(*pair)]
        scratch = arguments.out.with_name(f".{arguments.out.name}.part")
        parquet.write_table(arrow.Table.from_pylist(rows), scratch)
        move_whole(scratch, arguments.out)
        print(f"{len(rows)} pairs of {arguments.prompts * arguments.images} pictures: {arguments.out}")

    run_command("painter_pairs", work)


if __name__ == "__main__":
    main()
