"""One process or several: the same batch, the same step."""

import json
import os
from pathlib import Path

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


def run(launcher: list[str], checkpoint: Path, out: Path, options: tuple[str, ...]) -> list[dict]:
    """The metrics of a short run, by step."""
    environment = dict(os.environ) | {"ACCELERATE_USE_CPU": "true"}
    command = [*launcher, *SFT, *GUARDED, "--checkpoint", str(checkpoint), "--out", str(out), *options]
    done = preloaded.run(*command, environment=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in Path(f"{out}.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("options", [(), ADAPTER], ids=["all weights", "adapter"])
def test_two_processes_learn_what_one_learns(tiny_checkpoint: Path, tmp_path: Path, options: tuple[str, ...]):
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    alone = run([], tiny_checkpoint, tmp_path / "alone", options)
    together = run(launcher, tiny_checkpoint, tmp_path / "together", options)
    assert [row["step"] for row in together] == [row["step"] for row in alone] == [0, 1]
    assert [row["processes"] for row in (alone[0], together[0])] == [1, 2]
    for one, two in zip(alone, together, strict=True):
        for name in ("codes", "text", "verdict", "verdicts_right", "gradient_norm", "keep_kl"):
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-8), name  # a KL of 1e-7 is rounding


def test_two_processes_learn_the_preferences_that_one_learns(tiny_checkpoint: Path, tmp_path: Path):
    environment = dict(os.environ) | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(RUNS.parent.parent)}
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    logs: list[dict[str, list[dict]]] = []
    for number, before in enumerate(([], launcher)):
        folder = tmp_path / str(number)
        done = preloaded.run(*before, RUNS, tiny_checkpoint, folder, environment=environment)
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
