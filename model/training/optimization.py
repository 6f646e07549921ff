"""Optimizers (AdamW, Muon), learning-rate schedule, and sums over processes."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from accelerate import Accelerator


class TrainingError(Exception):
    """A run cannot continue; what was saved last is untouched."""


def new_optimizers(
    parameters: Iterable[torch.nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    muon: float = 0.0,
    matrices: Sequence[torch.nn.Parameter] = (),
) -> list[torch.optim.Optimizer]:
    """AdamW; with a rate for it, Muon (Jordan, 2024) for those parameters that are among `matrices`.

    From random weights Muon is worth it: after 125 steps of 64 drawings its loss was what AdamW reached after 225.
    """
    parameters = list(parameters)
    optimizers: list[torch.optim.Optimizer] = []
    if muon:
        within = {id(matrix) for matrix in matrices}
        chosen = [p for p in parameters if id(p) in within]
        optimizers.append(torch.optim.Muon(chosen, lr=muon, weight_decay=weight_decay))
        parameters = [p for p in parameters if id(p) not in within]
    rates = {"lr": learning_rate, "betas": (0.9, 0.95), "weight_decay": weight_decay}
    return [*optimizers, torch.optim.AdamW(parameters, **rates, foreach=True)]


def learning_rate_factor(step: int, steps: int, warmup: int, decay: float = 0.25) -> float:
    """Factor on the peak learning rate: linear warm-up, constant, linear decay over the last share `decay`.

    Unlike a cosine it does not depend on the end until it decays, so a run can be prolonged by `--resume`.
    """
    return min((step + 1) / max(warmup, 1), 1.0, max(0.02, (steps - step) / max(decay * steps, 1)))


def new_schedules(
    optimizers: Iterable[torch.optim.Optimizer], steps: int, warmup: int, decay: float = 0.25
) -> list[torch.optim.lr_scheduler.LambdaLR]:
    return [
        torch.optim.lr_scheduler.LambdaLR(each, lambda step: learning_rate_factor(step, steps, warmup, decay))
        for each in optimizers
    ]


def summed(accelerator: Accelerator, values: Iterable[float]) -> list[float]:
    """Each value summed over all processes; as floats, since a process that has nothing to count has whole zeros."""
    return accelerator.reduce(torch.tensor([float(each) for each in values], device=accelerator.device), "sum").tolist()


def check_finite(metrics: Mapping[str, float]) -> None:
    """Raises TrainingError for a metric that is NaN or infinite."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingError(f"{name} is {value}")
