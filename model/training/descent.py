"""What every training run does alike: which parameters learn, by which optimizers, one step down, a line in the log.

Runs on accelerate: one process here, several by `accelerate launch`. The batch belongs to all processes together; each
takes its part, and gradients are summed, so that the number of processes does not change what is learnt of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator

from model.janus import Janus
from model.training.schedule import learning_rate_factor

Thing = TypeVar("Thing")


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
    """One step down the gradients summed over all processes, clipped; returns their norm before that."""
    for parameter in parameters if accelerator.num_processes > 1 else ():
        if parameter.grad is None:  # another process may have used it
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad = accelerator.reduce(parameter.grad, "sum")
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, clip))
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return norm


class Log:
    """Metrics as JSON lines in a file; for the eye a line now and then, and of the last step. Only the first process
    writes."""

    def __init__(self, path: Path, accelerator: Accelerator, *, steps: int, append: bool, every: int = 10):
        self.file = None
        self.steps, self.every = steps, every
        self.processes = accelerator.num_processes
        if accelerator.is_main_process:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = path.open("a" if append else "w", encoding="utf-8")

    def write(self, row: dict) -> None:
        if self.file is None:
            return
        row = row | {"processes": self.processes}
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        if row["step"] % self.every == 0 or row["step"] == self.steps - 1:
            print(" ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
