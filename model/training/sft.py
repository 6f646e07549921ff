"""Supervised fine-tuning: annotators' corrections, or the embedded world's lessons, into a better checkpoint.

    python -m model.training.sft --data EXPORT --checkpoint DIR --steps 200 --out DIR
    python -m model.training.sft --world --checkpoint DIR --steps 4000 --out DIR

The loop is flat: make lessons, step, log, save. On accelerate: one process here, several by `accelerate launch`.
A run continues with `--resume` where its last save stood; lessons depend on the seed and the step alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from transformers import AutoProcessor

from model.checkpoint import EMBEDDED, CheckpointError, open_checkpoint, save_checkpoint
from model.janus import Janus
from model.training.batch import collate, length, losses, target_counts
from model.training.dataset import DataError, read_lessons
from model.training.lessons import Lesson
from model.training.world_lessons import Mix, world_lessons

VERDICT_WEIGHT = 0.5  # beside 1 for the other text and 1 for image codes, each a mean over its targets


@dataclass(frozen=True)
class Settings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 200
    batch: int = 32  # lessons per step
    micro_batches: int = 1  # parts a step is split into; lessons of like length go together
    learning_rate: float = 2e-4  # peak; see `learning_rate_factor`
    warmup: int = 20  # steps
    weight_decay: float = 0.05
    clip: float = 1.0  # gradient norm
    precision: str = "no"  # or bf16
    save_every: int = 500  # steps; 0 only at the end
    seed: int = 0
    compile: bool = False


LessonSource = Callable[[int], Sequence[Lesson]]  # step → the lessons of that step


def learning_rate_factor(step: int, settings: Settings) -> float:
    """Warm-up, constant, and a linear descent over the last quarter, so that a run can be prolonged by `--resume`."""
    return min((step + 1) / settings.warmup, 1.0, max(0.02, 4 * (settings.steps - step) / settings.steps))


def trainable(janus: Janus) -> list[torch.nn.Parameter]:
    """Everything but the codec, whose codes are the targets (Janus-Pro-R1 freezes it too)."""
    janus.network.model.vqmodel.requires_grad_(requires_grad=False)
    return [p for p in janus.network.parameters() if p.requires_grad]


def train(janus: Janus, source: LessonSource, settings: Settings, out: Path, provenance: dict, *, resume: bool) -> None:
    accelerator = Accelerator(mixed_precision=settings.precision)
    torch.manual_seed(settings.seed)
    janus.network.train()
    janus.network.model.vqmodel.eval()
    parameters = trainable(janus)
    optimizer = torch.optim.AdamW(
        parameters,
        lr=settings.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=settings.weight_decay,
        foreach=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, settings))
    janus.network, optimizer = accelerator.prepare(janus.network, optimizer)
    state = out.parent / f"{out.name}.state"
    first = load_state(state, janus, optimizer, schedule) if resume else 0
    forward = torch.compile(janus.network.model.language_model) if settings.compile else None
    began, log = time.monotonic(), Log(out.parent / f"{out.name}.jsonl", append=first > 0)
    for step in range(first, settings.steps):
        metrics = train_step(janus, source(step), settings, accelerator, optimizer, parameters, forward)
        schedule.step()
        log.write({"step": step, "seconds": round(time.monotonic() - began, 1), **metrics})
        if settings.save_every and step % settings.save_every == settings.save_every - 1:
            save_state(state, janus, optimizer, schedule, step + 1)
            write_checkpoint(janus, out, provenance | {"step": step + 1})
    write_checkpoint(janus, out, provenance | {"step": settings.steps})
    print(f"saved {out}", file=sys.stderr)


def train_step(janus, lessons, settings, accelerator, optimizer, parameters, forward) -> dict[str, float]:
    """One optimizer step over `lessons`; returns mean losses per kind of target and the verdicts' accuracy."""
    forward = forward or janus.network.model.language_model
    ordered = sorted(lessons, key=lambda lesson: length(lesson, janus.image_codes))
    size = -(-len(ordered) // settings.micro_batches)
    parts = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    batches = [collate(part, janus.image_codes, 32 if settings.compile else 1) for part in parts]
    codes, text, verdicts = (max(1, count) for count in target_counts(janus, batches))
    optimizer.zero_grad(set_to_none=True)
    sums, right = torch.zeros(3), 0
    for batch in batches:
        with accelerator.autocast():
            hidden = forward(
                inputs_embeds=janus.embed(batch.ids, batch.kinds, batch.images), use_cache=False
            ).last_hidden_state
            part = losses(janus, batch, hidden)
        loss = part.codes / codes + part.text / text + VERDICT_WEIGHT * part.verdict / verdicts
        accelerator.backward(loss)
        sums += torch.stack([part.codes, part.text, part.verdict]).detach().cpu().float()
        right += part.right
    norm = accelerator.clip_grad_norm_(parameters, settings.clip)
    optimizer.step()
    means = dict(
        zip(("codes", "text", "verdict"), (sums / torch.tensor([codes, text, verdicts])).tolist(), strict=True)
    )
    return {**means, "verdicts_right": right / verdicts, "gradient_norm": float(norm)}


class Log:
    """Metrics as JSON lines in a file, and a line now and then for the eye."""

    def __init__(self, path: Path, *, append: bool):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("a" if append else "w", encoding="utf-8")

    def write(self, row: dict) -> None:
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        if row["step"] % 10 == 0:
            shown = " ".join(f"{key} {value:.4g}" for key, value in row.items())
            print(shown, flush=True)


def save_state(path: Path, janus: Janus, optimizer, schedule, step: int) -> None:
    scratch = path.with_suffix(".part")
    everything = {
        "network": janus.network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "step": step,
    }
    torch.save(everything, scratch)
    scratch.replace(path)


def load_state(path: Path, janus: Janus, optimizer, schedule) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    janus.network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return state["step"]


def write_checkpoint(janus: Janus, out: Path, provenance: dict) -> None:
    save_checkpoint(janus.network, AutoProcessor.from_pretrained(provenance["parent"]), out, provenance)


def world_source(janus: Janus, settings: Settings, mix: Mix) -> LessonSource:
    def lessons(step: int) -> list[Lesson]:
        stream = world_lessons(janus, random.Random(f"{settings.seed} {step}"), mix)
        return [lesson for _, lesson in (next(stream) for _ in range(settings.batch))]

    return lessons


def data_source(janus: Janus, settings: Settings, data: Path) -> tuple[LessonSource, int]:
    """Lessons of an export, shuffled anew every time all have been seen."""
    known = read_lessons(janus, data)

    def lessons(step: int) -> list[Lesson]:
        size = min(settings.batch, len(known))
        epoch, start = divmod(step * size, len(known))
        order = [
            i
            for e in (epoch, epoch + 1)
            for i in random.Random(f"{settings.seed} {e}").sample(range(len(known)), len(known))
        ]
        return [known[i] for i in order[start : start + size]]

    return lessons, len(known)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.training.sft",
        description="Fine-tune a Janus checkpoint on exported corrections, or on the embedded world's lessons.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="an export: a folder of Parquet files")
    source.add_argument("--world", action="store_true", help="lessons of the embedded world, without end")
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="what to start from (default: embedded)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the new checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on from the last save of --out")
    for name, default in asdict(Settings()).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(default), default=default)
    arguments = parser.parse_args()
    settings = Settings(**{name: getattr(arguments, name) for name in asdict(Settings())})
    try:
        janus = open_checkpoint(arguments.checkpoint, dtype=torch.float32)
        provenance = {"parent": str(arguments.checkpoint), "recipe": "sft", "settings": asdict(settings)}
        if arguments.world:
            lessons = world_source(janus, settings, Mix())
            provenance["data"] = "embedded world"
        else:
            lessons, provenance["examples"] = data_source(janus, settings, arguments.data)
        train(janus, lessons, settings, arguments.out, provenance, resume=arguments.resume)
    except (CheckpointError, DataError) as error:
        sys.exit(f"sft: {error}")


if __name__ == "__main__":
    main()
