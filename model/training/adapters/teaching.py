"""A few corrections learnt by an adapter in under a minute, for one session: the run, and the network that draws.

Beside them it learns by self-distillation, on rollouts of the corrected prompts and, for a checkpoint of the embedded
world, of the world's prompts: so a corrected judge does not forget how to draw, nor says no to all that resembles what
was corrected. With `replay` it learns sequences of the world, too.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model.backends.adapters import DEFAULT, adapted_layers
from model.backends.checkpoint.saving import PROVENANCE
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.examples import JudgeExample, ThoughtExample
from model.training.batch import collate
from model.training.dataset import SFT_ROWS, RowBounds, Rows, prompts_in, rows_from
from model.training.loop import Loop, ObjectiveBatches, StepData, prefetched
from model.training.policy import Policy, network_run, write_checkpoint
from model.training.runs.folder import RunPaths, RunStart
from model.training.runs.load_for_training import AdapterOptions, LoadOptions, base_name, open_for_training
from model.training.runs.settings import loop_settings
from model.training.safeguards.self_distillation import DistillationSettings, open_self_distillation
from model.training.sft import CrossEntropy, cross_entropy_batches
from model.training.sources import SequenceSource, open_rehearsal, open_rows, row_source, world_distill_prompts
from model.training.training_sequences import TokenKind, TrainingSequence

AT_ONCE = 16  # sequences of one forward pass
SCALES = (0.9, 0.8, 0.7, 0.6)  # of what an adapter adds to the weights, tried in turn
MOST_MEASURED = 64  # examples by which a scale is chosen


@dataclass(frozen=True)
class TeachingSettings(DistillationSettings):
    """Defaults for the embedded network; written into the checkpoint's provenance."""

    distill: float = 12.0  # three times a run's own: a few steps at a high rate go far
    distill_rollouts: int = 48
    distill_rounds: int = 1
    distill_batch: int = 12
    verdict_threshold: float = 0.6  # probability from which on a verdict is not learnt further
    scaled_to: float = 0.8  # probability that every verdict learnt keeps when the adapter is scaled down; 1: it is not
    steps: int = 24
    batch: int = 10  # examples per step
    replay: int = 0  # sequences per step of the embedded world; they pull a network of reinforcement learning back, too
    replay_share: float = 0.5  # their loss is multiplied by
    learning_rate: float = 3e-4
    warmup: int = 3  # steps
    decay: float = 0.5  # share of the steps over which the rate decays, the last ones
    save_every: int = 0  # steps; 0 only at the end
    rank: int = 16
    alpha: int = 32
    seed: int = 0


def teach(
    source: str | Path,
    examples: Sequence[JudgeExample | ThoughtExample] | Path,
    out: Path,
    settings: TeachingSettings = TeachingSettings(),
    progress: Callable[[int], None] = lambda step: None,
) -> Janus:
    """Train an adapter on `examples` (in memory, or an export's folder) beside the checkpoint `source` (as
    `open_checkpoint` takes it), and open it.

    `out` becomes the adapter's folder, which is a checkpoint; an earlier run's own there is replaced. The result is a
    network of its own with the adapter in its weights, called by the name of `out`: JanusBackend(janus) draws with it.
    `progress` is called with the number of each step while its data are made; an exception of it ends the run. It may
    run in any thread, one run at a time in a process.

    Raises CheckpointError, DataError for examples that cannot be learnt, TrainingError.
    """
    RunPaths(out).check(source)
    load_options = LoadOptions(AdapterOptions("lora", settings.rank, settings.alpha))
    janus = open_for_training(source, load_options, seed=settings.seed)
    if janus.small:
        torch.set_num_threads(1)  # two take ten times as long where something else is busy
    rows, about = _opened(janus, examples)
    replayed, about_replayed = _replayed(janus, settings)
    policy, loop = Policy(janus), Loop(loop_settings(settings))
    prompts = distill_prompts(janus, examples, settings)
    distillation = open_self_distillation(policy, loop, prompts, settings, settings.seed)
    learnt = row_source(rows, settings.seed, settings.batch)

    def data(step: int) -> StepData:
        progress(step)
        sequences, kept = list(learnt(step, loop.rank_slice)), list(replayed(step, loop.rank_slice))
        objectives = [*_objectives(janus, settings, sequences, kept), *distillation.objectives(step)]
        return StepData(objectives, [sequence.name for sequence in (*sequences, *kept)])

    provenance = {"parent": base_name(source), "recipe": "teach", "settings": asdict(settings)}
    run = network_run(janus, policy, out, provenance | about | about_replayed, RunStart(restart=True))
    with prefetched(data, settings.steps) as ahead:
        loop.train(run, ahead)
    measured = [row for at in range(min(len(rows), MOST_MEASURED)) if isinstance(row := rows[at], TrainingSequence)]
    scale = scale_down(janus, measured, settings.scaled_to)
    if scale < 1:
        write_checkpoint(janus, out, json.loads((out / PROVENANCE).read_text("utf-8")) | {"adapter_scale": scale})
    return open_checkpoint(out)


@torch.no_grad()
def scale_down(janus: Janus, sequences: Sequence[TrainingSequence], least: float) -> float:
    """Scale a LoRA adapter in place, by the smallest of SCALES with which every verdict that it has learnt keeps the
    probability `least`; returns the scale, 1 where there is none. A smaller change of the weights keeps more of what
    was known before (Wortsman et al., 2022, Robust fine-tuning of zero-shot models)."""
    learnt = [at for at, probability in enumerate(verdict_probabilities(janus, sequences)) if probability > 0.5]
    layers = [layer.lora_B[DEFAULT].weight for layer in adapted_layers(janus.network).values()]
    trained = [weight.clone() for weight in layers]

    def scaled(scale: float) -> None:
        for weight, whole in zip(layers, trained, strict=True):
            weight.copy_(whole * scale)

    chosen = 1.0
    for scale in SCALES if learnt else ():
        scaled(scale)
        probabilities = verdict_probabilities(janus, sequences)
        if min(probabilities[at] for at in learnt) < least:
            break
        chosen = scale
    scaled(chosen)
    return chosen


def distill_prompts(
    janus: Janus, examples: Sequence[JudgeExample | ThoughtExample] | Path, settings: TeachingSettings
) -> list[str]:
    """The prompts of self-distillation: those of the examples, by turns; for a checkpoint that knows the embedded world
    half of them are of that. Every second one is drawn after a thought."""
    if isinstance(examples, Path):
        own = list(dict.fromkeys(prompts_in(examples, *SFT_ROWS.kinds)))
    else:
        own = list(dict.fromkeys(example.prompt for example in examples))
    count = settings.distill_rollouts if settings.distill else 0
    world = world_distill_prompts(janus, count // 2, settings.seed)
    return [own[at % len(own)] for at in range(count - len(world) if own else 0)] + world


def verdicts_right(janus: Janus, sequences: Sequence[TrainingSequence]) -> list[bool]:
    """Of every sequence with a verdict, whether the network gives it more than half of its probability."""
    return [probability > 0.5 for probability in verdict_probabilities(janus, sequences)]


@torch.no_grad()
def verdict_probabilities(janus: Janus, sequences: Sequence[TrainingSequence]) -> list[float]:
    """Of every sequence with a verdict (and no image codes to score), the probability of that verdict, of yes and no
    alone."""
    judging = [
        sequence for sequence in sequences if TokenKind.CODE not in {targets.kind for targets in sequence.targets}
    ]
    probabilities: list[float] = []
    policy, answers = Policy(janus), torch.tensor([janus.ids.yes, janus.ids.no])
    for at in range(0, len(judging), AT_ONCE):
        batch = collate(janus, judging[at : at + AT_ONCE])
        verdicts = batch.of_kind(TokenKind.VERDICT)
        scores = policy(replace(batch, candidates=answers.expand(len(batch.tokens), 2)))
        chances = scores.candidate_log_probs[verdicts].softmax(-1)
        probabilities += chances[answers == batch.tokens[verdicts, None]].tolist()
    return probabilities


def _opened(janus: Janus, examples: Sequence[JudgeExample | ThoughtExample] | Path) -> tuple[Rows, dict[str, Any]]:
    """Rows to learn, and what provenance says of them. Raises DataError."""
    if isinstance(examples, Path):
        return open_rows(janus, examples, SFT_ROWS, RowBounds())
    rows = rows_from(janus, examples, SFT_ROWS)
    ids = sorted({getattr(example, "trajectory_id", "") for example in examples} - {""})
    return rows, {"examples": len(rows), "trajectories": ids}


def _replayed(janus: Janus, settings: TeachingSettings) -> tuple[SequenceSource, dict[str, Any]]:
    """Sequences of what the network knew: none where that is not the embedded world."""
    if janus.domain is not EMBEDDED_WORLD or not settings.replay:
        return lambda step, which: (), {}
    return open_rehearsal(janus, settings.seed, settings.replay, [])


def _objectives(
    janus: Janus, settings: TeachingSettings, learnt: list[TrainingSequence], replayed: list[TrainingSequence]
) -> list[ObjectiveBatches]:
    """The losses of a step's sequences, beside self-distillation."""
    by_loss = [(CrossEntropy(verdict_threshold=settings.verdict_threshold), learnt)]
    by_loss += [(CrossEntropy(settings.replay_share, "replayed_"), replayed)] if replayed else []
    return [cross_entropy_batches(janus, loss, sequences, 1) for loss, sequences in by_loss]
