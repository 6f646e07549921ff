"""Direct preference optimization on pairs of reflections, plans or drawings.

    python -m model.training.dpo --data EXPORT --checkpoint DIR --steps 100 --out DIR
    python -m model.training.dpo --data REFLECTIONS:1 DRAWINGS:0.5 --loss sigmoid_norm --checkpoint DIR --out DIR
    python -m model.training.dpo --backend diffusion --data DRAWINGS --checkpoint painter --out DIR

The policy's log-probabilities are its own (temperature 1, no guidance), summed over the scored tokens of a completion:
a reflection (rows of the kind `judge_pref`), a plan (`thought_pref`), or the codes of a drawing (`image_pref`). The
reference is the checkpoint that the run starts from; its log-probabilities are computed once, before the first step.
The losses are in `preferences.losses`. The painter of a diffusion pair learns by Diffusion-DPO (`diffusion.dpo`).
"""

import argparse
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.backends.janus import Janus
from model.training.dataset import DataError, RowBounds
from model.training.preferences.losses import (
    PAIR_LOSSES,
    LossError,
    check_smoothing,
    mean_of_pairs,
    pair_margins,
    pair_totals,
)
from model.training.preferences.reference import (
    PreferenceMethod,
    PreferenceSettings,
    RowBatch,
    row_batch,
    train_from_reference,
)
from model.training.preferences.rows import PREFERENCE_ROWS
from model.training.runs.command import run_method
from model.training.runs.estimate import Workload, open_for_run
from model.training.runs.folder import FROM_THE_START, RunStart
from model.training.runs.load_for_training import add_load_options
from model.training.safeguards.setup import NO_SAFEGUARDS, ForgettingSafeguards, add_safeguards, open_safeguards
from model.training.sources import WeightedRows, add_data, open_data

DIFFUSION = "model.training.diffusion.dpo"  # imports diffusers, and is imported where that is chosen


@dataclass(frozen=True)
class DpoSettings(PreferenceSettings):
    """One run's choices; `batch` counts pairs."""

    loss: str = "sigmoid"  # of a pair: DPO, or a variant by its name in TRL
    beta: float = 0.1  # weight of the log-ratio to the reference
    label_smoothing: float = 0.0  # the share of pairs that are taken to be the wrong way round
    chosen_nll: float = 0.0  # weight of the cross-entropy of what was chosen, per token

    @property
    def workload(self) -> Workload:
        """What a step does, by which memory is estimated."""
        return Workload(2 * self.micro_batch, 2 * self.batch)


@dataclass(frozen=True)
class PreferenceLoss:
    """The weighted mean of a pair's loss. Batches hold chosen and rejected sequences in turn."""

    loss: str
    beta: float
    label_smoothing: float = 0.0
    chosen_nll: float = 0.0

    def totals(self, pairs: RowBatch) -> dict[str, float]:
        return pair_totals(pairs.weights)

    def __call__(
        self, policy: torch.nn.Module, pairs: RowBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        own, counts = pairs.scored(policy)
        margins = pair_margins(self.loss, own - pairs.reference.to(own.device), counts)
        losses = PAIR_LOSSES[self.loss](margins, self.beta, self.label_smoothing)
        losses = losses - self.chosen_nll * own[:, 0] / counts[:, 0]
        values = {
            "margin": self.beta * margins,
            "accuracy": (margins > 0).float(),
            "chosen_log_prob": own[:, 0],
            "rejected_log_prob": own[:, 1],
        }
        return mean_of_pairs(losses, values, pairs.weights, totals)


def train(
    janus: Janus,
    data: Sequence[WeightedRows],
    settings: DpoSettings,
    out: Path,
    provenance: dict[str, Any],
    start: RunStart = FROM_THE_START,
    safeguards: ForgettingSafeguards = NO_SAFEGUARDS,
) -> None:
    """Train on pairs; raises LossError and what `train_from_reference` raises."""
    check_smoothing(settings.loss, settings.label_smoothing)
    objective = PreferenceLoss(settings.loss, settings.beta, settings.label_smoothing, settings.chosen_nll)
    method = PreferenceMethod(lambda policy, loop: objective, row_batch)
    train_from_reference(janus, data, settings, method, out, provenance, start, safeguards)


def run(arguments: argparse.Namespace, settings: DpoSettings, start: RunStart) -> None:
    """Raises CheckpointError, DataError and what `train` raises."""
    check_smoothing(settings.loss, settings.label_smoothing)
    janus = open_for_run(arguments, settings)
    data, about = open_data(janus, arguments.data, PREFERENCE_ROWS, RowBounds())
    provenance = {"parent": str(arguments.checkpoint), "recipe": "dpo", "settings": asdict(settings), **about}
    safeguards = open_safeguards(janus, arguments, settings, settings.seed, PREFERENCE_ROWS)
    train(janus, data, settings, arguments.out, provenance, start, safeguards)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """The option --backend, by which the others differ."""
    kinds = "what is trained: a Janus checkpoint, or the painter of a diffusion pair (with other settings: --help)"
    parser.add_argument("--backend", choices=("janus", "diffusion"), default="janus", help=kinds)


def diffusion_options(parser: argparse.ArgumentParser) -> None:
    add_backend(parser)
    add_data(parser, "image_pref", required=True)
    add_load_options(parser, "the pipeline to start from, and the reference (default: painter)", default="painter")


def options(parser: argparse.ArgumentParser) -> None:
    add_backend(parser)
    add_data(parser, "judge_pref, thought_pref or image_pref", required=True)
    add_load_options(parser, "what to start from, and the reference")
    add_safeguards(parser)


def main() -> None:
    before = argparse.ArgumentParser(add_help=False)
    add_backend(before)
    errors = [DataError, LossError]
    if before.parse_known_args()[0].backend == "diffusion":
        description = "Train the painter of a diffusion pair on people's preferences among its pictures."
        module = importlib.import_module(DIFFUSION)
        choices = {"loss": module.LOSSES, "precision": ("no", "bf16")}
        run_method("dpo", description, module.DiffusionDpoSettings(), module.run, diffusion_options, choices, errors)
        return
    description = "Train a Janus checkpoint on people's preferences among reflections, plans or drawings."
    choices = {"loss": tuple(PAIR_LOSSES), "precision": ("no", "bf16")}
    run_method("dpo", description, DpoSettings(), run, options, choices, errors)


if __name__ == "__main__":
    main()
