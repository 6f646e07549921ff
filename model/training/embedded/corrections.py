"""Corrections of a checkpoint's own reflections as the verifier would write them, as rows of the kind `judge_sft`.

    python -m model.training.embedded.corrections --checkpoint rl --count 40 --out corrections
    python -m model.training.sft --data corrections --checkpoint rl --steps 50 --out better

They simulate an annotator who makes no mistakes. A third of the rows correct a wrong verdict, a third the false reason
of a right “no”, and a third confirm what was said of a right drawing. Prompts are of the training split, hard
ones and others in turn, drawn without a thought.
"""

import argparse
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from PIL import Image as Picture

from model.backends.checkpoint.loading import EMBEDDED
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend, open_janus
from model.evaluation.figures import reason_is_true
from model.evaluation.finished_rollouts import drawn_pictures
from model.examples import JudgeExample
from model.images import encode_png
from model.training.dataset import DataError
from model.training.runs.command import run_command
from model.training.world_data.world_sequences import reflect
from model.trajectory import Reflection
from model.world.language import Description, write
from model.world.splits import sample_training
from model.world.verifier import accepted, check, read

AT_ONCE = 64  # drawings of one batch
MOST_DRAWN = 200  # drawings per correction, before there are too few faults
KINDS = ("verdict", "reason", "confirmed")


def corrections(backend: JanusBackend, count: int, seed: int) -> list[JudgeExample]:
    """`count` corrections of the kinds in turn. Raises DataError for a checkpoint with too few faults."""
    rows: dict[str, list[JudgeExample]] = {kind: [] for kind in KINDS}
    most = count * MOST_DRAWN
    for kind, example in _annotated(backend, most, seed):
        if len(rows[kind]) < -(-count // len(KINDS)):
            rows[kind].append(example)
        if sum(map(len, rows.values())) == len(KINDS) * -(-count // len(KINDS)):
            return [example for turn in zip(*rows.values(), strict=True) for example in turn][:count]
    counts = ", ".join(f"{len(examples)} of {kind}" for kind, examples in rows.items())
    raise DataError(f"{most} drawings gave too few corrections ({counts}); ask for fewer")


def _annotated(backend: JanusBackend, most: int, seed: int) -> Iterator[tuple[str, JudgeExample]]:
    """Kind and row of every drawing whose reflection has a fault, or that is right and was passed."""
    rng = random.Random(f"corrections {seed}")
    sampling = replace(backend.sampling, thinks=False)
    for start in range(0, most, AT_ONCE):
        prompts = [sample_training(rng, "hard" if number % 2 else None) for number in range(AT_ONCE)]
        requests = [
            Request(write(prompt), seed + start + number, 1, sampling, None, id=str(number))
            for number, prompt in enumerate(prompts)
        ]
        for name, trajectory, [picture] in drawn_pictures(backend, requests, AT_ONCE, progress=False):
            prompt, [said] = prompts[int(name)], trajectory.reflections
            kind = _kind(prompt, picture, said)
            if kind is not None:
                png, words = encode_png(Picture.fromarray(picture)), reflect(rng, prompt, picture)
                yield kind, JudgeExample(write(prompt), (png,), (), words, decided=True)


def _kind(prompt: Description, picture: np.ndarray, said: Reflection) -> str | None:
    reading = read(picture)
    right = accepted(check(prompt, reading))
    if right != (said.answer == "yes"):
        return "verdict"
    if right:
        return "confirmed"
    return None if reason_is_true(prompt, reading, said) else "reason"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.training.embedded.corrections", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="whose reflections are corrected")
    parser.add_argument("--count", type=int, default=40, help="rows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    run_command("corrections", lambda: run(arguments), DataError)


def run(arguments: argparse.Namespace) -> None:
    """Raises CheckpointError and DataError."""
    if arguments.out.exists():
        raise DataError(f"{arguments.out} is there already; choose another --out")
    examples = corrections(open_janus(arguments.checkpoint), arguments.count, arguments.seed)
    arguments.out.mkdir(parents=True)
    rows = arrow.Table.from_pylist([example.to_row() for example in examples])
    parquet.write_table(rows, arguments.out / "train.parquet")
    print(f"{len(examples)} corrections: {arguments.out}")


if __name__ == "__main__":
    main()
