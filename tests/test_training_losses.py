"""Losses of DPO, its variants, KTO, reward models and GRPO equal TRL's own on the same log-probabilities."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RewardTrainer

from model.training.grpo import clip_mask, policy_loss
from model.training.preferences.losses import (
    LABEL_LOSSES,
    PAIR_LOSSES,
    LossError,
    check_smoothing,
    label_losses,
    pair_margins,
    reward_losses,
)

BETA, TOKENS = 0.3, 7


class Scorer(torch.nn.Module):
    """In the place of a network: log-probabilities that were given, token by token, for each call in turn."""

    def __init__(self, *log_probs: torch.Tensor):
        super().__init__()
        self.log_probs = iter(log_probs)

    def forward(self, **_: Any) -> SimpleNamespace:
        log_probs = next(self.log_probs)
        zeros = torch.zeros_like(log_probs)  # of what is only logged
        return SimpleNamespace(log_probs=log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros > 0)


def trainer(model: torch.nn.Module, **settings: Any) -> SimpleNamespace:
    """What a trainer's loss reads of the trainer."""
    usual = {"model": model.train(), "accelerator": Accelerator(cpu=True), "precompute_ref_logps": True, "beta": BETA}
    usual |= {"_metrics": {"train": defaultdict(list)}, "_total_train_tokens": 0, "_tp_size": 1}
    return SimpleNamespace(**usual | {"aux_loss_enabled": False, "args": SimpleNamespace()} | settings)


@pytest.fixture
def rows() -> dict[str, torch.Tensor]:
    """Six completions of two to seven tokens after a prompt of one: log-probabilities and the reference's sums."""
    generator = torch.Generator().manual_seed(3)
    counts = torch.tensor([2, 7, 4, 3, 5, 6])
    mask = (torch.arange(TOKENS) < counts[:, None]).double()
    log_probs = -2 * torch.rand(6, TOKENS, generator=generator, dtype=torch.float64) * mask
    reference = log_probs.sum(1) + torch.randn(6, generator=generator, dtype=torch.float64)
    inputs = torch.cat([torch.zeros(6, 1), mask], 1)
    return {"counts": counts, "mask": inputs, "log_probs": log_probs, "reference": reference}


@pytest.mark.parametrize(("loss", "smoothing"), [*((loss, 0.0) for loss in PAIR_LOSSES), ("robust", 0.2)])
def test_a_pair_loss_equals_trls_own(rows: dict[str, torch.Tensor], loss: str, smoothing: float):
    order = [0, 2, 4, 1, 3, 5]  # TRL has all chosen ones first
    model = Scorer(rows["log_probs"][order])
    chosen, rejected = rows["reference"][order].chunk(2)
    own = trainer(
        model, ld_alpha=None, f_divergence_type="reverse_kl", loss_types=[loss], loss_weights=[1.0],
        label_smoothing=smoothing, use_weighting=False,
    )  # fmt: skip
    ids = torch.ones(6, TOKENS + 1, dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": ids, "completion_mask": rows["mask"][order]}
    inputs |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    expected = DPOTrainer._compute_loss(own, model, inputs, False)
    ratios = (rows["log_probs"].sum(1) - rows["reference"]).view(3, 2)
    margins = pair_margins(loss, ratios, rows["counts"].view(3, 2))
    assert float(PAIR_LOSSES[loss](margins, BETA, smoothing).mean()) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("divergence", [0.7, -0.4])
@pytest.mark.parametrize("loss", LABEL_LOSSES)
def test_a_kto_loss_and_its_divergence_equal_trls_own(rows: dict[str, torch.Tensor], loss: str, divergence: float):
    mismatched = rows["log_probs"].roll(1, 0)
    known = mismatched.sum(1) - divergence + torch.tensor([0.5, -0.5, 0.25, -0.25, 1, -1])
    labels = torch.tensor([True, False, True, True, False, True])
    estimates = loss == "kto"
    model = Scorer(*([mismatched] if estimates else []), rows["log_probs"])
    own = trainer(model, calculate_KL=estimates, loss_type=loss, desirable_weight=1.5, undesirable_weight=0.5)
    own._compute_kl_logps = lambda *arguments: KTOTrainer._compute_kl_logps(own, *arguments)
    ids = torch.ones(6, TOKENS + 1, dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": ids, "completion_mask": rows["mask"], "label": labels}
    inputs |= {"KL_input_ids": ids, "KL_attention_mask": ids, "KL_completion_mask": rows["mask"]}
    inputs |= {"ref_logps": rows["reference"], "ref_KL_logps": known}
    expected = KTOTrainer._compute_loss(own, model, inputs, False)
    estimate = max(0.0, float((mismatched.sum(1) - known).mean()))
    assert own._metrics["train"]["kl"] == [pytest.approx(estimate if estimates else 0.0, abs=1e-9)]
    ratios = rows["log_probs"].sum(1) - rows["reference"]
    losses = label_losses(loss, ratios, labels, estimate, BETA) * torch.where(labels, 1.5, 0.5)
    assert float(losses.mean()) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(("loss", "smoothing"), [("robust", 0.5), ("ipo", 0.1), ("hinge", 0.1)])
def test_label_smoothing_that_a_loss_does_not_have_is_refused(loss: str, smoothing: float):
    with pytest.raises(LossError, match="label"):
        check_smoothing(loss, smoothing)


@pytest.mark.parametrize("center", [0.0, 0.3])
def test_a_reward_loss_equals_trls_own(center: float):
    rewards, margins = torch.tensor([1.5, 0.2, -0.3, 0.4, 0.1, -2.0]), torch.tensor([0.5, 0.0, 1.0])
    model = torch.nn.Module()
    model.forward = lambda **_: SimpleNamespace(logits=rewards[:, None])  # TRL has all chosen ones first
    own = trainer(model, args=SimpleNamespace(center_rewards_coefficient=center or None))
    inputs = {"input_ids": torch.ones(6, 2), "attention_mask": torch.ones(6, 2), "margin": margins}
    expected = RewardTrainer.compute_loss(own, model, inputs)
    losses = reward_losses(*rewards.chunk(2), margins, center)
    assert float(losses.mean()) == pytest.approx(float(expected), abs=1e-6)


def test_grpos_loss_divergence_and_clipped_share_equal_trls_own(rows: dict[str, torch.Tensor]):
    new, mask = rows["log_probs"], rows["mask"][:, 1:]
    noise = torch.randn(2, *new.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    old, reference = new + 0.3 * noise[0], new + 0.5 * noise[1]
    advantages = torch.tensor([1.0, -1.0, 0.5, -0.5, 2.0, -2.0], dtype=torch.float64)
    own = trainer(Scorer(), loss_type="grpo", epsilon_low=0.2, epsilon_high=0.2, importance_sampling_level="token")
    vars(own).update(beta=0.04, args=SimpleNamespace(use_bias_correction_kl=False, delta=None), use_vllm=False)
    vars(own).update(top_entropy_quantile=1.0, off_policy_mask_threshold=None, current_gradient_accumulation_steps=1)
    own._entropy_bonus_enabled = False
    own._get_per_token_logps_and_entropies = lambda *_, **__: (new, torch.zeros_like(new), None)
    ids = torch.ones(6, 1, dtype=torch.long)
    inputs = {"prompt_ids": ids, "prompt_mask": ids, "completion_ids": mask.long(), "completion_mask": mask}
    inputs |= {"advantages": advantages, "old_per_token_logps": old, "ref_per_token_logps": reference}
    expected = GRPOTrainer._compute_loss(own, own.model, inputs)
    each = advantages[:, None].expand_as(new)
    loss, divergence = policy_loss(new, old, reference, each, 0.04, 0.2)
    of_completions = (loss * mask).sum(1) / rows["counts"]  # as a trajectory's weight, 1 / its tokens, makes it
    assert float(of_completions.mean()) == pytest.approx(float(expected), abs=1e-6)
    metrics = own._metrics["train"]
    assert float((divergence * mask).sum() / mask.sum()) == pytest.approx(metrics["kl"][0], abs=1e-6)
    share = float((clip_mask(new, old, each, 0.2) * mask).sum() / mask.sum())
    assert share == pytest.approx(metrics["clip_ratio/region_mean"][0], abs=1e-6) and share > 0.1
