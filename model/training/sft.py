"""Supervised fine-tuning on exported rows, the embedded world's sequences, or both.

    python -m model.training.sft --data EXPORT --checkpoint DIR --steps 200 --out DIR
    python -m model.training.sft --world --mixture judge --checkpoint EYE --steps 2000 --learning-rate 1e-3 --out DIR

With both sources, half of every batch is the world's, so that a corrected judge does not forget how to draw. What
a step learns from depends on the seed and the step alone.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.backends.janus import Janus
from model.training.batch import KINDS, Batch, micro_batches, padding_batch
from model.training.dataset import SFT_ROWS, DataError, RowBounds
from model.training.loop import Loop, ObjectiveBatches, StepData, prefetched
from model.training.policy import Policy, network_run
from model.training.runs.command import run_method
from model.training.runs.estimate import Workload, open_for_run
from model.training.runs.folder import FROM_THE_START, RunStart
from model.training.runs.load_for_training import add_load_options
from model.training.runs.settings import ShardedSettings
from model.training.safeguards.setup import (
    NO_SAFEGUARDS,
    ForgettingSafeguards,
    SafeguardSettings,
    add_safeguards,
    open_safeguards,
)
from model.training.sources import MIXTURE_NAMES, SequenceSource, add_sources, check_sources, open_sources
from model.training.training_sequences import TokenKind, TrainingSequence

# Each kind's loss is a mean over its own targets. A drawing has about four times the targets of its thought, and with
# equal means the drawing took half as many steps again to follow the thought.
KIND_WEIGHTS = {
    TokenKind.CODE: 4.0,
    TokenKind.TEXT: 1.0,
    TokenKind.VERDICT: 0.5,
    TokenKind.JUDGING_AUXILIARY: 1.0,
    TokenKind.DRAWING_AUXILIARY: 1.0,
}


@dataclass(frozen=True)
class SftSettings(ShardedSettings, SafeguardSettings):
    """One run's choices; `batch` counts sequences."""

    steps: int = 200  # gradient steps, of all that a resumed run makes
    batch: int = 32  # sequences per step
    mixture: str = "all"  # mixture of the world's tasks
    verdict_threshold: float = 1.0  # probability from which on a verdict adds no loss
    micro_batches: int = 4  # parts a step is split into, those of like length together: a third less padding
    learning_rate: float = 3e-5  # AdamW's peak, of a trained checkpoint; an adapter or a new network wants ten times it
    muon: float = 0.0  # Muon's peak, for the matrices within the layers; 0: all is AdamW's
    warmup: int = 5  # first steps, over which the rates rise
    weight_decay: float = 0.05  # AdamW's
    compile: bool = False  # for a GPU: on a CPU every new length is compiled again
    most_characters: int = RowBounds.characters  # of a row of --data, its texts together
    most_tokens: int = RowBounds.tokens  # of a row, with the positions of its images
    most_megapixels: float = RowBounds.megapixels  # of one picture

    @property
    def workload(self) -> Workload:
        """What a step does, by which memory is estimated."""
        return Workload(-(-self.batch // self.micro_batches), self.batch)


@dataclass(frozen=True)
class CrossEntropy:
    """`share` times the weighted sum of each kind's mean cross-entropy; metrics, of kinds that the step has targets of,
    carry a prefix. A verdict whose probability is `verdict_threshold` or more adds no loss."""

    share: float = 1.0
    prefix: str = ""
    verdict_threshold: float = 1.0

    def totals(self, batch: Batch) -> dict[str, int]:
        return {kind: int(batch.of_kind(kind).sum()) for kind in KINDS}

    def __call__(
        self, policy: torch.nn.Module, batch: Batch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        scores = policy(batch)
        device = scores.log_probs.device
        learnt = batch.of_kind(TokenKind.VERDICT).to(device) & (scores.log_probs.exp() >= self.verdict_threshold)
        losses = torch.where(learnt, 0.0, -scores.log_probs * batch.weights.to(device))
        kinds = [kind for kind in KINDS if totals[kind]] or KINDS
        means = {kind: losses[batch.of_kind(kind).to(device)].sum() / max(1, totals[kind]) for kind in kinds}
        weighted = sum((KIND_WEIGHTS[kind] * mean for kind, mean in means.items()), torch.zeros((), device=device))
        metrics = {str(kind): mean for kind, mean in means.items()}
        if TokenKind.VERDICT in means:
            metrics["verdicts_right"] = scores.verdicts_right / max(1, totals[TokenKind.VERDICT])
        return self.share * weighted, {f"{self.prefix}{name}": value for name, value in metrics.items()}


def cross_entropy_batches(
    janus: Janus, objective: CrossEntropy, sequences: list[TrainingSequence], parts: int, multiple: int = 1
) -> ObjectiveBatches:
    """The sequences in `parts` micro-batches."""
    most = max(1, -(-len(sequences) // parts))
    return ObjectiveBatches(objective, micro_batches(janus, sequences, most, multiple), padding_batch(janus))


def train(
    janus: Janus,
    source: SequenceSource,
    settings: SftSettings,
    out: Path,
    provenance: dict[str, Any],
    start: RunStart = FROM_THE_START,
    safeguards: ForgettingSafeguards = NO_SAFEGUARDS,
) -> None:
    """Train on a source's sequences, with the KL term and the evaluation of the safeguards; raises what `Loop.train`
    raises."""
    policy, loop = Policy(janus), Loop(settings.loop)
    active = safeguards.begin(policy, loop, out, settings, settings.seed)
    if settings.compile:
        for part in (janus.network.model.language_model, janus.network.model.vision_model.encoder):
            part.compile(dynamic=True)

    objective = CrossEntropy(verdict_threshold=settings.verdict_threshold)

    def data(step: int) -> StepData:
        sequences = list(source(step, loop.rank_slice))
        multiple = 32 if settings.compile else 1
        batches = cross_entropy_batches(janus, objective, sequences, settings.micro_batches, multiple)
        return StepData([batches, *active.objectives(step)], [sequence.name for sequence in sequences])

    with prefetched(data, settings.steps) as ahead:
        loop.train(network_run(janus, policy, out, provenance, start, evaluation=active.evaluation), ahead)


def run(arguments: argparse.Namespace, settings: SftSettings, start: RunStart) -> None:
    """Raises CheckpointError, DataError and what `train` raises."""
    check_sources(arguments, settings.batch)
    janus = open_for_run(arguments, settings)
    bounds = RowBounds(settings.most_characters, settings.most_tokens, settings.most_megapixels)
    source, about = open_sources(janus, arguments, settings.batch, settings.mixture, settings.seed, bounds)
    provenance = {"parent": str(arguments.checkpoint), "recipe": "sft", "settings": asdict(settings), **about}
    safeguards = open_safeguards(janus, arguments, settings, settings.seed, SFT_ROWS)
    train(janus, source, settings, arguments.out, provenance, start, safeguards)


def options(parser: argparse.ArgumentParser) -> None:
    add_sources(parser)
    add_load_options(parser)
    add_safeguards(parser)


def main() -> None:
    description = "Fine-tune a Janus checkpoint on exported corrections, or on the embedded world's sequences."
    choices = {"mixture": MIXTURE_NAMES, "precision": ("no", "bf16")}
    run_method("sft", description, SftSettings(), run, options, choices, [DataError])


if __name__ == "__main__":
    main()
