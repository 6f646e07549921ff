"""Trainable parameters, optimizers and the optimizer step, shared by all training commands.

Runs on accelerate: one process here, several by `accelerate launch`. The batch belongs to all processes together; each
takes its part, and gradients are summed, so that the number of processes does not change what is learnt of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from accelerate import Accelerator

from model.backends.janus import Janus
from model.training.schedule import learning_rate_factor

Thing = TypeVar("Thing")


class TrainingError(Exception):
    """A run that cannot go on; what was saved last stands untouched."""


def trainable(janus: Janus) -> list[torch.nn.Parameter]:
    """The language model, its embeddings and heads. Not the codec, whose codes are the targets (Janus-Pro-R1 freezes it
    too), and not the eye: from a judge that does not use it yet come gradients that only ruin it (training/LOG.md)."""
    model = janus.network.model
    for part in (model.vqmodel, model.vision_model, model.aligner):
        part.requires_grad_(requires_grad=False)
    return [p for p in janus.network.parameters() if p.requires_grad]


def new_optimizers(
    janus: Janus, parameters: Iterable[torch.nn.Parameter], learning_rate: float, weight_decay: float, muon: float = 0.0
) -> list[torch.optim.Optimizer]:
    """AdamW; with a rate for it, Muon (Jordan, 2024) for the matrices within the layers of both transformers.

    From random weights Muon is worth it: after 125 steps of 64 drawings its loss was what AdamW reached after 225.
    """
    parameters, optimizers = list(parameters), []
    if muon:
        model = janus.network.model
        layers = [*model.language_model.layers, *model.vision_model.encoder.layers]
        within = {id(p) for layer in layers for p in layer.parameters() if p.ndim == 2}
        matrices = [p for p in parameters if id(p) in within]
        optimizers.append(torch.optim.Muon(matrices, lr=muon, weight_decay=weight_decay))
        parameters = [p for p in parameters if id(p) not in within]
    rates = {"lr": learning_rate, "betas": (0.9, 0.95), "weight_decay": weight_decay}
    return [*optimizers, torch.optim.AdamW(parameters, **rates, foreach=True)]


def new_schedules(
    optimizers: Iterable[torch.optim.Optimizer], steps: int, warmup: int, falling: float = 0.25
) -> list[torch.optim.lr_scheduler.LRScheduler]:
    return [
        torch.optim.lr_scheduler.LambdaLR(each, lambda step: learning_rate_factor(step, steps, warmup, falling))
        for each in optimizers
    ]


def own_part(accelerator: Accelerator, things: Sequence[Thing]) -> list[Thing]:
    """This process's share of a batch."""
    return list(things[accelerator.process_index :: accelerator.num_processes])


def summed(accelerator: Accelerator, values: Iterable[float]) -> list[float]:
    """Each value summed over all processes; as floats, since a process that has nothing to count has whole zeros."""
    return accelerator.reduce(torch.tensor([float(each) for each in values], device=accelerator.device), "sum").tolist()


def descend(
    accelerator: Accelerator,
    parameters: Sequence[torch.nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    clip: float,
) -> float:
    """One step down the gradients summed over all processes, clipped; returns their norm before that.

    Raises TrainingError before the step where the norm is not finite.
    """
    for parameter in parameters if accelerator.num_processes > 1 else ():
        if parameter.grad is None:  # another process may have used it
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad = accelerator.reduce(parameter.grad, "sum")
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, clip))
    check_finite({"gradient_norm": norm})
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return norm


def check_finite(metrics: Mapping[str, float]) -> None:
    """Raises TrainingError for a metric that is NaN or infinite."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingError(f"{name} is {value}")
