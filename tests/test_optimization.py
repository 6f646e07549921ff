"""One process or several: the same batch, the same step."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import preloaded
import pytest
import torch
from preference_runs import METHODS
from running_app import free_port

from model.training.optimization import summed

SFT = ("-m", "model.training.sft", "--world", "--steps", "2", "--batch", "6", "--learning-rate", "1e-3")
GUARDED = ("--keep-rollouts", "4", "--keep-batch", "3", "--evaluate-prompts", "2")


RUNS = Path(__file__).parent / "preference_runs.py"
ADAPTER = ("--adapter", "lora", "--rank", "4", "--checkpointing")


ENVIRONMENT = dict(os.environ) | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(RUNS.parent.parent)}

Launcher = Callable[..., CompletedProcess[str]]


def alone(*command: str | Path) -> CompletedProcess[str]:
    return preloaded.run(*command, environment=ENVIRONMENT)


def by_torchrun(*command: str | Path) -> CompletedProcess[str]:
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port()))
    return preloaded.run(*launcher, *command, environment=ENVIRONMENT)


def by_two_forks(*command: str | Path) -> CompletedProcess[str]:
    """As torchrun would, in processes that need not import everything first."""
    return preloaded.run_as_torchrun(2, free_port(), *command, environment=ENVIRONMENT)


def run(launcher: Launcher, checkpoint: Path, out: Path, options: tuple[str, ...]) -> list[dict]:
    """The metrics of a short run, by step."""
    done = launcher(*SFT, *GUARDED, "--checkpoint", checkpoint, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in Path(f"{out}.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("options", "launcher"), [((), by_torchrun), (ADAPTER, by_two_forks)], ids=["all weights", "adapter"]
)
def test_two_processes_learn_what_one_learns(
    tiny_checkpoint: Path, tmp_path: Path, options: tuple[str, ...], launcher: Launcher
):
    single = run(alone, tiny_checkpoint, tmp_path / "alone", options)
    together = run(launcher, tiny_checkpoint, tmp_path / "together", options)
    assert [row["step"] for row in together] == [row["step"] for row in single] == [0, 1]
    assert [row["processes"] for row in (single[0], together[0])] == [1, 2]
    for one, two in zip(single, together, strict=True):
        for name in ("codes", "text", "verdict", "verdicts_right", "gradient_norm", "keep_kl"):
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-8), name  # a KL of 1e-7 is rounding


def test_two_processes_learn_the_preferences_that_one_learns(tiny_checkpoint: Path, tmp_path: Path):
    logs: list[dict[str, list[dict]]] = []
    for launcher in (alone, by_two_forks):
        folder = tmp_path / launcher.__name__
        done = launcher(RUNS, tiny_checkpoint, folder)
        assert done.returncode == 0, done.stderr
        texts = {name: (folder / f"{name}.jsonl").read_text("utf-8") for name in METHODS}
        logs.append({name: [json.loads(line) for line in text.splitlines()] for name, text in texts.items()})
    for name in METHODS:
        for one, two in zip(logs[0][name], logs[1][name], strict=True):
            assert (one["processes"], two["processes"]) == (1, 2)
            for metric in one.keys() - {"processes", "seconds", "eta_seconds", "tokens_per_second"}:
                assert two[metric] == pytest.approx(one[metric], rel=1e-3, abs=1e-5), (name, metric)


def test_what_is_summed_is_of_one_kind_in_a_process_that_has_nothing_to_learn_from():
    """Processes of different kinds of numbers break each other off."""
    sent = []

    class Alone:
        device = torch.device("cpu")

        def reduce(self, values: torch.Tensor, how: str) -> torch.Tensor:
            sent.append(values.dtype)
            return values

    assert summed(Alone(), [sum([])]) == [0.0]
    assert summed(Alone(), [0.5]) == [0.5]
    assert sent == [torch.float32, torch.float32]
