"""Drafts of a model, right and wrong, as training data for judging and redrawing.

    python -m model.training.embedded.own_drafts --checkpoint DIR --prompts 3000 --out drafts.parquet
    python -m model.training.sft --world --drafts drafts.parquet …

Constructed mistakes come first, when there is no model yet; its own are of other kinds and shares.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import torch
from PIL import Image as Picture

from model.atomic_files import move_whole
from model.backends.checkpoint.loading import EMBEDDED, open_checkpoint
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.evaluation.finished_rollouts import pictures_of
from model.images import encode_png, read_rgb
from model.training.dataset import DataError, one_line, rows_of
from model.training.runs.command import run_command
from model.trajectory import Thought
from model.world.language import CATEGORIES, Description, parse, write
from model.world.splits import sample_training
from model.world.verifier import check, read, score

COLUMNS = arrow.schema(
    {
        "prompt": arrow.string(),
        "codes": arrow.list_(arrow.int64()),
        "image": arrow.binary(),
        "score": arrow.float64(),
        "thought": arrow.string(),
    }
)


@dataclass(frozen=True, eq=False)
class PolicyDraft:
    """A drawing that a model made for a description, and its score S: the share of facts that hold (the paper's)."""

    description: Description
    codes: tuple[int, ...]
    image: np.ndarray  # (H, W, 3) uint8, as the codec decoded it
    score: float
    thought: str | None = None  # that it was drawn after

    @property
    def right(self) -> bool:
        return self.score == 1


def make_drafts(
    janus: Janus, count: int, thinking: float, seed: int, category: str | None = None, batch: int = 64
) -> Iterator[PolicyDraft]:
    """First drawings of `count` training prompts, of one category or of all, `thinking` of them after a thought."""
    rng = random.Random(f"drafts {seed}")
    prompts = [sample_training(rng, category) for _ in range(count)]
    with_thought = round(count * thinking) if janus.sampling.thinks else 0
    rng.shuffle(prompts)
    for thinks, part in ((True, prompts[:with_thought]), (False, prompts[with_thought:])):
        sampling = replace(janus.sampling, thinks=thinks)
        requests = [
            Request(write(description), seed + i, 1, sampling, preview_every=None, id=str(i))
            for i, description in enumerate(part)
        ]
        for name, trajectory, [picture] in pictures_of(JanusBackend(janus), requests, batch):
            description, [image] = part[int(name)], trajectory.images
            thought = next((segment.text for segment in trajectory.segments if isinstance(segment, Thought)), None)
            yield PolicyDraft(description, image.codes, picture, score(check(description, read(picture))), thought)


def check_place(path: Path) -> None:
    """Raises DataError where a file stands that no `write_drafts` has written, before hours of drawing."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; give --out a file, such as drafts.parquet")
    if path.exists():
        try:
            columns = parquet.read_schema(path).names
        except (OSError, arrow.ArrowException):
            columns = []
        if columns != COLUMNS.names:
            raise DataError(f"{path} is there already and holds no drafts; choose another --out")


def write_drafts(drafts: Sequence[PolicyDraft], path: Path) -> None:
    """One row per draft, its image as a PNG; the file is there whole or not at all. Raises DataError."""
    check_place(path)
    rows = [
        {
            "prompt": write(draft.description),
            "codes": list(draft.codes),
            "image": encode_png(Picture.fromarray(draft.image)),
            "score": draft.score,
            "thought": draft.thought,
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
    image = np.asarray(read_rgb(row["image"]))
    return PolicyDraft(parse(row["prompt"]), tuple(row["codes"]), image, row["score"], row.get("thought"))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.training.embedded.own_drafts", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="what draws (default: embedded)")
    parser.add_argument("--prompts", type=int, default=3000, help="of the training split, one drawing each")
    parser.add_argument("--category", choices=CATEGORIES, help="of the prompts (default: all)")
    parser.add_argument("--thinking", type=float, default=0.5, help="share drawn after a thought")
    parser.add_argument("--temperature", type=float, default=1.0, help="of image codes and thoughts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a .parquet file")
    arguments = parser.parse_args()
    run_command("drafts", lambda: run(arguments), DataError)


def run(arguments: argparse.Namespace) -> None:
    """Raises CheckpointError and DataError."""
    check_place(arguments.out)
    janus = open_checkpoint(arguments.checkpoint)
    if janus.small:
        torch.set_num_threads(1)
    hot = {"temperature": arguments.temperature, "text_temperature": arguments.temperature}
    janus.sampling = replace(janus.sampling, **hot)
    drafts = list(make_drafts(janus, arguments.prompts, arguments.thinking, arguments.seed, arguments.category))
    write_drafts(drafts, arguments.out)
    print(f"{len(drafts)} drafts, {sum(draft.right for draft in drafts)} of them right: {arguments.out}")


if __name__ == "__main__":
    main()
