"""The plain loops that training is measured against compute what the trainer computes."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import run

from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.training.batch import collate
from model.training.benchmark.__main__ import own_log_prob, step_rates, unrewarded, weighted_loss
from model.training.benchmark.plain_loop import PlainLoop
from model.training.benchmark.staged_rollouts import StagedRollouts
from model.training.benchmark.workloads import drawings, reflections, supervised
from model.training.policy import Policy
from model.training.preferences.reference import referenced
from model.training.rollouts import GroupStart, Prompt, roll_out
from model.training.sft import KIND_WEIGHTS, CrossEntropy
from model.training.training_sequences import TokenKind


@pytest.fixture
def janus(tiny_checkpoint: Path) -> Janus:
    return open_checkpoint(tiny_checkpoint, dtype=torch.float32)


def test_the_plain_loop_has_the_loss_of_fine_tuning_and_the_gradients_behind_it(janus: Janus, tiny_checkpoint: Path):
    sequences = supervised(janus, 0, 0, 6)
    loop = PlainLoop(open_checkpoint(tiny_checkpoint, dtype=torch.float32), 1e-3)
    before = loop.janus.network.lm_head.weight.detach().clone()
    batch, objective = collate(janus, sequences), CrossEntropy()
    loss, _ = objective(Policy(janus), batch, objective.totals(batch))
    assert loop.supervised(sequences, 4) == pytest.approx(float(loss.detach()), rel=1e-5)
    loss.backward()
    moved = loop.janus.network.lm_head.weight.detach() - before
    gradient = janus.network.lm_head.weight.grad
    clear = gradient.abs() > 1e-4  # AdamW's first step goes against the sign of the gradient
    assert torch.equal(moved[clear].sign(), -gradient[clear].sign())


@pytest.mark.parametrize("make", [reflections, drawings])
def test_the_plain_loop_has_the_log_probabilities_of_preferences(janus: Janus, make):
    rows = make(janus, 0, 4)
    known = referenced(Policy(janus), rows, 2)
    loss, chosen = PlainLoop(janus, 0.0).preferred([row.sequences for row in rows], 2, 0.1)
    assert chosen == pytest.approx(sum(each[0] for each in known.log_probs) / 4, rel=1e-5)
    assert loss == pytest.approx(0.693147, rel=1e-4)  # the reference is the policy


def test_rollouts_drawn_again_stage_after_stage_have_the_trainers_log_probabilities(janus: Janus):
    sampling = replace(janus.sampling, guidance=3.0, temperature=1.0, top_k=None, text_temperature=1.0)
    sampling = replace(sampling, text_top_k=None, thinks=False, thinks_after_no=False)
    starts = [GroupStart(Prompt(text), sampling) for text in ("two cars", "a red cat above a dog")]
    groups = roll_out(janus, unrewarded, starts, 3, 2, random.Random(0))
    loop = StagedRollouts(janus)
    for group in groups:
        pictures = {sha256: picture for rollout in group for sha256, picture in rollout.pictures.items()}
        loop.draw([rollout.trajectory for rollout in group], pictures)
    assert any(len(rollout.trajectory.images) == 2 for group in groups for rollout in group)
    assert loop.log_prob == pytest.approx(own_log_prob(janus, groups), rel=1e-4)


def test_a_step_takes_from_one_fetch_to_the_next_while_the_data_after_it_are_made():
    assert step_rates([0.0, 0.1, 5.1, 7.1], [10, 20, 30, 40]) == [20 / 2.0]


def test_kinds_that_no_sequence_has_add_nothing_to_the_loss():
    assert weighted_loss({"codes": 2.0}) == 2.0 * KIND_WEIGHTS[TokenKind.CODE]


@pytest.mark.thorough
def test_the_command_measures_every_method(tiny_checkpoint: Path):
    few = ("--steps", "1", "--repeats", "1", "--prompts", "1", "--group", "2")
    done = run("model.training.benchmark", "--checkpoint", tiny_checkpoint, *few, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index('{\n  "machine"') :])["figures"]
    assert len(found) == 5
    assert all(each["agreement"] < 1e-4 for each in found)
