"""The documented recipe at reduced scale: reinforcement learning of the shipped checkpoint raises its reward."""

import json
from pathlib import Path
from statistics import mean

import preloaded

from model.backends.checkpoint.loading import open_checkpoint

PROMPTS = (
    "a red car and a green tree",
    "a pink bird and a black apple",
    "a blue house and a yellow cat",
    "a purple fish and a red key",
)
MOST = 4  # a drawing and a judging reward of 0 to 2 each
MARGIN = 0.5  # of what is missing to it at first


def test_a_short_run_of_reinforcement_learning_raises_the_reward(tmp_path: Path, thorough: bool):
    """Prompts of the training split, drawn without a thought; the mean over 96 rollouts before and after. Without
    `--all` one step with three prompts, whose four rollouts each are rewarded and whose weights move."""
    steps, prompts = (16, PROMPTS) if thorough else (1, PROMPTS[:3])
    (tmp_path / "prompts.txt").write_text("\n".join(prompts), "utf-8")
    command = ["-m", "model.training.grpo", "--checkpoint", "sft", "--out", tmp_path / "rl"]
    command += ["--prompts-file", tmp_path / "prompts.txt", "--thinking", "0", "--precision", "bf16"]
    command += ["--steps", str(steps), "--prompts", str(len(prompts)), "--rounds", "2", "--warmup", "2"]
    command += ["--learning-rate", "2e-4", "--save-every", "0", "--evaluate-prompts", "0"]
    command += [] if thorough else ["--group", "4"]
    done = preloaded.run(*command)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "rl.jsonl").read_text("utf-8").splitlines()]
    rewards = [row["r_gen"] + row["r_comp"] for row in rows]
    assert len(rows) == steps and all(0 <= reward <= MOST for reward in rewards) and max(rewards) > 0
    shipped, learnt = (open_checkpoint(source).network.lm_head.weight for source in ("sft", tmp_path / "rl"))
    assert not shipped.equal(learnt)
    if not thorough:
        return
    before, after = mean(rewards[:3]), mean(rewards[-3:])
    assert after >= before + MARGIN * (MOST - before), rewards
