"""Direct preference optimization on pairs of reflections (rows of the kind `judge_pref`).

    python -m model.training.dpo --data EXPORT --checkpoint DIR --steps 100 --out DIR

The policy's log-probabilities are its own (temperature 1, no guidance), summed over the scored tokens of a reflection;
those of the reference, which is the checkpoint that the run starts from, are computed once, before the first step.
Losses: Rafailov et al. (2023), with label smoothing as in cDPO; IPO (Azar et al., 2024), on means over tokens.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import logsigmoid

from model.backends.checkpoint.loading import EMBEDDED, open_checkpoint
from model.backends.janus import Janus
from model.examples import PreferenceExample
from model.training.batch import Batch, collate
from model.training.dataset import DataError, RowBounds, RowFormat, Rows, sequence_of
from model.training.loop import Loop, LoopSettings, Share, StepData, prefetched
from model.training.policy import Policy, network_run
from model.training.runs.command import run_method
from model.training.runs.folder import FROM_THE_START, RunPaths, RunStart
from model.training.sources import Indexed, open_rows, row_source
from model.training.training_sequences import TrainingSequence

LOSSES = ("sigmoid", "ipo")


@dataclass(frozen=True)
class Settings:
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 100
    batch: int = 16  # pairs per step
    micro_batch: int = 8  # pairs in one pass
    loss: str = "sigmoid"
    beta: float = 0.1  # weight of the pull to the reference
    label_smoothing: float = 0.0  # the share of pairs that are taken to be the wrong way round (sigmoid)
    chosen_nll: float = 0.0  # weight of the cross-entropy of what was chosen, per token
    learning_rate: float = 2e-5
    warmup: int = 10  # steps
    falling: float = 0.25  # share of the steps over which the rate decays, the last ones
    weight_decay: float = 0.0
    clip: float = 1.0  # gradient norm
    precision: str = "no"  # or bf16
    save_every: int = 50  # steps; 0 only at the end
    seed: int = 0


@dataclass(frozen=True)
class Pair:
    """Chosen and rejected reflection of one row."""

    chosen: TrainingSequence
    rejected: TrainingSequence
    weight: float = 1.0
    name: str = ""
    reference: tuple[float, float] = (0.0, 0.0)  # log-probabilities of the reference


@dataclass(frozen=True)
class ReferencedRows:
    """Rows with the reference's log-probabilities, by index."""

    rows: Indexed
    log_probs: Sequence[tuple[float, float]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Pair:
        return replace(self.rows[index], reference=self.log_probs[index])


@dataclass(frozen=True, eq=False)
class PairBatch:
    """P pairs: sequences 2 i and 2 i + 1 of `batch` are the chosen and the rejected one of pair i."""

    batch: Batch
    reference: torch.Tensor  # (2 P,) log-probabilities of the reference
    weights: torch.Tensor  # (P,)


@dataclass(frozen=True)
class PreferenceLoss:
    """The weighted mean of a pair's loss."""

    loss: str
    beta: float
    label_smoothing: float = 0.0
    chosen_nll: float = 0.0

    def totals(self, pairs: PairBatch) -> dict[str, float]:
        return {"weight": float(pairs.weights.sum()), "pairs": float((pairs.weights > 0).sum())}

    def __call__(
        self, policy: torch.nn.Module, pairs: PairBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        log_probs = policy(pairs.batch).log_probs
        own, counts = sums(log_probs, pairs.batch)
        device = log_probs.device
        ratios = own - pairs.reference.to(device)
        if self.loss == "ipo":
            ratios = ratios / counts
        margins = ratios[0::2] - ratios[1::2]  # (P,)
        if self.loss == "ipo":
            losses = (margins - 1 / (2 * self.beta)) ** 2
        else:
            logits, share = self.beta * margins, self.label_smoothing
            losses = -(1 - share) * logsigmoid(logits) - share * logsigmoid(-logits)
        losses = losses - self.chosen_nll * own[0::2] / counts[0::2]
        weights, pairs_counted = pairs.weights.to(device), (pairs.weights > 0).to(device)
        loss = (losses * weights).sum() / max(totals["weight"], 1e-9)
        means = {
            "margin": self.beta * margins.detach(),
            "accuracy": (margins > 0).float(),
            "chosen_log_prob": own[0::2].detach(),
            "rejected_log_prob": own[1::2].detach(),
        }
        count = max(1.0, totals["pairs"])
        metrics = {name: (values * pairs_counted).sum() / count for name, values in means.items()}
        return loss, {"loss": loss.detach(), **metrics}


def sums(log_probs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(B,) log-probability and (B,) number of the scored tokens of each sequence."""
    rows = batch.rows.to(log_probs.device)
    zeros = torch.zeros(len(batch.ids), device=log_probs.device)
    return zeros.index_add(0, rows, log_probs), zeros.index_add(0, rows, torch.ones_like(log_probs)).clamp(min=1)


def pair_of(janus: Janus, example: PreferenceExample, bounds: RowBounds) -> Pair:
    """Raises RowError for what cannot be learnt."""
    chosen, rejected = (sequence_of(janus, each, bounds) for each in (example.chosen, example.rejected))
    return Pair(chosen, rejected, example.weight)


PREFERENCE_ROWS = RowFormat("judge_pref", PreferenceExample.from_row, pair_of)


def pair_batch(janus: Janus, pairs: Sequence[Pair]) -> PairBatch:
    sequences = [sequence for pair in pairs for sequence in (pair.chosen, pair.rejected)]
    reference = torch.tensor([log_prob for pair in pairs for log_prob in pair.reference])
    return PairBatch(collate(janus, sequences), reference, torch.tensor([pair.weight for pair in pairs]))


@torch.no_grad()
def referenced(policy: Policy, rows: Indexed, at_once: int) -> ReferencedRows:
    """The rows with the log-probabilities of the policy as it is."""
    log_probs: list[tuple[float, float]] = []
    for start in range(0, len(rows), at_once):
        batch = pair_batch(policy.janus, [rows[at] for at in range(start, min(start + at_once, len(rows)))]).batch
        own, _ = sums(policy(batch).log_probs, batch)
        log_probs += [(chosen, rejected) for chosen, rejected in own.view(-1, 2).tolist()]
    return ReferencedRows(rows, log_probs)


def train(
    janus: Janus,
    rows: Rows,
    settings: Settings,
    out: Path,
    provenance: dict[str, Any],
    start: RunStart = FROM_THE_START,
) -> None:
    """Train on pairs; raises what `Loop.train` raises."""
    policy, loop = Policy(janus), Loop(LoopSettings.of(settings))
    janus.network.to(loop.accelerator.device)
    with loop.accelerator.autocast():  # as in training
        known = referenced(policy, rows, settings.micro_batch)
    source = row_source(known, settings.seed, settings.batch)
    objective = PreferenceLoss(settings.loss, settings.beta, settings.label_smoothing, settings.chosen_nll)
    padding = pair_batch(janus, [replace(known[0], weight=0.0)])

    def data(step: int) -> StepData:
        pairs: list[Pair] = source(step, loop.own)
        some = [pairs[at : at + settings.micro_batch] for at in range(0, len(pairs), settings.micro_batch)]
        batches = [pair_batch(janus, each) for each in some]
        return StepData([Share(objective, batches, padding)], [pair.name for pair in pairs])

    with prefetched(data, settings.steps) as ahead:
        loop.train(network_run(janus, policy, out, provenance, start), ahead)


def run(arguments: argparse.Namespace, settings: Settings, start: RunStart) -> None:
    """Raises CheckpointError, DataError and what `train` raises."""
    RunPaths(arguments.out).check(arguments.checkpoint)
    janus = open_checkpoint(arguments.checkpoint, dtype=torch.float32, device="cpu")  # each process has its own device
    rows, about = open_rows(janus, arguments.data, PREFERENCE_ROWS, RowBounds())
    provenance = {"parent": str(arguments.checkpoint), "recipe": "dpo", "settings": asdict(settings), **about}
    train(janus, rows, settings, arguments.out, provenance, start)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="an export of the kind judge_pref")
    parser.add_argument("--checkpoint", default=str(EMBEDDED), help="what to start from, and the reference")


def main() -> None:
    description = "Train a Janus checkpoint on people's preferences among reflections."
    run_method("dpo", description, Settings(), run, options, {"loss": LOSSES, "precision": ("no", "bf16")}, [DataError])


if __name__ == "__main__":
    main()
