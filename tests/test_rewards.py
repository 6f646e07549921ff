"""Rewards by name and weight: a reward model, critics, several at once, groups that teach nothing, and the watch."""

import argparse
import importlib
import json
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests_support import end_texts_soon

from annotations.importing.formats import ours
from annotations.schema.imported_record import Record
from model.backends.checkpoint.saving import save_checkpoint
from model.backends.contract import Domain
from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.training.batch import collate
from model.training.embedded.network import new_config, new_network, new_processor, new_tokenizer
from model.training.grpo import (
    ClippedPolicyGradient,
    GrpoSettings,
    RolloutSource,
    advantages_of,
    clip_mask,
    sequences_with_advantages,
    train,
)
from model.training.policy import Policy, write_checkpoint
from model.training.rewards import verifier
from model.training.rewards.critic import open_critic
from model.training.rewards.janus_pro_r1 import RewardError
from model.training.rewards.registry import Assessment, open_reward, read_choice
from model.training.rewards.reward_network import HEAD, RewardNetwork
from model.training.rollouts import Prompt, Rollout, branch_starts, roll_out, starts_of, statistics
from model.training.runs.command import add_settings
from model.training.safeguards.reward_watch import Watch, Watched, ranks, write_trajectory
from model.training.training_sequences import TokenKind
from model.training.world_data.world_prompts import world_prompts
from model.trajectory import Origin, Sampling, Token, Trajectory

SMALL = GrpoSettings(
    steps=2, prompts=2, group=4, rounds=1, thinking=0.0, thinking_hard=0.0, learning_rate=1e-3, warmup=1
)


@pytest.fixture(scope="module")
def janus(tiny_checkpoint: Path) -> Janus:
    return open_checkpoint(tiny_checkpoint, dtype=torch.float32)


@pytest.fixture(scope="module")
def groups(janus: Janus) -> list[list[Rollout]]:
    rng = random.Random(0)
    starts = starts_of(janus, [Prompt("a cat"), Prompt("two dogs")], 0.0, 0.0, rng)
    return roll_out(janus, verifier.assess, starts, 4, 1, rng)


def redness(trajectory: Trajectory, pictures: list[np.ndarray]) -> Assessment:
    """A critic that one colour fools: the share of pixels that are rather red than green."""
    return Assessment(tuple(float((p[..., 0].astype(int) > p[..., 1]).mean()) for p in pictures))


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch):
    """Makes a function a reward under a name."""
    rewards, real = {}, importlib.import_module

    def found(name: str):
        return rewards.get(name.rpartition(".")[2]) or real(name)

    def name(label: str, assess) -> None:
        rewards[label] = SimpleNamespace(assess=assess)
        names = [*rewards, "verifier"]
        monkeypatch.setattr("model.training.rewards.registry.reward_names", lambda: names)

    monkeypatch.setattr(importlib, "import_module", found)
    return name


# --- by name ----------------------------------------------------------------------------------------------------


def test_rewards_are_chosen_by_name_argument_and_weight():
    choice = read_choice("drawing verifier:1 reward_model:/some/folder:0.5,critic:owner/name")
    assert choice.weights == {"verifier": 1.0, "reward_model:/some/folder": 0.5, "critic:owner/name": 1.0}
    assert (choice.drawing, choice.judging, choice.shares["reward_model:/some/folder"]) == (True, False, 0.2)
    for wrong, problem in (
        ("reward_model", "such as reward_model:FOLDER:1"),
        ("critic:0.5", "such as critic:MODEL:1"),
        ("verifier:else:1", "such as verifier:1"),
        ("verifier:0", "a weight above 0"),
    ):
        with pytest.raises(RewardError, match=problem):
            read_choice(wrong)


def test_the_command_takes_several_rewards_as_words():
    parser = argparse.ArgumentParser()
    add_settings(parser, GrpoSettings())
    arguments = parser.parse_args(["--reward", "drawing", "verifier:1", "critic:owner/name:0.5", "--watch", "verifier"])
    assert (arguments.reward, arguments.watch) == ("drawing verifier:1 critic:owner/name:0.5", "verifier")
    assert parser.parse_args([]).reward == "both"


def test_a_reward_model_is_a_reward_by_its_folder(janus: Janus, tiny_checkpoint: Path, groups, tmp_path: Path):
    network = RewardNetwork(janus)
    write_checkpoint(janus, tmp_path / "reward", {"parent": str(tiny_checkpoint)}, {HEAD: network.head.state_dict()})
    rollout = groups[0][0]
    pictures = [rollout.pictures[image.sha256] for image in rollout.trajectory.images]
    fits = open_reward(f"reward_model:{tmp_path / 'reward'}")(rollout.trajectory, pictures).fits
    p_yes = [reflection.p_yes for reflection in rollout.trajectory.reflections]
    assert fits == pytest.approx(p_yes, abs=2e-3)  # before training, but for the weights' half precision


def test_a_critic_says_how_probable_yes_is_of_the_whole_or_of_each_fact(tiny_checkpoint: Path, groups):
    rollout = groups[1][0]
    pictures = [rollout.pictures[image.sha256] for image in rollout.trajectory.images]
    fits = open_reward(f"critic:{tiny_checkpoint}")(rollout.trajectory, pictures).fits
    assert len(fits) == len(pictures) and all(0 < fit < 1 for fit in fits)
    opened = open_critic(str(tiny_checkpoint))
    assert fits[0] == opened.p_yes("two dogs", pictures[0])
    asked = replace(rollout.trajectory, prompt="two dogs, a cat and a red boat")
    facts = Domain().facts(asked.prompt)
    assert facts == ("two dogs", "a cat", "a red boat")
    [mean, *_] = open_reward(f"checklist:{tiny_checkpoint}")(asked, pictures).fits
    assert mean == pytest.approx(np.mean([opened.p_yes(fact, pictures[0]) for fact in facts]))
    with pytest.raises(RewardError, match="could not be opened as a critic"):
        open_reward("critic:/nowhere")


# --- several ----------------------------------------------------------------------------------------------------


def test_several_rewards_are_normalised_apart_before_they_are_summed_as_in_trl(groups):
    settings = replace(SMALL, reward="drawing verifier:1 critic:owner/name:0.5")
    first, second = [0.1, 0.4, 0.2, 0.3], [20.0, 10.0, 50.0, 40.0]
    group = [
        replace(rollout, parts={"verifier": (one,), "critic:owner/name": (other,)})
        for rollout, one, other in zip(groups[0], first, second, strict=True)
    ]
    rewards = torch.tensor([first, second]).T
    normalised = (rewards - rewards.mean(0)) / (rewards.std(0) + 1e-4)  # its multi_objective_aggregation
    expected = (normalised @ torch.tensor([1.0, 0.5]) / 1.5).tolist()
    assert [each[0] for each in advantages_of(group, settings)] == pytest.approx(expected, abs=1e-5)
    assert advantages_of([replace(each, parts=dict.fromkeys(each.parts, (0.5,))) for each in group], settings) is None
    stated = statistics([group], 1)
    assert stated["reward_critic"] == pytest.approx(np.mean(second))
    assert stated["reward_critic_spread"] == pytest.approx(np.std(second))


def test_groups_whose_rewards_are_equal_are_replaced_a_bounded_number_of_times(janus: Janus):
    def source(reward, resample: int) -> RolloutSource:
        settings = replace(SMALL, resample=resample, reward="drawing")
        prompts = world_prompts(0, settings.prompts)
        return RolloutSource(janus, Policy(janus).reference(), settings, slice(0, None), prompts, lambda *_: (), reward)

    calls: list[int] = []

    def constant(trajectory: Trajectory, pictures: list[np.ndarray]) -> Assessment:
        calls.append(1)
        return Assessment((0.5,) * len(pictures))

    metrics = source(constant, 2)(0).metrics
    assert (metrics["resampled"], metrics["skipped"], len(calls)) == (4, 2, 3 * 2 * 4)
    assert source(constant, 0)(0).metrics["resampled"] == 0
    judged: list[str] = []

    def second_time(trajectory: Trajectory, pictures: list[np.ndarray]) -> Assessment:
        """Equal for the first group of the prompt that is finished first."""
        judged.append(trajectory.prompt)
        equal = trajectory.prompt == judged[0] and judged.count(judged[0]) <= 4
        return Assessment((0.5 if equal else len(judged) / 100,) * len(pictures))

    metrics = source(second_time, 2)(0).metrics
    assert (metrics["resampled"], metrics["skipped"]) == (1, 0)


def test_a_group_begins_where_a_person_changed_a_trajectory(janus: Janus, groups, tmp_path: Path):
    drawn = groups[0][0].trajectory
    image, said = drawn.segments
    token = replace(said, answer="no", tokens=(Token(janus.ids.no, "No", Origin.PERSON), *said.tokens[1:4]))
    write_trajectory(replace(drawn, segments=(image, token, image)), (), tmp_path / "branch")
    (start,) = branch_starts(janus, tmp_path, rounds=2)
    assert start.prefix == (image, token) and start.prompt.text == "a cat"
    settings = replace(SMALL, prompts=1, rounds=2)
    prompts = world_prompts(0, 1)
    reference, nothing = Policy(janus).reference(), lambda *_: ()
    source = RolloutSource(
        janus, reference, settings, slice(0, None), prompts, nothing, verifier.assess, branches=[start]
    )
    assert source(0).metrics["begun"] == settings.group
    begun = source.groups[-1]
    assert all(rollout.trajectory.segments[0].codes == image.codes for rollout in begun)
    assert all(t.segment >= 2 for rollout in begun for sequence in rollout.sequences for t in sequence.targets)
    write_trajectory(drawn, (), tmp_path / "branch")
    with pytest.raises(ValueError, match="has nothing that a person wrote or changed"):
        branch_starts(janus, tmp_path, rounds=2)
    with pytest.raises(ValueError, match="holds no trajectory.json"):
        branch_starts(janus, tmp_path / "empty", rounds=2)


# --- the loss ---------------------------------------------------------------------------------------------------


def test_rollout_and_training_agree_on_log_probabilities_and_the_clipped_share_is_logged(janus: Janus, groups):
    for rollout, fit in zip(groups[0], (0.1, 0.4, 0.2, 0.3), strict=True):
        rollout.fits = [fit]
    graded, _ = sequences_with_advantages(groups[:1], SMALL)
    batch, policy = collate(janus, graded), Policy(janus)
    objective = ClippedPolicyGradient(policy.reference(), 0.04, 0.2)
    with torch.no_grad():
        _, metrics = objective(policy, batch, objective.totals(batch))
    assert objective.totals(batch)["known"] == 4  # a verdict each
    assert float(metrics["rollout_difference"]) < 1e-4 and float(metrics["clip_fraction"]) == 0
    old, ratios = torch.zeros(4), torch.tensor([1.5, 1.5, 0.5, 0.5]).log()
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert clip_mask(ratios, old, advantage, 0.2).tolist() == [1, 0, 0, 1]  # as TRL counts them


def test_text_or_images_alone_are_trained_where_it_is_asked_for(groups):
    group = [replace(each, fits=[fit]) for each, fit in zip(groups[0], (0.1, 0.4, 0.2, 0.3), strict=True)]
    graded = {
        channels: sequences_with_advantages([group], replace(SMALL, channels=channels))[0]
        for channels in ("text", "images")
    }
    for channels, sequences in graded.items():
        kinds = {targets.kind for sequence in sequences for targets in sequence.targets}
        assert (TokenKind.CODE in kinds) == (channels == "images") and (TokenKind.VERDICT in kinds) == (
            channels == "text"
        )
        assert sum(each.weight * each.target_count for each in sequences) == pytest.approx(len(group))


# --- the watch --------------------------------------------------------------------------------------------------


def rollouts_of(trained: list[float], watch: list[float]) -> list[Watched]:
    trajectory = Trajectory("a cat", 0, 1, Sampling(), "tiny", (), None)
    return [Watched(trajectory, {}, *pair) for pair in zip(trained, watch, strict=True)]


def test_the_watch_says_nothing_while_both_rewards_rise_or_differ_by_noise(tmp_path: Path):
    rng = np.random.default_rng(0)
    watch = Watch(tmp_path)
    for step in range(30):
        right = (rng.random(32) < 0.5 + step / 80).astype(float)
        metrics = watch(step, rollouts_of((right * 0.8 + rng.random(32) * 0.2).tolist(), right.tolist()))
        assert not metrics["watch_alarm"]
    assert not any(tmp_path.iterdir())
    assert ranks(np.array([3.0, 1.0, 1.0, 2.0])).tolist() == pytest.approx([1, 1 / 6, 1 / 6, 2 / 3])


def test_a_watch_that_is_resumed_says_what_it_would_have_said(tmp_path: Path):
    rng = np.random.default_rng(0)
    steps = [rollouts_of((rng.random(8) + at / 4).tolist(), rng.random(8).tolist()) for at in range(12)]
    whole, before, after = (Watch(tmp_path / name) for name in ("whole", "before", "after"))
    expected = [whole(step, rollouts) for step, rollouts in enumerate(steps)]
    assert expected[-1]["watch_alarm"]
    cut = [before(step, rollouts) for step, rollouts in enumerate(steps[:6])]
    torch.save(before.state_dict(), tmp_path / "state")
    after.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert [*cut, *(after(step, rollouts) for step, rollouts in enumerate(steps[6:], 6))] == expected


def test_processes_watch_together_and_write_each_its_own(tmp_path: Path):
    rng = np.random.default_rng(1)
    whole = Watch(tmp_path / "whole")
    shares: list[list[list[float]]] = []
    watches = [Watch(tmp_path / f"{process}", process, lambda own: shares) for process in range(2)]
    for step in range(12):
        rollouts = rollouts_of((rng.random(8) + step / 4).tolist(), rng.random(8).tolist())
        shares[:] = [[[each.trained, each.watch] for each in rollouts[part]] for part in (slice(4), slice(4, 8))]
        expected = whole(step, rollouts)
        assert [watch(step, rollouts[at : at + 4]) for watch, at in zip(watches, (0, 4), strict=True)] == [expected] * 2
    written = [len(list((tmp_path / name).rglob("trajectory.json"))) for name in ("whole", "0", "1")]
    assert written[0] == sum(written[1:]) > 0


def test_a_reward_that_one_colour_fools_raises_the_watch_within_twenty_steps(tmp_path: Path, named):
    """On a network whose codec is as wide as the embedded one's: drawings of a narrower one are nearly alike in red."""
    named("redness", redness)
    network, parent = new_network(new_config(hidden=64, layers=2, vision_layers=1), seed=0), tmp_path / "parent"
    end_texts_soon(network)
    save_checkpoint(network, new_processor(new_tokenizer()), parent, {"recipe": "random weights"})
    settings = replace(SMALL, steps=15, prompts=1, group=8, learning_rate=3e-2, warmup=0, beta=0.0, save_every=0)
    settings = replace(settings, channels="images", resample=0, reward="drawing redness:1", watch="verifier")
    janus = open_checkpoint(parent, dtype=torch.float32)
    train(janus, settings, tmp_path / "out", {"parent": str(parent)}, world_prompts(0, 1))
    log = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    alarms = [row["step"] for row in log if row["watch_alarm"]]
    assert alarms and min(alarms) < 20 and log[-1]["reward_redness"] > log[0]["reward_redness"]
    [told] = [row["alarms"] for row in log if "alarms" in row and row["step"] == alarms[0]]
    assert any(each.startswith("reward hacking: the trained reward parts from") for each in told)
    records = list(ours.read(tmp_path / "out-watch"))  # as an import reads them
    assert records and all(isinstance(record, Record) for record in records)
