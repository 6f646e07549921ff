"""A reward model on people's preferences and ratings (rows of the kinds `reward` and `image_pref`).

    python -m model.training.reward --data EXPORT --checkpoint DIR --steps 100 --out DIR --held-out OTHERS

A scalar head on the checkpoint, which reads the prompt and the pixels of a drawing as when it judges. Pairs are learnt
by Bradley–Terry with margins, scores by the cross-entropy of σ(reward) with the score. The folder is a checkpoint with
the head in a file of its own, and opens again: as `--reward reward_model:DIR` of `model.training.grpo` it is a reward.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from model.training.dataset import DataError, RowBounds
from model.training.loop import Evaluation, Loop, ObjectiveBatches, Run, StepData, prefetched
from model.training.policy import network_run, write_checkpoint
from model.training.preferences.losses import reward_losses
from model.training.rewards.reward_network import HEAD, REWARD_ROWS, RewardBatch, RewardNetwork, RewardRow, reward_batch
from model.training.runs.command import run_method
from model.training.runs.estimate import Workload, open_for_run
from model.training.runs.folder import FROM_THE_START, RunStart
from model.training.runs.load_for_training import add_load_options
from model.training.runs.settings import ShardedSettings
from model.training.sources import Indexed, WeightedRows, add_data, add_held_out, mixed_source, open_data, open_held_out


@dataclass(frozen=True)
class RewardSettings(ShardedSettings):
    """One run's choices; `batch` counts rows."""

    micro_batch: int = 8  # rows in one pass
    center: float = 0.01  # weight of the squared sum of a pair's rewards

    @property
    def workload(self) -> Workload:
        """What a step does, by which memory is estimated."""
        return Workload(2 * self.micro_batch, 2 * self.batch)


@dataclass(frozen=True)
class RewardLoss:
    """The weighted mean of a row's loss."""

    center: float

    def totals(self, rows: RewardBatch) -> dict[str, float]:
        counted = rows.weights > 0
        pairs, scores = float((counted & rows.paired).sum()), float((counted & ~rows.paired).sum())
        return {"weight": float(rows.weights.sum()), "pairs": pairs, "scores": scores}

    def __call__(
        self, network: torch.nn.Module, rows: RewardBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        rewards = network(rows)
        columns = (rows.first, rows.second, rows.margins, rows.scores, rows.weights, rows.paired)
        first, second, margins, scores, weights, paired = (column.to(rewards.device) for column in columns)
        chosen, rejected, counted = rewards[first], rewards[second], weights > 0
        compared = reward_losses(chosen, rejected, margins, self.center)
        losses = torch.where(paired, compared, binary_cross_entropy_with_logits(chosen, scores, reduction="none"))
        loss = (losses * weights).sum() / max(totals["weight"], 1e-9)
        pairs, alone = (counted & paired) / max(1.0, totals["pairs"]), (counted & ~paired) / max(1.0, totals["scores"])
        metrics = {
            "loss": loss.detach(),
            "accuracy": ((chosen > rejected) * pairs).sum(),
            "margin": ((chosen - rejected).detach() * pairs).sum(),
            "score_error": ((chosen.detach().sigmoid() - scores).abs() * alone).sum(),
        }
        return loss, metrics


@torch.no_grad()
def held_out_figures(network: RewardNetwork, data: Sequence[Indexed], at_once: int) -> dict[str, float]:
    """Share of pairs whose chosen drawing has the higher reward, and the mean error of σ(reward) on scores."""
    right: list[float] = []
    errors: list[float] = []
    for rows in data:
        for start in range(0, len(rows), at_once):
            batch = reward_batch(network.janus, [rows[at] for at in range(start, min(start + at_once, len(rows)))])
            rewards = network(batch).cpu()
            chosen, rejected = rewards[batch.first], rewards[batch.second]
            right += (chosen > rejected)[batch.paired].float().tolist()
            errors += (chosen.sigmoid() - batch.scores).abs()[~batch.paired].tolist()
    figures = {"held_out_accuracy": right, "held_out_score_error": errors}
    return {name: sum(values) / len(values) for name, values in figures.items() if values}


def train(
    network: RewardNetwork,
    data: Sequence[WeightedRows],
    settings: RewardSettings,
    out: Path,
    provenance: dict[str, Any],
    start: RunStart = FROM_THE_START,
    held_out: Sequence[Indexed] = (),
) -> None:
    """Train on pairs and scores, and print the figures on held-out rows; raises what `Loop.train` raises, and DataError
    for a batch that is too small."""
    janus, loop = network.janus, Loop(settings.loop)
    source, objective = mixed_source(data, settings.seed, settings.batch), RewardLoss(settings.center)
    padding = reward_batch(janus, [replace(data[0].rows[0], weight=0.0)])

    def step_data(step: int) -> StepData:
        rows: list[RewardRow] = source(step, loop.rank_slice)
        some = [rows[at : at + settings.micro_batch] for at in range(0, len(rows), settings.micro_batch)]
        batches = [reward_batch(janus, each) for each in some]
        return StepData([ObjectiveBatches(objective, batches, padding)], [row.name for row in rows])

    def save(about: dict[str, Any]) -> None:
        write_checkpoint(janus, out, about, {HEAD: network.head.state_dict()})

    every = settings.save_every or settings.steps
    figures = Evaluation(every, lambda step: held_out_figures(network, held_out, settings.micro_batch))
    run: Run = network_run(janus, network, out, provenance, start, evaluation=figures if held_out else None)
    with prefetched(step_data, settings.steps) as ahead:
        loop.train(replace(run, network=network, save=save), ahead)
    if loop.accelerator.is_main_process:
        for name, value in loop.evaluated.items():
            print(f"{name} {value:.4f}", file=sys.stderr)


def run(arguments: argparse.Namespace, settings: RewardSettings, start: RunStart) -> None:
    """Raises CheckpointError, DataError and what `train` raises."""
    janus = open_for_run(arguments, settings)
    data, about = open_data(janus, arguments.data, REWARD_ROWS, RowBounds())
    held_out: list[Indexed] = []
    if arguments.held_out:
        others, about_others = open_held_out(janus, arguments, REWARD_ROWS)
        held_out, about = [each.rows for each in others], about | {"held_out_sha256": about_others["data_sha256"]}
    provenance = {"parent": str(arguments.checkpoint), "recipe": "reward", "settings": asdict(settings), **about}
    train(RewardNetwork(janus), data, settings, arguments.out, provenance, start, held_out)


def options(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "reward or image_pref", required=True)
    add_held_out(parser)
    add_load_options(parser)


def main() -> None:
    description = "Train a reward model on people's preferences among drawings, and on their ratings."
    run_method("reward", description, RewardSettings(), run, options, {"precision": ("no", "bf16")}, [DataError])


if __name__ == "__main__":
    main()
