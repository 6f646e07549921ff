"""Reinforcement learning: rewards and losses as worked out on paper, runs that resume exactly, clear errors."""

import importlib
import json
import math
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.backends.janus import Janus
from model.decoding.decoder import Decoder
from model.decoding.load_for_inference import open_checkpoint
from model.sequences import prompt_pieces
from model.training import grpo
from model.training.batch import collate
from model.training.grpo import GrpoSettings, advantages_of, policy_loss, sequences_with_advantages, train
from model.training.policy import Policy
from model.training.rewards import verifier
from model.training.rewards.janus_pro_r1 import RewardError, advantages, comprehension_reward, generation_reward
from model.training.rewards.registry import DEFAULT, Assessment, read_choice, reward_names, weighted_reward
from model.training.rewards.verifier import fit
from model.training.rollouts import Prompt, Rollout, roll_out, starts_of, statistics, wrong_drafts
from model.training.runs.folder import RunStart
from model.training.runs.metric_descriptions import NO_METRICS, metric_description
from model.training.sources import open_rehearsal
from model.training.world_data.world_prompts import PromptFileError, read_prompts, world_prompts
from model.trajectory import Trajectory
from model.world.defects import DEFECTS, spoil
from model.world.language import CATEGORIES
from model.world.random_scenes import sample_description, sample_scene
from model.world.scene import render
from model.world.sprites import COLOURS, NOUNS
from model.world.verifier import KINDS, check, read
from model.world.vocabulary import RELATIONS

SPEED = ("seconds", "eta_seconds", "tokens_per_second", "padding")
ROUNDING = 1e-6  # of `rollout_difference`, which is rounding alone: where memory is aligned otherwise, so is it
SMALL = GrpoSettings(steps=2, prompts=2, group=3, rounds=2, learning_rate=1e-3, warmup=1, save_every=1)


# --- rewards ----------------------------------------------------------------------------------------------------


def test_rewards_of_a_trajectory_are_those_of_the_papers_formulae():
    # T = 3; a wrong draft (0.4) judged no, then a right one judged yes: K = 2.
    assert generation_reward([0.4, 1.0], 3) == pytest.approx(0.4 + 2 * 1.0)
    assert comprehension_reward([0.4, 1.0], [False, True], 3) == pytest.approx(3 / 2 * (0.6 + 1.0))
    # A right draft, taken for right at once, earns everything; taken for wrong it does not.
    assert generation_reward([1.0], 3) == comprehension_reward([1.0], [True], 3) == 3.0
    assert comprehension_reward([1.0, 1.0], [False, True], 3) == pytest.approx(1.5)


def test_advantages_have_mean_zero_and_deviation_one_and_equal_rewards_teach_nothing():
    # mean 2, sample deviation √((1 + 1 + 4) / 3) = √2
    found = advantages([1.0, 3.0, 4.0, 0.0])
    scale = math.sqrt((1 + 1 + 4 + 4) / 3) + 1e-4
    assert found == pytest.approx([-1 / scale, 1 / scale, 2 / scale, -2 / scale], abs=1e-6)
    assert advantages([2.0, 2.0, 2.0]) is None


def test_a_reward_that_is_no_number_is_named():
    with pytest.raises(RewardError, match="rollout 2 of 3 is nan"):
        advantages([1.0, math.nan, 2.0])


def test_the_loss_of_a_hand_made_group_is_as_worked_out_on_paper():
    old, reference = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -2.0, -0.5])
    new = old + torch.tensor([0.0, math.log(1.5), math.log(0.5)])
    advantage = torch.tensor([1.0, 1.0, -1.0])
    loss, divergence = policy_loss(new, old, reference, advantage, beta=0.1, clip_range=0.2)
    kl = [math.exp(-0.5) + 0.5 - 1, 1 / 1.5 + math.log(1.5) - 1, 2 - math.log(2) - 1]
    assert divergence.tolist() == pytest.approx(kl, abs=1e-6)
    # ratios 1, 1.5 → clipped to 1.2, 0.5 → clipped to 0.8 where that is worse
    assert loss.tolist() == pytest.approx([0.1 * kl[0] - 1, 0.1 * kl[1] - 1.2, 0.1 * kl[2] + 0.8], abs=1e-6)


def test_every_word_can_earn_the_whole_reward_and_loses_some_when_broken():
    rng, seen, broken = random.Random(0), set(), set()
    for number in range(1500):
        description = sample_description(rng, CATEGORIES[number % len(CATEGORIES)])
        scene = sample_scene(rng, description)
        assert fit(description, read(render(scene))) == 1.0
        kind, wrong = spoil(rng, description, scene)
        reward = fit(description, read(wrong))
        assert reward < 0.5
        broken |= {fact.kind for fact in check(description, read(wrong)) if not fact.holds}
        seen |= {word for group in description.groups for word in (group.noun, group.colour, group.count)}
        seen |= {relation.word for relation in description.relations} | {kind}
    assert seen >= {*NOUNS, *COLOURS, *RELATIONS, *DEFECTS, 1, 2, 3, 4}
    assert broken == set(KINDS)


# --- rollouts and learning --------------------------------------------------------------------------------------


def groups_of(janus: Janus, prompts: list[str], settings: GrpoSettings, seed: int = 0) -> list[list[Rollout]]:
    rng = random.Random(seed)
    starts = starts_of(janus, [*map(Prompt, prompts)], settings.thinking, settings.thinking_hard, rng)
    return roll_out(janus, verifier.assess, starts, settings.group, settings.rounds, rng)


@pytest.fixture
def janus(tiny_checkpoint: Path) -> Janus:
    return open_checkpoint(tiny_checkpoint, dtype=torch.float32)


def test_a_group_reads_its_prompt_once(janus: Janus, monkeypatch: pytest.MonkeyPatch):
    rows, real = [], Janus.embed
    monkeypatch.setattr(Janus, "embed", lambda self, ids, *rest: rows.append(len(ids)) or real(self, ids, *rest))
    decoder = Decoder(janus, 4, 64)
    slots = decoder.slots
    feeds = [
        (slots.acquire(), prompt_pieces(janus, prompt)) for prompt in ("two cats", "two cats", "a dog", "two cats")
    ]
    with torch.inference_mode():
        together = decoder.forward(feeds)
    assert sum(rows) == 2
    assert torch.equal(together[0], together[3])
    assert len(set(slots.lengths)) == 1 or slots.lengths[feeds[0][0]] == slots.lengths[feeds[3][0]]


def test_the_advantage_of_a_group_reaches_the_segments_it_is_for(janus: Janus):
    [group] = groups_of(janus, ["a cat"], replace(SMALL, thinking=1.0))
    for one, fits in zip(group, ([0.2, 1.0], [0.1, 0.1], [0.4, 0.2]), strict=True):
        one.fits = fits[: len(one.fits)]
    whole = advantages_of(group, SMALL)
    for one, each in zip(group, whole, strict=True):
        assert len(each) == len(one.trajectory.segments)
        assert len(set(each)) == 1
    apart = advantages_of(group, replace(SMALL, advantages="separate"))
    first = advantages([one.fits[0] for one in group])
    for one, each, wanted in zip(group, apart, first, strict=True):
        kinds = [segment.kind for segment in one.trajectory.segments]
        assert kinds[:3] == ["thought", "image", "reflection"]
        assert each[0] == each[1] == wanted
    drawing = advantages_of(group, replace(SMALL, advantages="separate", reward="drawing"))
    assert all(each[2] == 0.0 for each in drawing)


def test_a_group_that_begins_at_a_wrong_drawing_learns_from_what_came_after_it_alone(janus: Janus):
    groups = groups_of(janus, ["a cat", "two dogs"], replace(SMALL, thinking=1.0))
    rng = random.Random(1)
    starts = wrong_drafts(groups, 1, rng)
    [group] = roll_out(janus, verifier.assess, starts, 3, 2, rng)
    assert [segment.kind for segment in starts[0].prefix] == ["thought", "image"]
    for one in group:
        assert one.trajectory.segments[1].codes == starts[0].prefix[1].codes
        assert one.fits[0] == group[0].fits[0] < 1
        chosen = [targets.segment for sequence in one.sequences for targets in sequence.targets]
        assert min(chosen) == 2
    assert statistics(groups + [group], 2)["begun"] == 3


def test_a_reason_that_is_not_true_costs_part_of_the_reward(janus: Janus):
    [[one, *_]] = groups_of(janus, ["a cat"], SMALL)
    one.fits, one.untrue = [0.2] * len(one.fits), [True] + [False] * (len(one.fits) - 1)
    assert one.comprehension(2, 0.1) == pytest.approx(one.comprehension(2) - 0.1 * 2 / len(one.fits))


def metrics(log: Path) -> list[dict]:
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    for row in rows:
        assert row.pop("rollout_difference") < ROUNDING
    return [{key: value for key, value in row.items() if key not in SPEED} for row in rows]


def test_a_killed_run_resumes_with_the_metrics_of_an_uninterrupted_one(tiny_checkpoint: Path, tmp_path: Path):
    settings = replace(SMALL, steps=2, repair_groups=1, untrue_penalty=0.1, rehearsal=2)

    def run(out: Path, until: int, *, resume: bool) -> None:
        janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
        rehearsal, _ = open_rehearsal(janus, settings.seed, settings.rehearsal, [])

        def prompts(step: int) -> list[Prompt]:
            if step == until:
                raise KeyboardInterrupt
            return world_prompts(settings.seed, settings.prompts)(step)

        provenance = {"parent": str(tiny_checkpoint)}
        train(janus, settings, out, provenance, prompts, rehearsal, start=RunStart(resume=resume))

    run(tmp_path / "whole", 99, resume=False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 1, resume=False)
    run(tmp_path / "cut", 99, resume=True)
    whole, cut = metrics(tmp_path / "whole.jsonl"), metrics(tmp_path / "cut.jsonl")
    assert [row["step"] for row in cut] == list(range(2))
    assert cut == whole
    assert all(map(metric_description, whole[-1].keys() - {*NO_METRICS}))
    assert (tmp_path / "whole-00002.png").stat().st_size > 0
    assert open_checkpoint(tmp_path / "cut").name == "cut"


def test_a_reward_that_is_no_number_stops_the_run_and_leaves_the_last_checkpoint(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls, real = [], verifier.fit

    def breaks(description, reading):
        calls.append(1)
        return math.nan if len(calls) > 12 else real(description, reading)

    monkeypatch.setattr(verifier, "fit", breaks)
    janus, prompts = open_checkpoint(tiny_checkpoint, dtype=torch.float32), world_prompts(0, SMALL.prompts)
    with pytest.raises(RewardError, match="nan, not a number"):
        train(janus, replace(SMALL, steps=9, resample=0), tmp_path / "out", {"parent": str(tiny_checkpoint)}, prompts)
    assert open_checkpoint(tmp_path / "out").name == "out"


def test_learning_makes_what_was_rewarded_more_likely(tiny_checkpoint: Path, tmp_path: Path, janus: Janus):
    """One prompt, one update: the mean log-probability of better rollouts grows against that of worse ones."""
    settings = replace(SMALL, steps=1, prompts=1, group=6, beta=0.0, reward="drawing,verifier:2")
    start = {"parent": str(tiny_checkpoint)}
    learner = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    prompts = world_prompts(0, 1, [Prompt("a cat")])
    shown: list[list[list[Rollout]]] = []
    with pytest.MonkeyPatch.context() as patch:

        def graded(groups: list[list[Rollout]], chosen: GrpoSettings):
            for rollout, fit in zip(groups[0], np.linspace(0, 1, 6), strict=True):
                rollout.fits = [float(fit)] * len(rollout.fits)
            shown.append(groups)
            return sequences_with_advantages(groups, chosen)

        patch.setattr(grpo, "sequences_with_advantages", graded)
        train(learner, settings, tmp_path / "out", start, prompts)
    sequences, skipped = sequences_with_advantages(shown[0], settings)
    assert skipped == 0

    def gap(network: Janus) -> float:
        batch = collate(network, sequences)
        with torch.no_grad():
            return float((Policy(network)(batch).log_probs * batch.advantages * batch.weights).sum())

    assert gap(learner) > gap(janus) + 0.01


def test_a_reward_is_chosen_by_its_name_and_several_are_weighed(monkeypatch: pytest.MonkeyPatch, janus: Janus):
    assert reward_names() == ["checklist", "critic", "reward_model", "verifier"]
    both, drawing = read_choice("both"), read_choice("drawing,verifier:0.5")
    assert (both.drawing, both.judging, both.weights) == (True, True, DEFAULT)
    assert (drawing.drawing, drawing.judging, drawing.weights) == (True, False, {"verifier": 0.5})
    for wrong, reason in (("beauty:1", "there is no reward beauty"), ("verifier:none", "a weight above 0")):
        with pytest.raises(RewardError, match=reason):
            read_choice(wrong)

    class Half:
        @staticmethod
        def assess(trajectory: Trajectory, pictures: list[np.ndarray]) -> Assessment:
            return Assessment((0.5,) * len(pictures))

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: Half if name.endswith(".half") else real(name))
    [[rollout, *_]] = groups_of(janus, ["a cat"], SMALL)
    pictures = [rollout.pictures[image.sha256] for image in rollout.trajectory.images]
    assessment = weighted_reward({"verifier": 1.0, "half": 3.0})(rollout.trajectory, pictures)
    assert assessment.fits == pytest.approx([(fit + 3 * 0.5) / 4 for fit in rollout.fits])
    assert list(assessment.untrue) == rollout.untrue


def test_published_contexts_are_refused_before_anything_runs(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parent, out = Path(shutil.copytree(tiny_checkpoint, tmp_path / "parent")), tmp_path / "runs" / "out"
    config = parent / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"published_contexts": True}))
    arguments = ["grpo", "--checkpoint", str(parent), "--out", str(out), "--steps", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(
        SystemExit, match="no token can be scored; give --no-published-contexts to train it in the studio's own"
    ):
        grpo.main()
    assert not out.parent.exists()
    small = ["--prompts", "1", "--group", "2", "--rounds", "1", "--own-contexts", "--evaluate-prompts", "0"]
    monkeypatch.setattr(sys, "argv", [*arguments, *small])
    grpo.main()
    assert not open_checkpoint(out).sampling.published_contexts  # it draws as it was trained


def test_a_broken_line_of_a_prompt_file_is_named(tmp_path: Path):
    path = tmp_path / "prompts.txt"
    path.write_text("a cat\n\ntwo politicians\n", "utf-8")
    with pytest.raises(PromptFileError, match=r"line 3: “politicians”"):
        read_prompts(path)
    path.write_text("\n", "utf-8")
    with pytest.raises(PromptFileError, match="no prompt"):
        read_prompts(path)


def test_a_token_below_the_reference_s_top_k_keeps_the_loss_finite():
    new = torch.tensor([-1.0, -torch.inf], requires_grad=True)
    old, known = torch.tensor([-1.0, -torch.inf]), torch.tensor([-3.0, -2.0])
    untruncated = torch.tensor([-1.2, -2.5], requires_grad=True)
    advantage = torch.tensor([1.0, 1.0])
    loss, divergence = policy_loss(new, old, known, advantage, 0.1, 0.2, untruncated)
    loss.sum().backward()
    assert loss.isfinite().all() and divergence.isfinite().all()
    assert new.grad.isfinite().all() and untruncated.grad.isfinite().all()
    assert loss[1].item() == pytest.approx(0.1 * divergence[1].item())
