"""Losses of preferences, as in TRL: of pairs (DPO and variants), of labelled completions (KTO), of rewards.

A log-ratio is log π(y|x) − log π_ref(y|x), summed over the tokens of a completion. Shapes: P pairs or completions.
"""

from collections.abc import Callable, Mapping

import torch
from torch.nn.functional import logsigmoid


class LossError(ValueError):
    """Settings that a loss cannot have."""


def _sigmoid(margins: torch.Tensor, beta: float, smoothing: float) -> torch.Tensor:
    logits = beta * margins
    return -(1 - smoothing) * logsigmoid(logits) - smoothing * logsigmoid(-logits)


def _robust(margins: torch.Tensor, beta: float, smoothing: float) -> torch.Tensor:
    logits = beta * margins
    return (smoothing * logsigmoid(-logits) - (1 - smoothing) * logsigmoid(logits)) / (1 - 2 * smoothing)


def _hinge(margins: torch.Tensor, beta: float, smoothing: float) -> torch.Tensor:
    return torch.relu(1 - beta * margins)


def _ipo(margins: torch.Tensor, beta: float, smoothing: float) -> torch.Tensor:
    return (margins - 1 / (2 * beta)) ** 2


# From the difference of a pair's log-ratios (P,), β and label smoothing to the loss (P,).
PAIR_LOSSES: Mapping[str, Callable[[torch.Tensor, float, float], torch.Tensor]] = {
    "sigmoid": _sigmoid,  # Rafailov et al., 2023; with label smoothing conservative DPO (Mitchell, 2023)
    "sigmoid_norm": _sigmoid,  # of means over tokens: length-normalised, as in Tülu 3 (Lambert et al., 2024)
    "ipo": _ipo,  # of means over tokens: Azar et al., 2024
    "robust": _robust,  # unbiased where a share of the pairs is the wrong way round: Chowdhury et al., 2024
    "hinge": _hinge,  # SLiC's: Zhao et al., 2023
}
OF_MEANS = ("ipo", "sigmoid_norm")  # over the tokens of a completion, not sums
LABEL_LOSSES = ("kto", "apo_zero_unpaired")  # Ethayarajh et al., 2024; D'Oosterlinck et al., 2024


def check_smoothing(loss: str, smoothing: float) -> None:
    """Raises LossError for label smoothing that the loss does not have, or not to this extent."""
    if loss == "robust" and smoothing >= 0.5:
        raise LossError(f"got --label-smoothing {smoothing:g}, --loss robust wants less than 0.5")
    if loss in ("ipo", "hinge") and smoothing:
        raise LossError(f"--loss {loss} has no label smoothing; leave --label-smoothing out")


def pair_totals(weights: torch.Tensor) -> dict[str, float]:
    """Denominators of `mean_of_pairs`: the sum of the weights (P,), and how many are positive."""
    return {"weight": float(weights.sum()), "pairs": float((weights > 0).sum())}


def mean_of_pairs(
    losses: torch.Tensor, values: Mapping[str, torch.Tensor], weights: torch.Tensor, totals: Mapping[str, float]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The mean of `losses` (P,) by weight, and as metrics that and the means of `values`, (P,) each, over the pairs
    whose weight is positive."""
    weights = weights.to(losses.device)
    loss, counted = (losses * weights).sum() / max(totals["weight"], 1e-9), weights > 0
    means = {name: (each.detach() * counted).sum() / max(1.0, totals["pairs"]) for name, each in values.items()}
    return loss, {"loss": loss.detach(), **means}


def pair_margins(loss: str, log_ratios: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """(P, 2) log-ratios and numbers of tokens of chosen and rejected → (P,) what the loss takes."""
    if loss in OF_MEANS:
        log_ratios = log_ratios / counts.clamp(min=1)
    return log_ratios[:, 0] - log_ratios[:, 1]


def label_losses(
    loss: str, log_ratios: torch.Tensor, labels: torch.Tensor, divergence: float | torch.Tensor, beta: float
) -> torch.Tensor:
    """(P,) log-ratios and labels (bool) → (P,): of desirable ones 1 − σ(β (r − z0)), of others 1 − σ(β (z0 − r)), where
    z0 is the `divergence` of policy and reference; 0 for apo_zero_unpaired."""
    if loss == "apo_zero_unpaired":
        divergence = 0.0
    gains = log_ratios - divergence
    return 1 - torch.sigmoid(beta * torch.where(labels, gains, -gains))


def reward_losses(chosen: torch.Tensor, rejected: torch.Tensor, margins: torch.Tensor, center: float) -> torch.Tensor:
    """(P,) rewards of both and margins → (P,): Bradley–Terry, −log σ(chosen − rejected − margin) (Ouyang et al., 2022),
    and `center` · (chosen + rejected)², which keeps rewards around zero (Eisenstein et al., 2023)."""
    return center * (chosen + rejected) ** 2 - logsigmoid(chosen - rejected - margins)
