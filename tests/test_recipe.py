"""The documented recipe at reduced scale: reinforcement learning of the shipped checkpoint raises its reward."""

import json
from pathlib import Path
from statistics import mean

import preloaded
import pytest

from model.decoding.load_for_inference import open_checkpoint

PROMPTS = (
    "a red car and a green tree",
    "a pink bird and a black apple",
    "a blue house and a yellow cat",
    "a purple fish and a red key",
)
MOST = 4  # a drawing and a judging reward of 0 to 2 each
MARGIN = 0.5  # of what is missing to it at first


def run(out: Path, steps: int, prompts: tuple[str, ...], *options: str) -> list[float]:
    """The mean reward of each step, from 0 to MOST, of prompts drawn without a thought."""
    file = out.with_suffix(".txt")
    file.write_text("\n".join(prompts), "utf-8")
    command = ["-m", "model.training.grpo", "--checkpoint", "sft", "--out", out, "--prompts-file", file]
    command += ["--thinking", "0", "--precision", "bf16", "--rounds", "2", "--warmup", "2", "--learning-rate", "2e-4"]
    command += ["--steps", str(steps), "--prompts", str(len(prompts)), "--save-every", "0", "--evaluate-prompts", "0"]
    done = preloaded.run(*command, *options)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.with_suffix(".jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == steps
    return [row["r_gen"] + row["r_comp"] for row in rows]


@pytest.mark.thorough
def test_a_step_of_reinforcement_learning_rewards_its_rollouts_and_moves_the_weights(tmp_path: Path):
    [reward] = run(tmp_path / "rl", 1, PROMPTS[:3], "--group", "4")
    assert 0 < reward <= MOST
    shipped, learnt = (open_checkpoint(source).network.lm_head.weight for source in ("sft", tmp_path / "rl"))
    assert not shipped.equal(learnt)


@pytest.mark.thorough
def test_a_short_run_of_reinforcement_learning_raises_the_reward(tmp_path: Path):
    """Prompts of the training split; the mean over 96 rollouts before and after."""
    rewards = run(tmp_path / "rl", 16, PROMPTS)
    before, after = mean(rewards[:3]), mean(rewards[-3:])
    assert after >= before + MARGIN * (MOST - before), rewards
