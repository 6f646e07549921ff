"""Self-distillation: own rollouts with the checkpoint's log-probabilities, and the divergence from them."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import kl_div
from training_rows import IMAGE, assistant, row, save, text, user

from model.backends.checkpoint.saving import save_checkpoint
from model.decoding.load_for_inference import open_checkpoint
from model.sequences import Codes
from model.training.dataset import JUDGE_ROWS, DataError
from model.training.embedded.network import new_config, new_network, new_processor, new_tokenizer
from model.training.loop import Loop
from model.training.policy import Policy
from model.training.runs.folder import RunStart
from model.training.runs.settings import LoopSettings
from model.training.safeguards.self_distillation import (
    DistillationSettings,
    Referenced,
    ReferenceDivergence,
    divergence,
    open_self_distillation,
    own_rollouts,
    referenced,
    referenced_batch,
)
from model.training.safeguards.setup import ForgettingSafeguards, SafeguardSettings, held_out_figures, open_safeguards
from model.training.sft import SftSettings, train
from model.training.sources import DataFolder, open_distill_prompts
from model.training.training_sequences import TrainingSequence, draw

PROMPTS = ["a red cat", "two dogs"]


@pytest.fixture(scope="module")
def policy(tiny_checkpoint: Path) -> Policy:
    return Policy(open_checkpoint(tiny_checkpoint, dtype=torch.float64))


@pytest.fixture(scope="module")
def known(policy: Policy):
    return referenced(policy, own_rollouts(policy.janus, PROMPTS, 2, 0, slice(None)))


def lowered(known: Referenced, by: float) -> Referenced:
    return replace(known, log_probs=known.log_probs - by)


def test_every_prompt_is_drawn_and_judged_and_every_second_one_with_a_thought(policy: Policy, known):
    assert sorted(each.number for each in known) == [0, 1, 2, 3]
    assert all(len(each.index) == len(each.tokens) == each.sequence.target_count for each in known)


def test_redraws_are_left_free_where_one_image_is_kept(policy: Policy):
    """The first image and its reflection alone are scored."""
    sequences = own_rollouts(policy.janus, PROMPTS, 1, 0, slice(None)).values()
    codes = [sum(isinstance(piece, Codes) for piece in sequence.pieces) for sequence in sequences]
    assert sorted(codes) == [0, 0, 1, 1]


def test_the_divergence_is_zero_at_the_checkpoint_and_its_gradient_too(policy: Policy, known):
    objective, batch = ReferenceDivergence(1.0), referenced_batch(policy.janus, known)
    loss, metrics = objective(policy, batch, objective.totals(batch))
    assert loss.item() == pytest.approx(0, abs=1e-9) and float(metrics["distill_kl"]) == pytest.approx(0, abs=1e-9)
    loss.backward()
    assert max(float(p.grad.abs().max()) for p in policy.parameters() if p.grad is not None) < 1e-6
    policy.zero_grad()


def test_the_divergence_is_torchs_own_over_all_tokens_and_over_some_with_the_others_as_one():
    reference, own = torch.randn(2, 5, 12, dtype=torch.float64, generator=torch.manual_seed(0)).log_softmax(-1)

    def torchs(reference: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return kl_div(own, reference, reduction="none", log_target=True).sum(-1)

    def coarse(log_probs: torch.Tensor) -> torch.Tensor:
        return torch.cat([log_probs[:, :4], log_probs[:, 4:].logsumexp(-1, keepdim=True)], -1)

    torch.testing.assert_close(divergence(reference, own), torchs(reference, own), atol=2e-5, rtol=0)
    torch.testing.assert_close(divergence(reference[:, :4], own[:, :4]), torchs(coarse(reference), coarse(own)))
    banned = torch.full((5, 1), -torch.inf, dtype=torch.float64)
    both = (torch.cat([values, banned], -1) for values in (reference, own))
    torch.testing.assert_close(divergence(*both), torchs(reference, own), atol=2e-5, rtol=0)


def test_parts_add_up_to_the_divergence_of_the_whole(policy: Policy, known):
    objective = ReferenceDivergence(1.0)
    shifted = [lowered(each, 0.1 * each.number) for each in known]
    whole, *parts = (referenced_batch(policy.janus, some) for some in (shifted, shifted[:1], shifted[1:]))
    totals = objective.totals(whole)
    with torch.no_grad():
        split = sum(float(objective(policy, part, totals)[0]) for part in parts)
        assert split == pytest.approx(float(objective(policy, whole, totals)[0]), rel=1e-6)


def test_a_weight_of_zero_and_no_prompts_pull_nowhere(policy: Policy):
    loop = Loop(LoopSettings(1, 1e-3))
    assert open_self_distillation(policy, loop, PROMPTS, DistillationSettings(distill=0.0), 0).objectives(0) == []
    assert open_self_distillation(policy, loop, [], DistillationSettings(), 0).objectives(0) == []


def test_a_run_is_pulled_to_its_checkpoint_and_resumes_as_it_was(tmp_path: Path):
    """On a network whose texts run to their limits: what they have in common with `end_texts_soon` overshoots."""
    network, parent = (
        new_network(new_config(hidden=64, layers=2, vision_layers=1, codec=32), seed=0),
        tmp_path / "parent",
    )
    save_checkpoint(network, new_processor(new_tokenizer()), parent, {"recipe": "random weights"})
    settings = SftSettings(steps=4, batch=1, learning_rate=3e-3, warmup=0, decay=0, save_every=2, distill_batch=2)

    def part(name: str, settings: SftSettings, *, resume: bool) -> None:
        janus = open_checkpoint(parent, dtype=torch.float32)

        def source(step: int, which: slice) -> list[TrainingSequence]:
            return [draw(janus, "a cat", [], None, (step,) * 64)]

        about, start = {"recipe": "sft", "parent": str(parent)}, RunStart(resume=resume)
        train(janus, source, settings, tmp_path / name, about, start, ForgettingSafeguards(PROMPTS))

    def run(name: str, *ends: int, **changes: float) -> list[dict]:
        for end in ends:
            part(name, replace(settings, steps=end, **changes), resume=end != ends[0])
        return [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]

    whole, cut, weak = run("whole", 4), run("cut", 2, 4), run("weak", 4, distill=1e-6)
    assert [row["distill_kl"] for row in whole] == [row["distill_kl"] for row in cut]
    assert whole[0]["distill_kl"] == pytest.approx(0, abs=1e-6)
    assert 0 < whole[-1]["distill_kl"] < weak[-1]["distill_kl"]


def test_the_prompts_that_are_kept_are_a_file_s_the_world_s_or_the_data_s(tiny_checkpoint: Path, tmp_path: Path):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    rows = [row(prompt=[user(text(words)), assistant(IMAGE)]) for words in ("a lion", "a lion", "two owls")]
    arguments = Namespace(distill_prompts=None, data=[DataFolder(save(tmp_path / "rows", rows))])
    assert len(open_distill_prompts(janus, arguments, JUDGE_ROWS, 5, 0)) == 5  # of the embedded world
    janus.network.config.embedded_world = False
    assert sorted(open_distill_prompts(janus, arguments, JUDGE_ROWS, 4, 0)) == ["a lion"] * 2 + ["two owls"] * 2
    (tmp_path / "prompts.txt").write_text("a horse\n\n")
    arguments.distill_prompts = tmp_path / "prompts.txt"
    assert open_distill_prompts(janus, arguments, JUDGE_ROWS, 2, 0) == ["a horse", "a horse"]
    (tmp_path / "prompts.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no prompt; write one per line"):
        open_distill_prompts(janus, arguments, JUDGE_ROWS, 2, 0)


def test_rows_that_are_held_out_have_a_loss_and_their_verdicts(policy: Policy, tmp_path: Path):
    folder = save(tmp_path / "rows", [row(), row(weight=0.0)])
    arguments = Namespace(distill_prompts=None, data=None, held_out=[DataFolder(folder)])
    settings = SafeguardSettings(distill_rollouts=1, evaluate_prompts=2)
    safeguards = open_safeguards(policy.janus, arguments, settings, 0, JUDGE_ROWS)
    assert len(safeguards.distill_prompts) == 1 and len(safeguards.held_out) == 1
    assert [(each.setting, len(each.prompts)) for each in safeguards.fixed] == [
        ("GenEval-like, without the thought", 1),
        ("GenEval-like, thinking first", 1),
        ("hard, without the thought", 1),
        ("hard, thinking first", 1),
    ]
    rows = held_out_figures(policy, safeguards.held_out)["held-out rows"]
    assert (rows["held-out loss"].value or 0) > 0 and rows["held-out verdicts right"].value in (0.0, 1.0)
