"""Rows with a reference's log-probabilities, computed once before the first step, and the run that learns from them.

The log-probabilities are the model's own (temperature 1, no guidance), summed over the scored tokens of a sequence. The
reference is the checkpoint that the run starts from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model.backends.janus import Janus
from model.training.batch import Batch, collate
from model.training.loop import Loop, Objective, ObjectiveBatches, StepData, prefetched
from model.training.policy import Policy, network_run
from model.training.runs.folder import RunStart
from model.training.runs.settings import ShardedSettings
from model.training.safeguards.setup import NO_SAFEGUARDS, ForgettingSafeguards, SafeguardSettings
from model.training.sources import Indexed, WeightedRows, mixed_source
from model.training.training_sequences import TrainingSequence


@dataclass(frozen=True)
class ReferencedRow:
    """A row with the reference's log-probabilities: chosen and rejected completion, or one with its label."""

    sequences: tuple[TrainingSequence, ...]
    weight: float = 1.0
    name: str = ""
    label: bool = True
    reference: tuple[float, ...] = ()  # log-probability of each sequence by the reference


@dataclass(frozen=True)
class ReferencedRows:
    """Rows with the reference's log-probabilities, by index."""

    rows: Indexed
    log_probs: Sequence[tuple[float, ...]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> ReferencedRow:
        return replace(self.rows[index], reference=self.log_probs[index])


@dataclass(frozen=True, eq=False)
class RowBatch:
    """P rows of S sequences each: sequences S i … S i + S − 1 of `batch` are those of row i."""

    batch: Batch
    reference: torch.Tensor  # (P, S) log-probabilities
    weights: torch.Tensor  # (P,)
    labels: torch.Tensor  # (P,) bool

    @property
    def shape(self) -> tuple[int, int]:
        return self.reference.shape[0], self.reference.shape[1]

    def scored(self, policy: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """(P, S) log-probability and number of the scored tokens of each sequence."""
        own, counts = sums(policy(self.batch).log_probs, self.batch)
        return own.view(self.shape), counts.view(self.shape)


def sums(log_probs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(B,) log-probability and (B,) number of the scored tokens of each sequence."""
    rows = batch.rows.to(log_probs.device)
    zeros = torch.zeros(len(batch.ends), device=log_probs.device)
    return zeros.index_add(0, rows, log_probs), zeros.index_add(0, rows, torch.ones_like(log_probs)).clamp(min=1)


def row_batch(janus: Janus, rows: Sequence[ReferencedRow], which: slice = slice(None)) -> RowBatch:
    """The rows as one batch, with `which` of the sequences of each."""
    sequences = [sequence for row in rows for sequence in row.sequences[which]]
    reference = [(row.reference or (0.0,) * len(row.sequences))[which] for row in rows]
    weights, labels = torch.tensor([row.weight for row in rows]), torch.tensor([row.label for row in rows])
    return RowBatch(collate(janus, sequences), torch.tensor(reference), weights, labels)


@torch.no_grad()
def referenced(policy: Policy, rows: Indexed, at_once: int) -> ReferencedRows:
    """The rows with the log-probabilities of the policy as it is."""
    log_probs: list[tuple[float, ...]] = []
    for start in range(0, len(rows), at_once):
        batch = row_batch(policy.janus, [rows[at] for at in range(start, min(start + at_once, len(rows)))])
        own, _ = batch.scored(policy)
        log_probs += [tuple(each) for each in own.tolist()]
    return ReferencedRows(rows, log_probs)


@dataclass(frozen=True)
class PreferenceSettings(ShardedSettings, SafeguardSettings):
    """Choices of every method that learns from preferences."""

    micro_batch: int = 8  # rows in one pass


@dataclass(frozen=True)
class PreferenceMethod:
    """What a method adds to the run: its objective, given the policy and the loop, and its batches of some rows."""

    objective: Callable[[Policy, Loop], Objective]
    batch: Callable[[Janus, Sequence[ReferencedRow]], Any]


def train_from_reference(
    janus: Janus,
    data: Sequence[WeightedRows],
    settings: PreferenceSettings,
    method: PreferenceMethod,
    out: Path,
    provenance: Mapping[str, Any],
    start: RunStart,
    safeguards: ForgettingSafeguards = NO_SAFEGUARDS,
) -> None:
    """Train on rows with a reference; Raises what `Loop.train` raises, and DataError for a batch that is too small."""
    policy, loop = Policy(janus), Loop(settings.loop)
    janus.network.to(loop.accelerator.device)
    with loop.accelerator.autocast():  # as in training
        known = [WeightedRows(referenced(policy, each.rows, settings.micro_batch), each.weight) for each in data]
    source = mixed_source(known, settings.seed, settings.batch)
    active = safeguards.begin(policy, loop, out, settings, settings.seed)
    objective = method.objective(policy, loop)
    padding = method.batch(janus, [replace(known[0].rows[0], weight=0.0)])

    def step_data(step: int) -> StepData:
        rows: list[ReferencedRow] = source(step, loop.rank_slice)
        some = [rows[at : at + settings.micro_batch] for at in range(0, len(rows), settings.micro_batch)]
        batches = [method.batch(janus, each) for each in some]
        return StepData(
            [ObjectiveBatches(objective, batches, padding), *active.objectives(step)], [row.name for row in rows]
        )

    with prefetched(step_data, settings.steps) as ahead:
        loop.train(network_run(janus, policy, out, provenance, start, evaluation=active.evaluation), ahead)
