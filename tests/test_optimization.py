"""One process or several: the same batch, the same step."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import preloaded
import pytest
import torch
from running_app import free_port
from thoroughness import few

from model.decoding.load_for_inference import open_checkpoint
from model.training.optimization import summed

SFT = ("-m", "model.training.sft", "--world", "--steps", "2", "--batch", "6", "--learning-rate", "1e-3")
GUARDED = ("--distill-rollouts", "4", "--distill-batch", "3", "--evaluate-prompts", "2")


RUNS = Path(__file__).parent / "distributed_runs.py"
METHODS = ("sft", "dpo", "kto", "reward", "grpo")
SPEED = ("seconds", "eta_seconds", "tokens_per_second")
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
    ("options", "launcher"),
    few([((), by_two_forks), ((), by_torchrun), (ADAPTER, by_two_forks)]),
    ids=["all weights", "by torchrun", "adapter"],
)
def test_two_processes_learn_what_one_learns(
    tiny_checkpoint: Path, tmp_path: Path, options: tuple[str, ...], launcher: Launcher
):
    single = run(alone, tiny_checkpoint, tmp_path / "alone", options)
    together = run(launcher, tiny_checkpoint, tmp_path / "together", options)
    assert [row["step"] for row in together] == [row["step"] for row in single] == [0, 1]
    assert [row["processes"] for row in (single[0], together[0])] == [1, 2]
    for one, two in zip(single, together, strict=True):
        for name in ("codes", "text", "verdict", "verdicts_right", "gradient_norm", "distill_kl"):
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-8), name  # a KL of 1e-7 is rounding


def rows_of(folder: Path, name: str) -> list[dict]:
    text = (folder / f"{name.replace(' ', '-')}.jsonl").read_text("utf-8")
    return [{key: value for key, value in json.loads(line).items() if key not in SPEED} for line in text.splitlines()]


def check_alike(alone: list[dict], together: list[dict]) -> None:
    """Metrics of one process and of two, to 1e-3, but for counts and shares that each process has of its own."""
    for one, two in zip(alone, together, strict=True):
        assert (one.pop("processes"), two.pop("processes")) == (1, 2)
        learnt = one.keys() - {"shared", "resampled", "skipped", "verdict_right"}
        assert {name: two[name] for name in learnt} == pytest.approx({name: one[name] for name in learnt}, 1e-3, 1e-5)


def of_methods(launcher: Launcher, checkpoint: Path, folder: Path, mode: str, names: tuple[str, ...]) -> int:
    """The exit status of short runs of several methods."""
    done = launcher(RUNS, checkpoint, folder, mode, *names)
    assert mode == "kill" or done.returncode == 0, done.stderr
    return done.returncode


def test_two_processes_learn_by_every_method_what_one_learns_and_go_on_exactly_after_a_stop(
    tiny_checkpoint: Path, tmp_path: Path, thorough: bool
):
    names = (*METHODS, *(f"{name} adapter" for name in METHODS)) if thorough else ("dpo", "grpo")
    single, together, stopped = (tmp_path / name for name in ("alone", "together", "stopped"))
    of_methods(alone, tiny_checkpoint, single, "whole", names)
    of_methods(by_two_forks, tiny_checkpoint, together, "whole", names)
    of_methods(by_two_forks, tiny_checkpoint, stopped, "stop", names)
    for name in names:
        assert rows_of(stopped, name) == rows_of(together, name), name
        check_alike(rows_of(single, name), rows_of(together, name))


def test_two_processes_with_shards_learn_what_one_learns_and_save_whole_weights(
    tiny_checkpoint: Path, tmp_path: Path, thorough: bool
):
    methods = (*METHODS, "sft adapter", "grpo adapter") if thorough else ("sft",)
    single, together, stopped = (tmp_path / name for name in ("alone", "together", "stopped"))
    of_methods(alone, tiny_checkpoint, single, "whole", methods)
    names = tuple(f"{name} sharded" for name in methods)
    of_methods(by_two_forks, tiny_checkpoint, together, "whole", names)
    of_methods(by_two_forks, tiny_checkpoint, stopped, "stop", names)
    for method, name in zip(methods, names, strict=True):
        assert rows_of(stopped, name) == rows_of(together, name), name
        check_alike(rows_of(single, method), rows_of(together, name))
    expected, saved = (
        open_checkpoint(folder, dtype=torch.float32).network.state_dict()
        for folder in (single / "sft", together / "sft-sharded")
    )
    for name, weight in expected.items():
        torch.testing.assert_close(saved[name], weight, rtol=1e-3, atol=2e-3)


@pytest.mark.thorough
def test_two_processes_of_which_one_is_killed_go_on_exactly(tiny_checkpoint: Path, tmp_path: Path, thorough: bool):
    for name in METHODS if thorough else ("dpo",):
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        of_methods(by_two_forks, tiny_checkpoint, whole, "whole", (name,))
        assert of_methods(by_torchrun, tiny_checkpoint, killed, "kill", (name,)) != 0
        assert len(rows_of(killed, name)) == 1
        of_methods(by_two_forks, tiny_checkpoint, killed, "resume", (name,))
        assert rows_of(killed, name) == rows_of(whole, name)


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
