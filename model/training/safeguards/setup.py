"""Safeguards against forgetting: self-distillation to a run's initial checkpoint, and its evaluation on fixed prompts.

A method has both in five lines: its settings derive from `SafeguardSettings`, its options come from `add_safeguards`,
`open_safeguards` opens them with its data, and `ForgettingSafeguards.begin` makes of them further objectives of its
steps (`objectives`) and the hook of its run (`evaluation`).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from model.backends.janus import Janus
from model.evaluation.bootstrap import Proportion
from model.evaluation.fixed_prompts import SAMPLES, Drawn, Figures, FixedPrompts, draw_fixed, world_prompts
from model.training.batch import collate
from model.training.dataset import RowFormat
from model.training.loop import Evaluation, Loop, ObjectiveBatches
from model.training.policy import Policy
from model.training.runs.folder import RunPaths
from model.training.safeguards.evaluations import Evaluations, EvaluationSettings, markdown
from model.training.safeguards.self_distillation import DistillationSettings, SelfDistillation, open_self_distillation
from model.training.sources import add_distill_prompts, add_held_out, knows_world, open_distill_prompts, open_held_out
from model.training.training_sequences import TokenKind, TrainingSequence

HELD_OUT = "held-out rows"  # the setting of their figures
MOST_HELD_OUT = 200  # rows


@dataclass(frozen=True)
class SafeguardSettings(DistillationSettings, EvaluationSettings):
    """Settings of every method that has both."""


@dataclass(frozen=True)
class ForgettingSafeguards:
    """Prompts of self-distillation, fixed prompts that are drawn, and rows that are held out; none by default."""

    distill_prompts: Sequence[str] = ()
    fixed: Sequence[FixedPrompts] = ()
    held_out: Sequence[TrainingSequence] = ()

    def begin(
        self, policy: Policy, loop: Loop, out: Path, settings: SafeguardSettings, seed: int
    ) -> "ActiveSafeguards":
        """Roll out the prompts of self-distillation with the policy as it is."""
        distillation = open_self_distillation(policy, loop, self.distill_prompts, settings, seed)
        return ActiveSafeguards(distillation, evaluation_of(policy, loop, out, settings, self.fixed, self.held_out))


NO_SAFEGUARDS = ForgettingSafeguards()


@dataclass(frozen=True)
class ActiveSafeguards:
    """The safeguards of a run that has begun."""

    distillation: SelfDistillation
    evaluation: Evaluation | None

    def objectives(self, step: int) -> list[ObjectiveBatches]:
        return self.distillation.objectives(step)


def add_safeguards(parser: argparse.ArgumentParser) -> None:
    """Command options of the safeguards that are no settings."""
    add_distill_prompts(parser)
    add_held_out(parser)


def open_safeguards(
    janus: Janus, arguments: argparse.Namespace, settings: SafeguardSettings, seed: int, row_format: RowFormat
) -> ForgettingSafeguards:
    """Open the safeguards with the rows of `row_format` under --data and --held-out. Raises DataError."""
    prompts = open_distill_prompts(janus, arguments, row_format, settings.distill_rollouts, seed)
    others = open_held_out(janus, arguments, row_format)[0] if arguments.held_out else []
    rows = [each.rows[at] for each in others for at in range(len(each.rows))][:MOST_HELD_OUT]
    held_out = [row if isinstance(row, TrainingSequence) else row.sequences[0] for row in rows if row.weight > 0]
    return ForgettingSafeguards(prompts, fixed_prompts(janus, settings, prompts), held_out)


def fixed_prompts(janus: Janus, settings: EvaluationSettings, prompts: Sequence[str] = ()) -> list[FixedPrompts]:
    """Prompts that are drawn at every evaluation: the embedded world's where the checkpoint knows it, else some of
    `prompts`."""
    if not settings.evaluate_prompts:
        return []
    if knows_world(janus):
        return world_prompts(settings.evaluate_prompts, thinks=janus.sampling.thinks)
    some = tuple(dict.fromkeys(prompts))[:SAMPLES]
    return [FixedPrompts("prompts of the data", some, janus.sampling.thinks, False)] if some else []


def evaluation_of(
    policy: Policy,
    loop: Loop,
    out: Path,
    settings: EvaluationSettings,
    fixed: Sequence[FixedPrompts],
    held_out: Sequence[TrainingSequence] = (),
) -> Evaluation | None:
    """The evaluation hook of a run; None where there is nothing to evaluate."""
    if not (fixed or held_out):
        return None
    first = loop.accelerator.is_main_process
    evaluations = Evaluations(RunPaths(out).evaluation, settings.best, writes=first)

    def run(step: int) -> dict[str, Any]:
        drawn = draw_fixed(policy.janus, fixed, loop.rank_slice)
        whole = Drawn()
        for part in gather_object([drawn]) if loop.processes > 1 else [drawn]:
            whole.add(part)
        with loop.accelerator.autocast():
            figures: Figures = whole.figures() | held_out_figures(policy, held_out)
        return evaluations.add(step, figures, whole.samples)

    def finish() -> None:
        print(markdown(evaluations.table()), file=sys.stderr)

    return Evaluation(settings.evaluate_every, run, evaluations.begin, lambda step: evaluations.best == step, finish)


@torch.no_grad()
def held_out_figures(policy: Policy, sequences: Sequence[TrainingSequence]) -> dict[str, dict[str, Proportion]]:
    """Cross-entropy per token, and the share of verdicts that are likelier than their opposite."""
    losses: list[tuple[float, int]] = []
    verdicts: list[tuple[float, int]] = []
    for sequence in sequences:
        batch = collate(policy.janus, [sequence])
        scores = policy(batch)
        losses.append((-float(scores.log_probs.sum()), len(batch.tokens)))
        verdicts.append((float(scores.verdicts_right), int(batch.of_kind(TokenKind.VERDICT).sum())))
    if not sequences:
        return {}
    rows = {"held-out loss": losses, "held-out verdicts right": verdicts}
    return {HELD_OUT: {name: Proportion.from_pairs(pairs) for name, pairs in rows.items()}}
