"""KTO on single reflections that people hold right or wrong (rows of the kind `judge_kto`).

    python -m model.training.kto --data EXPORT --checkpoint DIR --steps 100 --out DIR

Kahneman–Tversky optimization (Ethayarajh et al., 2024), which needs no pairs: a desirable completion gains by its
log-ratio above z0, an undesirable one by its log-ratio below. z0 is an estimate of the divergence of policy and
reference over the whole step, on mismatched completions as in TRL: every row's prompt and images with the completion
of the row before it. `apo_zero_unpaired` takes z0 = 0 (D'Oosterlinck et al., 2024).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.backends.janus import Janus
from model.training.batch import Batch
from model.training.dataset import DataError, RowBounds
from model.training.loop import Loop
from model.training.policy import Policy
from model.training.preferences.losses import LABEL_LOSSES, label_losses
from model.training.preferences.reference import (
    PreferenceMethod,
    PreferenceSettings,
    ReferencedRow,
    RowBatch,
    row_batch,
    train_from_reference,
)
from model.training.preferences.rows import LABELLED_ROWS, MismatchedRows
from model.training.runs.command import run_method
from model.training.runs.estimate import Workload, open_for_run
from model.training.runs.folder import FROM_THE_START, RunStart
from model.training.runs.load_for_training import add_load_options
from model.training.safeguards.setup import NO_SAFEGUARDS, ForgettingSafeguards, add_safeguards, open_safeguards
from model.training.sources import WeightedRows, add_data, open_data

OWN, MISMATCHED = slice(0, 1), slice(1, 2)  # the sequences of a row


@dataclass(frozen=True)
class KtoSettings(PreferenceSettings):
    """One run's choices; `batch` counts reflections."""

    loss: str = "kto"  # KTO, or its variant for data without pairs by its name in TRL
    beta: float = 0.1  # weight of the log-ratio to the reference
    desirable_weight: float = 1.0  # of the losses of right reflections
    undesirable_weight: float = 1.0  # of wrong ones; the paper balances both sides where their numbers differ

    @property
    def workload(self) -> Workload:
        """What a step does, by which memory is estimated."""
        return Workload(self.micro_batch, 2 * self.batch)


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Reflections, and the mismatched completions by which z0 is estimated."""

    own: RowBatch
    mismatched: RowBatch | None

    @property
    def batch(self) -> Batch:
        return self.own.batch


@dataclass(frozen=True)
class LabelledLoss:
    """The weighted mean of a reflection's loss. The `policy` estimates z0 before the first pass of every step."""

    settings: KtoSettings
    policy: Policy
    loop: Loop

    def totals(self, batch: LabelledBatch) -> dict[str, float]:
        weights, labels = batch.own.weights, batch.own.labels
        counted = weights > 0
        totals = {
            "weight": float(weights.sum()),
            "desirable": float((counted & labels).sum()),
            "undesirable": float((counted & ~labels).sum()),
        }
        return totals | {"divergence": self._divergence(batch.mismatched, counted)}

    @torch.no_grad()
    def _divergence(self, mismatched: RowBatch | None, counted: torch.Tensor) -> float:
        """Sum of the log-ratios of the mismatched completions, by which z0 is estimated."""
        if mismatched is None:
            return 0.0
        with self.loop.accelerator.autocast():
            own, _ = mismatched.scored(self.policy)
        return float(((own - mismatched.reference.to(own.device))[:, 0] * counted.to(own.device)).sum())

    def __call__(
        self, policy: torch.nn.Module, batch: LabelledBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        settings, own = self.settings, batch.own
        log_probs, _ = own.scored(policy)
        device = log_probs.device
        ratios = (log_probs - own.reference.to(device))[:, 0]
        labels, weights, counted = own.labels.to(device), own.weights.to(device), (own.weights > 0).to(device)
        count = max(1.0, totals["desirable"] + totals["undesirable"])
        divergence = max(0.0, totals["divergence"] / count)
        losses = label_losses(settings.loss, ratios, labels, divergence, settings.beta)
        sides = torch.where(labels, settings.desirable_weight, settings.undesirable_weight)
        loss = (losses * sides * weights).sum() / max(totals["weight"], 1e-9)
        rewards = settings.beta * ratios.detach() * counted
        metrics = {
            "loss": loss.detach(),
            "divergence": divergence * counted.sum() / count,
            "desirable_reward": (rewards * labels).sum() / max(1.0, totals["desirable"]),
            "undesirable_reward": (rewards * ~labels).sum() / max(1.0, totals["undesirable"]),
        }
        return loss, metrics


def train(
    janus: Janus,
    data: Sequence[WeightedRows],
    settings: KtoSettings,
    out: Path,
    provenance: dict[str, Any],
    start: RunStart = FROM_THE_START,
    safeguards: ForgettingSafeguards = NO_SAFEGUARDS,
) -> None:
    """Train on labelled reflections; raises what `train_from_reference` raises, and DataError for a folder of one."""
    estimates = settings.loss == "kto"
    if estimates:
        if any(len(each.rows) < 2 for each in data):
            raise DataError("KTO estimates a divergence on completions of other rows, and a folder has one row only")
        data = [WeightedRows(MismatchedRows(janus, each.rows), each.weight) for each in data]

    def batch(janus: Janus, rows: Sequence[ReferencedRow]) -> LabelledBatch:
        return LabelledBatch(row_batch(janus, rows, OWN), row_batch(janus, rows, MISMATCHED) if estimates else None)

    method = PreferenceMethod(lambda policy, loop: LabelledLoss(settings, policy, loop), batch)
    train_from_reference(janus, data, settings, method, out, provenance, start, safeguards)


def run(arguments: argparse.Namespace, settings: KtoSettings, start: RunStart) -> None:
    """Raises CheckpointError, DataError and what `train` raises."""
    janus = open_for_run(arguments, settings)
    data, about = open_data(janus, arguments.data, LABELLED_ROWS, RowBounds())
    provenance = {"parent": str(arguments.checkpoint), "recipe": "kto", "settings": asdict(settings), **about}
    safeguards = open_safeguards(janus, arguments, settings, settings.seed, LABELLED_ROWS)
    train(janus, data, settings, arguments.out, provenance, start, safeguards)


def options(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "judge_kto", required=True)
    add_load_options(parser, "what to start from, and the reference")
    add_safeguards(parser)


def main() -> None:
    description = "Train a Janus checkpoint on reflections that people hold right or wrong, one by one."
    run_method(
        "kto",
        description,
        KtoSettings(),
        run,
        options,
        {"loss": LABEL_LOSSES, "precision": ("no", "bf16")},
        [DataError],
    )


if __name__ == "__main__":
    main()
