"""Supervised fine-tuning on exported rows, the embedded world's sequences, or both.

    python -m model.training.sft --data EXPORT --checkpoint DIR --steps 200 --out DIR
    python -m model.training.sft --world --lessons judge --checkpoint EYE --steps 2000 --out DIR

With both sources, half of every batch is the world's, so that a corrected judge does not forget how to draw.

The loop is flat: make lessons, step, log, save. On accelerate: one process here, several by `accelerate launch`.
A run continues with `--resume` where its last save stood; lessons depend on the seed and the step alone.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator

from model.backends.checkpoint import EMBEDDED, open_checkpoint, open_processor
from model.backends.checkpoint_folder import save_checkpoint
from model.backends.janus import Janus
from model.training.attention import attend_in_blocks
from model.training.batch import collate, length, losses, target_counts
from model.training.dataset import DataError, RowBounds, data_files, fingerprint_of, manifest_of, read_lessons
from model.training.embedded.mixtures import MIXES, at_step
from model.training.embedded.own_drafts import OwnDraft, read_drafts
from model.training.embedded.world_sequences import world_lessons
from model.training.optimization import (
    TrainingError,
    check_finite,
    descend,
    new_optimizers,
    new_schedules,
    summed,
    trainable,
)
from model.training.run_folder import Run, RunPaths, RunStart, add_beginning, beginning_of, reporting
from model.training.run_state import fingerprint
from model.training.settings import add_settings, settings_of
from model.training.training_sequences import TrainingSequence

# Of the kinds of targets, by their names in `Losses`, each a mean over its own. A drawing has about four times the
# targets of its thought, and with equal means the drawing took half as many steps again to follow the thought. Notes
# while it looks apart from those while it draws: of these there are far more, and they are learnt soon.
WEIGHTS = {"codes": 4.0, "text": 1.0, "verdict": 0.5, "notes": 1.0, "hand_notes": 1.0}


@dataclass(frozen=True)
class Settings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 200
    batch: int = 32  # lessons per step
    lessons: str = "all"  # of the world: one of MIXES
    micro_batches: int = 1  # parts a step is split into; lessons of like length go together
    learning_rate: float = 2e-4  # AdamW's peak; see `schedule`
    muon: float = 0.0  # Muon's peak, for the matrices within the layers; 0: all is AdamW's
    warmup: int = 20  # steps
    falling: float = 0.25  # share of the steps over which the rates fall, the last ones
    weight_decay: float = 0.05
    clip: float = 1.0  # gradient norm
    precision: str = "no"  # or bf16
    save_every: int = 50  # steps; 0 only at the end
    seed: int = 0
    compile: bool = False  # for a GPU: on a CPU lessons of ever new lengths are compiled again and again
    most_characters: int = RowBounds.characters  # of a row of --data, its texts together
    most_tokens: int = RowBounds.tokens  # of a row, with the positions of its images
    most_megapixels: float = RowBounds.megapixels  # of one picture


LessonSource = Callable[[int, slice], Sequence[TrainingSequence]]  # step, which of its lessons → those


def train(
    janus: Janus,
    source: LessonSource,
    settings: Settings,
    out: Path,
    provenance: dict,
    *,
    resume: bool = False,
    beginning: RunStart | None = None,
) -> None:
    """Run, or go on with a run where its last save stood (`resume`; `beginning` says more of it).

    Raises TrainingError for a loss or gradient that is not finite, CheckpointError for what cannot be gone on with or
    written, RunStopped after a signal.
    """
    accelerator = Accelerator(mixed_precision=settings.precision)
    torch.manual_seed(settings.seed)
    provenance = provenance | {"parent_weights": fingerprint(janus.network)}
    janus.network.train()
    janus.network.model.vqmodel.eval()
    parameters = trainable(janus)
    janus.network.to(accelerator.device)
    attend_in_blocks(janus)
    if settings.compile:
        for part in (janus.network.model.language_model, janus.network.model.vision_model.encoder):
            part.compile(dynamic=True)
    optimizers = new_optimizers(janus, parameters, settings.learning_rate, settings.weight_decay, settings.muon)
    schedules = new_schedules(optimizers, settings.steps, settings.warmup, settings.falling)
    run = Run(
        accelerator,
        out,
        (janus.network, optimizers, schedules),
        provenance,
        lambda about: write_checkpoint(janus, out, provenance | about),
        steps=settings.steps,
        save_every=settings.save_every,
        beginning=beginning or RunStart(resume=resume),
    )
    own = slice(accelerator.process_index, None, accelerator.num_processes)
    with run.hearing_signals(), closing(ahead(source, own, run.first, settings.steps)) as coming:
        for step, lessons in enumerate(coming, run.first):
            metrics = train_step(janus, lessons, settings, accelerator, optimizers, parameters, step)
            for schedule in schedules:
                schedule.step()
            run.finish_step(step, metrics)
        run.end()


def ahead(source: LessonSource, which: slice, first: int, steps: int) -> Iterator[Sequence[TrainingSequence]]:
    """The lessons of every step, made while the step before is learnt."""
    if first >= steps:
        return
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(source, first, which)
        for step in range(first, steps):
            lessons = coming.result()
            if step + 1 < steps:
                coming = maker.submit(source, step + 1, which)
            yield lessons


def train_step(
    janus: Janus,
    lessons: Sequence[TrainingSequence],
    settings: Settings,
    accelerator: Accelerator,
    optimizers: Sequence[torch.optim.Optimizer],
    parameters: Sequence[torch.nn.Parameter],
    step: int = 0,
) -> dict[str, float]:
    """One step over this process's `lessons`; returns its metrics. Raises TrainingError before weights are changed
    where a loss or the gradient is not finite, with the names of the lessons."""
    try:
        metrics = teach(janus, lessons, settings.micro_batches, accelerator, multiple=32 if settings.compile else 1)
        check_finite(metrics)
        metrics["gradient_norm"] = descend(accelerator, parameters, optimizers, settings.clip)
    except TrainingError as error:
        names = ", ".join(dict.fromkeys(lesson.name or "a lesson without a name" for lesson in lessons))
        raise TrainingError(
            f"step {step}: {error}; this step was not taken, and what was saved before stands. Learnt from: {names}. "
            "Look at these, or lower the learning rate"
        ) from error
    return metrics | {"learning_rate": optimizers[-1].param_groups[0]["lr"]}


def teach(
    janus: Janus,
    lessons: Sequence[TrainingSequence],
    micro_batches: int,
    accelerator: Accelerator,
    *,
    share: float = 1.0,
    multiple: int = 1,
) -> dict[str, float]:
    """Gradients of `share` times the loss of this process's lessons, padded to a `multiple` of positions.

    Returns mean losses per kind of target and the verdicts' accuracy, over all processes.
    """
    ordered = sorted(lessons, key=lambda lesson: length(lesson, janus.image_codes))
    size = max(1, -(-len(ordered) // micro_batches))
    parts = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    batches = [collate(part, janus.image_codes, multiple) for part in parts]
    counts = [max(1, count) for count in summed(accelerator, target_counts(janus, batches))]
    weights = [share * weight / count for weight, count in zip(WEIGHTS.values(), counts, strict=True)]
    sums, right = torch.zeros(len(WEIGHTS)), 0
    for batch in batches:
        with accelerator.autocast():
            part = losses(janus, batch)
        found = torch.stack([getattr(part, name) for name in WEIGHTS]).float()
        accelerator.backward((found * found.new_tensor(weights)).sum())
        sums += found.detach().cpu()
        right += part.right
    *sums, right = summed(accelerator, [*sums.tolist(), right])
    means = {name: total / count for name, total, count in zip(WEIGHTS, sums, counts, strict=True)}
    return means | {"verdicts_right": right / counts[list(WEIGHTS).index("verdict")]}


def write_checkpoint(janus: Janus, out: Path, provenance: dict) -> None:
    save_checkpoint(janus.network, open_processor(provenance["parent"]), out, provenance)


def world_source(janus: Janus, mixed: str, seed: int, batch: int, own: Sequence[OwnDraft] = ()) -> LessonSource:
    """Lessons of the embedded world, without end, `mixed` as in MIXES; `own` are a model's own drafts."""

    def lessons(step: int, which: slice) -> list[TrainingSequence]:
        mix = at_step(MIXES[mixed], step)
        rng, made = random.Random(), []
        stream = world_lessons(janus, rng, mix, own)
        for number in range(batch)[which]:
            rng.seed(f"{seed} {step} {number}")
            made.append(replace(next(stream)[1], name=f"lesson {number} of the world at step {step}"))
        return made

    return lessons


def data_source(known: Sequence[TrainingSequence], settings: Settings, batch: int) -> LessonSource:
    """Lessons of an export, shuffled anew every time all have been seen."""

    def shuffled(epoch: int) -> list[TrainingSequence]:
        return random.Random(f"{settings.seed} {epoch}").sample(known, len(known))

    def lessons(step: int, which: slice) -> list[TrainingSequence]:
        size = min(batch, len(known))
        epoch, start = divmod(step * size, len(known))
        return (shuffled(epoch) + shuffled(epoch + 1))[start : start + size][which]

    return lessons


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Open the checkpoint, find the lessons, train. Raises CheckpointError, DataError and what `train` raises."""
    beginning = beginning_of(arguments)
    if not (arguments.data or arguments.world):
        raise DataError("nothing to learn from; give --data EXPORT, --world, or both")
    if arguments.drafts and not arguments.world:
        raise DataError("--drafts are lessons of the world; give --world with them")
    if arguments.data and arguments.world and settings.batch < 2:
        raise DataError(f"--batch {settings.batch} cannot be halved between --data and --world; give 2 or more")
    RunPaths(arguments.out).check(arguments.checkpoint)
    janus = open_checkpoint(arguments.checkpoint, dtype=torch.float32, device="cpu")  # each process has its own device
    provenance = {"parent": str(arguments.checkpoint), "recipe": "sft", "settings": asdict(settings)}
    sources = []
    each = settings.batch // 2 if arguments.data and arguments.world else settings.batch
    if arguments.data:
        bounds = RowBounds(settings.most_characters, settings.most_tokens, settings.most_megapixels)
        known = read_lessons(janus, arguments.data, bounds)
        sources.append(data_source(known, settings, each))
        provenance |= {"data": manifest_of(arguments.data), "examples": len(known)}
        provenance |= {"data_sha256": fingerprint_of(data_files(arguments.data))}
    if arguments.world:
        own = [draft for file in arguments.drafts for draft in read_drafts(file)]
        sources.append(world_source(janus, settings.lessons, settings.seed, each, own))
        provenance |= {"world": True, "drafts": len(own), "drafts_sha256": fingerprint_of(arguments.drafts)}

    def lessons(step: int, which: slice) -> list[TrainingSequence]:
        return [lesson for source in sources for lesson in source(step, which)]

    train(janus, lessons, settings, arguments.out, provenance, beginning=beginning)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.training.sft",
        description="Fine-tune a Janus checkpoint on exported corrections, or on the embedded world's lessons.",
    )
    parser.add_argument("--data", type=Path, help="an export: a folder of Parquet files")
    parser.add_argument(
        "--world", action="store_true", help="lessons of the embedded world; with --data, half of every batch"
    )
    own = "with --world: files of a model's own drafts (model.training.embedded.own_drafts)"
    parser.add_argument("--drafts", type=Path, nargs="+", default=[], metavar="FILE", help=own)
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="what to start from (default: embedded)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the new checkpoint")
    add_beginning(parser)
    add_settings(parser, Settings(), {"lessons": tuple(MIXES), "precision": ("no", "bf16")})
    arguments = parser.parse_args()
    reporting("sft", lambda: run(arguments, settings_of(arguments, Settings())), DataError)


if __name__ == "__main__":
    main()
