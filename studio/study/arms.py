"""Arms of the study: stages of training on one source of answers, each measured on the same held-out prompts.

A stage is a command of the trainer; its checkpoint and figures lie in the study's folder, and what lies there is not
done again. A stage whose export has no rows goes on with those of the stage before it, so that every arm has the same
number of steps.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model.atomic_files import write_whole
from model.backends.registry import open_backend
from model.evaluation.bootstrap import Figure, from_counts, to_counts
from model.evaluation.figures import Judged, drawing_requests, figures
from model.evaluation.fixed_prompts import DIRECTIONS
from model.evaluation.recorded import RecordedRollouts, checkpoint_stamp, judge_recorded
from model.training.runs.folder import RunPaths
from model.world.splits import GENEVAL, HARD, held_out_prompts

Figures = dict[str, dict[str, Figure]]  # split → row → figure
Trainer = Callable[[Sequence[str], Path], None]  # carries out a command of the trainer, with a log

BOTH = "GenEval-like and hard"
KINDS = {  # what each stage learns from
    "sft": ("judge_sft", "draw_sft", "redraw_sft"),
    "dpo": ("judge_pref", "image_pref"),
    "grpo": (),
}


class StudyError(Exception):
    """What keeps a study from going on; the message says what to do."""


@dataclass(frozen=True)
class StudyStage:
    """One command of the trainer."""

    method: str  # sft, dpo or grpo
    steps: int
    options: tuple[str, ...] = ()  # others of its command
    only: tuple[str, ...] = ()  # kinds of KINDS[method] that it learns from; none named: all

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it learns from."""
        return self.only or KINDS[self.method]


@dataclass(frozen=True)
class Arm:
    """One source of answers, so many of them, one seed."""

    source: str  # corrections, control or critic
    size: int  # answered items
    seed: int

    @property
    def name(self) -> str:
        return f"{self.source}-{self.size}"


@dataclass(frozen=True)
class HeldOut:
    """The prompts by which every stage is measured, drawn without a plan."""

    prompts: int  # half GenEval-like, half hard
    rounds: int = 2
    batch: int = 32
    seed: int = 0


def with_rows(stage: StudyStage, exports: Mapping[str, Path], stages: Sequence[StudyStage]) -> StudyStage:
    """The stage itself, or, where nothing was exported for it, as many steps of fine-tuning."""
    if not stage.kinds or any(kind in exports for kind in stage.kinds):
        return stage
    tuned = next((other for other in stages if other.method == "sft"), StudyStage("sft", stage.steps))
    return replace(tuned, steps=stage.steps)


def training_command(
    stage: StudyStage, exports: Mapping[str, Path], parent: str | Path, out: Path, seed: int
) -> tuple[str, ...]:
    """The module and the options of a stage's command; `exports` by kind."""
    data = [str(exports[kind]) for kind in stage.kinds if kind in exports]
    command = [f"model.training.{stage.method}", *(["--data", *data] if data else [])]
    command += ["--checkpoint", str(parent), "--out", str(out), "--steps", str(stage.steps), "--seed", str(seed)]
    return (*command, *stage.options)


def in_a_process(command: Sequence[str], log: Path) -> None:
    """`python -m` COMMAND; what it says is appended to `log`. Raises StudyError where it fails."""
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run([sys.executable, "-m", *command], stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise StudyError(f"python -m {' '.join(command)} ended with {done.returncode}; see {log}")


def measure(checkpoint: str | Path, held_out: HeldOut, record: Path) -> Figures:
    """The figures of a checkpoint by split and of both splits together; its rollouts are recorded in a file, so that a
    measurement that was stopped goes on."""
    backend = open_backend(checkpoint)
    sampling = replace(backend.sampling, thinks=False, thinks_after_no=False)
    recorded = RecordedRollouts(record, checkpoint_stamp(checkpoint))
    judged: dict[str, list[Judged]] = {}
    for split, categories in (("GenEval-like", GENEVAL), ("hard", HARD)):
        prompts = held_out_prompts(held_out.prompts // 2, categories, held_out.seed)
        requests = drawing_requests(prompts, sampling, held_out.rounds, held_out.seed)
        judged[split] = judge_recorded(backend, requests, prompts, held_out.batch, recorded)
    judged[BOTH] = [rollout for rollouts in judged.values() for rollout in rollouts]
    rows = {split: figures(rollouts) for split, rollouts in judged.items()}
    return {split: {row: of[row] for row in DIRECTIONS if row in of} for split, of in rows.items()}


def measured(checkpoint: str | Path, held_out: HeldOut, file: Path, about: Mapping[str, object]) -> Figures:
    """`measure`, once: the result lies in a JSON file, with what else is to be said of it."""
    if not file.exists():
        results = measure(checkpoint, held_out, file.with_suffix(".rollouts.jsonl"))
        plain = {split: {row: to_counts(figure) for row, figure in rows.items()} for split, rows in results.items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps({"about": dict(about), "figures": plain}), mode=0o644)
    return read_figures(file)


def read_figures(file: Path) -> Figures:
    plain = json.loads(file.read_text("utf-8"))["figures"]
    return {split: {row: from_counts(counts) for row, counts in rows.items()} for split, rows in plain.items()}


def run_arm(
    arm: Arm,
    stages: Sequence[StudyStage],
    exports: Mapping[str, Path],
    start: str,
    folder: Path,
    held_out: HeldOut,
    train: Trainer = in_a_process,
) -> dict[str, Figures]:
    """The figures after every stage, each of which goes on from the one before it. Raises StudyError."""
    parent: str | Path = start
    results, done = {}, []
    for stage in stages:
        done.append(stage.method)
        out = folder / "-".join(done)
        file = folder / f"{out.name}.figures.json"
        if not file.exists():
            command = training_command(with_rows(stage, exports, stages), exports, parent, out, arm.seed)
            begun = ("--resume",) if RunPaths(out).state.exists() else ()
            train([*command, *begun], folder / f"{out.name}.log")
            measured(out, held_out, file, {"arm": vars(arm), "stage": stage.method, "command": command})
        results[stage.method], parent = read_figures(file), out
    return results
