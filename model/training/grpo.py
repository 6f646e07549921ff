"""GRPO over trajectories: grouped rollouts, image and verdict rewards, KL, clipped policy gradient.

    python -m model.training.grpo --checkpoint SFT --steps 300 --out DIR

Group relative policy optimisation over whole trajectories (GRPO; Janus-Pro-R1, §3.2): a group of rollouts of one
prompt, R_Gen + R_Comp, one advantage over the trajectory, KL to the checkpoint it started from. Thoughts are trained
with the rest (T2I-R1). R_QA comes from a reward chosen by name, which is never part of the policy.

What is drawn depends on the seed and the step alone; groups that begin at a drawing also on the number of processes.
"""

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from model.backends.checkpoint.loading import CheckpointError
from model.backends.contract import Backend, UnavailableError
from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.finished_rollouts import RolloutError
from model.evaluation.fixed_prompts import FixedPrompts
from model.serving.policy_replicas import open_replicas, send_weights
from model.training.batch import PADDING, Batch, micro_batches, padding_batch
from model.training.dataset import DataError
from model.training.loop import Loop, ObjectiveBatches, StepData
from model.training.policy import Policy, network_run
from model.training.rewards.janus_pro_r1 import RewardError, advantages
from model.training.rewards.registry import Reward, RewardChoice, read_choice, weighted_reward
from model.training.rollouts import (
    GroupStart,
    Prompt,
    Rollout,
    contact_sheet,
    roll_out,
    starts_of,
    statistics,
    wrong_drafts,
)
from model.training.runs.command import run_method
from model.training.runs.estimate import Workload, open_for_run
from model.training.runs.folder import FROM_THE_START, RunStart
from model.training.runs.load_for_training import add_load_options
from model.training.runs.settings import LoopSettings, loop_settings
from model.training.runs.state import fingerprint
from model.training.safeguards.critic_agreement import add_agreement, check_agreement
from model.training.safeguards.evaluations import EvaluationSettings
from model.training.safeguards.reward_watch import watching
from model.training.safeguards.setup import evaluation_of, fixed_prompts
from model.training.sft import CrossEntropy, cross_entropy_batches
from model.training.sources import SequenceSource, open_branches, open_prompts, open_rehearsal
from model.training.training_sequences import TokenKind, TrainingSequence, with_advantages
from model.trajectory import Image, Reflection, Trajectory

ADVANTAGES = ("together", "separate")
CHANNELS = ("both", "text", "images")
FURTHER = 10**6  # steps from which on prompts replace those of a step, for each further time


@dataclass(frozen=True)
class GrpoSettings(EvaluationSettings):
    """One run's choices; written into the checkpoint's provenance."""

    steps: int = 300  # gradient steps, of all that a resumed run makes
    prompts: int = 8  # per step
    group: int = 8  # rollouts of one start
    repair_groups: int = 0  # of these wrong first images, at most, another group begins, in every process
    rounds: int = 3  # images at most: the paper's T
    thinking: float = 0.15  # share of prompts that are drawn with a thought first; nearly all succeed with one,
    thinking_hard: float = 0.85  # and nearly no hard ones without: who always or never succeeds learns nothing
    reward: str = "both"  # parts of it (both, drawing, judging), and rewards: “drawing verifier:1 critic:MODEL:0.5”
    watch: str = ""  # a reward that is not trained, which watches for reward hacking
    resample: int = 1  # times at most that groups whose rewards are all equal are replaced by others of further prompts
    untrue_penalty: float = 0.0  # of R_Comp's 1 per image, what a reason that is not true takes; the paper has none
    rehearsal: int = 0  # sequences of supervised fine-tuning per step: what rollouts never meet is kept
    rehearsal_share: float = 0.1  # their loss is multiplied by
    channels: str = "both"  # what is trained: text (thoughts, reflections), images (their codes), or both
    advantages: str = "together"  # one of R_Gen + R_Comp; or, as the released code, each part of a trajectory its own
    learning_rate: float = 3e-5  # peak
    warmup: int = 10  # first steps, over which the rates rise
    weight_decay: float = 0.0  # AdamW's
    beta: float = 0.04  # weight of the KL divergence to the reference
    clip_range: float = 0.2  # ε: the probability ratio is clipped to 1 ± ε, where a batch is used more than once
    updates: int = 1  # optimizer steps per batch of rollouts
    max_grad_norm: float = 1.0  # to which gradients are clipped
    micro_batch: int = 16  # sequences per forward pass
    precision: str = "no"  # or bf16; the rollouts stay exact
    save_every: int = 25  # steps; 0 only at the end
    seed: int = 0  # of the order of rows, of rollouts and of new weights
    track: str = "none"  # or trackio, tensorboard, wandb
    sharding: str = "none"  # or fsdp2: weights and optimizer in shards over the processes

    @property
    def loop(self) -> LoopSettings:
        return loop_settings(self)

    @property
    def workload(self) -> Workload:
        """What a step does, by which memory is estimated."""
        drawn = self.prompts * self.group
        return Workload(self.micro_batch, 2 * drawn, self.rounds, reference=True, rollouts=drawn)


def advantages_of(group: Sequence[Rollout], settings: GrpoSettings) -> list[list[float]] | None:
    """An advantage for every segment of every rollout of a group; None where there is nothing to learn. Of several
    rewards each is normalised within the group, then they are summed by weight (GDPO: Liu et al., 2026)."""
    choice = read_choice(settings.reward)
    if len(choice.weights) == 1:
        return _advantages(group, settings, choice)
    summed: list[list[float]] | None = None
    for name, share in choice.shares.items():
        part = _advantages([replace(rollout, fits=[*rollout.parts[name]]) for rollout in group], settings, choice)
        if part is not None:
            before = summed or [[0.0] * len(each) for each in part]
            summed = [[b + share * a for b, a in zip(*pair, strict=True)] for pair in zip(before, part, strict=True)]
    return summed


def _advantages(group: Sequence[Rollout], settings: GrpoSettings, choice: RewardChoice) -> list[list[float]] | None:
    """One advantage per segment from the total reward of each rollout, normalised within the group."""
    generation = [rollout.generation(settings.rounds) for rollout in group]
    comprehension = [rollout.comprehension(settings.rounds, settings.untrue_penalty) for rollout in group]
    if settings.advantages == "separate":
        return _separate_advantages(group, comprehension, choice)
    rewards = [choice.drawing * g + choice.judging * c for g, c in zip(generation, comprehension, strict=True)]
    whole = advantages(rewards)
    if whole is None:
        return None
    return [[a] * len(rollout.trajectory.segments) for a, rollout in zip(whole, group, strict=True)]


def _separate_advantages(
    group: Sequence[Rollout], comprehension: Sequence[float], choice: RewardChoice
) -> list[list[float]] | None:
    """Advantages normalised separately for first images, later images and reflections."""
    parts = (
        advantages([rollout.fits[0] for rollout in group]) if choice.drawing else None,
        advantages([rollout.fits[-1] for rollout in group]) if choice.drawing else None,
        advantages(comprehension) if choice.judging else None,
    )
    if parts == (None, None, None):
        return None
    first, last, judged = (part or [0.0] * len(group) for part in parts)
    return [
        [judged[i] if at is None else first[i] if at == 0 else last[i] for at in _image_numbers(rollout.trajectory)]
        for i, rollout in enumerate(group)
    ]


def _image_numbers(trajectory: Trajectory) -> list[int | None]:
    """For every segment the number of the image it draws or plans, None for a reflection."""
    numbers: list[int | None] = []
    drawn = 0
    for segment in trajectory.segments:
        numbers.append(None if isinstance(segment, Reflection) else drawn)
        drawn += isinstance(segment, Image)
    return numbers


def sequences_with_advantages(
    groups: Sequence[Sequence[Rollout]], settings: GrpoSettings
) -> tuple[list[TrainingSequence], int]:
    """The sequences of all groups whose rewards differ, with advantages, and how many groups were skipped. Weights make
    the mean over a trajectory's tokens, then over trajectories."""
    graded: list[TrainingSequence] = []
    skipped = 0
    for group in groups:
        segments = advantages_of(group, settings)
        if segments is None:
            skipped += 1
            continue
        for rollout, advantage in zip(group, segments, strict=True):
            scored = [sequence for each in rollout.sequences if (sequence := _of_channel(each, settings)).target_count]
            tokens = sum(sequence.target_count for sequence in scored)
            graded += [replace(with_advantages(sequence, advantage), weight=1 / tokens) for sequence in scored]
    return graded, skipped


def _of_channel(sequence: TrainingSequence, settings: GrpoSettings) -> TrainingSequence:
    """With only the targets of the trained channel: text, image codes, or both."""
    if settings.channels == "both":
        return sequence
    images = settings.channels == "images"
    return replace(
        sequence, targets=tuple(each for each in sequence.targets if (each.kind is TokenKind.CODE) == images)
    )


def policy_loss(
    new: torch.Tensor,
    old: torch.Tensor,
    reference: torch.Tensor,
    advantage: torch.Tensor,
    beta: float,
    clip_range: float,
    untruncated: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per token, A of them: the clipped policy loss plus β·KL, and the KL (k3: π_ref/π − log(π_ref/π) − 1). All (A,).

    The KL uses log-probabilities without top-k truncation, `untruncated` (default: `new`) and `reference`, since a
    token outside the reference's top-k would have infinite KL. Tokens with `old` = −inf (dropped by top-k through
    rounding) contribute only their KL.
    """
    possible = old > -torch.inf
    ratio = torch.where(possible, new - old, 0.0).exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip_range, 1 + clip_range) * advantage)
    surrogate = torch.where(possible, surrogate, 0.0)
    log_ratio = reference - (new if untruncated is None else untruncated)
    kl = log_ratio.exp() - log_ratio - 1
    return beta * kl - surrogate, kl


def clip_mask(new: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, clip_range: float) -> torch.Tensor:
    """(A,): 1 where the ratio is clipped, so that the token has no gradient, else 0."""
    ratio = torch.where(old > -torch.inf, new - old, 0.0).detach().exp()
    return ((ratio < 1 - clip_range) & (advantage < 0) | (ratio > 1 + clip_range) & (advantage > 0)).float()


@dataclass(frozen=True)
class ClippedPolicyGradient:
    """GRPO's objective on the batches of one step; `initial_log_probs`: by batch, those of policy and reference before
    the first of the step's updates, (A,) each."""

    reference: Policy
    beta: float
    clip_range: float
    initial_log_probs: dict[Batch, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def totals(self, batch: Batch) -> dict[str, float]:
        known = int(batch.rollout_log_probs.isfinite().sum())
        tokens = int((batch.target_kinds != PADDING).sum())
        return {"weight": float(batch.weights.sum()), "tokens": tokens, "known": known}

    def __call__(
        self, policy: torch.nn.Module, batch: Batch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        scores = policy(batch)
        if batch not in self.initial_log_probs:
            with torch.no_grad():
                self.initial_log_probs[batch] = scores.log_probs.detach(), self.reference(batch).untruncated
        device = scores.log_probs.device
        advantage, weight, real = (
            column.to(device) for column in (batch.advantages, batch.weights, batch.target_kinds != PADDING)
        )
        loss, kl = policy_loss(
            scores.log_probs, *self.initial_log_probs[batch], advantage, self.beta, self.clip_range, scores.untruncated
        )
        old = self.initial_log_probs[batch][0]
        outside = clip_mask(scores.log_probs, old, advantage, self.clip_range)
        means = {"loss": loss, "kl": kl, "entropy": scores.entropies, "clip_fraction": outside}
        metrics = {name: (values * real).sum() / max(totals["tokens"], 1) for name, values in means.items()}
        rollout = batch.rollout_log_probs.to(device)
        apart = torch.where(rollout.isfinite(), old - rollout, 0.0).abs()
        metrics["rollout_difference"] = apart.sum() / max(totals["known"], 1)
        return (loss * weight).sum() / max(totals["weight"], 1e-9), metrics


@dataclass
class RolloutSource:
    """Source of a run's steps: rollouts of the step's prompts, scored, as data for the loop."""

    janus: Janus
    reference: Policy
    settings: GrpoSettings
    rank_slice: slice  # this process's part of a step's prompts
    prompts: Callable[[int], Sequence[Prompt]]
    rehearsal: SequenceSource
    reward: Reward
    watch: Callable[[int, Sequence[Sequence[Rollout]]], dict[str, float]] = lambda step, groups: {}
    whole: Callable[[], AbstractContextManager[None]] = nullcontext  # within which the policy has all its weights
    branches: Sequence[GroupStart] = ()  # of people, of which one more group begins in every step
    replicas: Backend | None = None  # that draw in the place of the network, with its weights
    send: Callable[[], None] = lambda: None  # gives them these, before every step
    groups: list[list[Rollout]] = field(default_factory=list)  # of the last step

    def __call__(self, step: int) -> StepData:
        settings, janus = self.settings, self.janus
        prompts = self.prompts(step)[self.rank_slice]
        rng = random.Random(f"{settings.seed} {step} {self.rank_slice.start} rollouts")
        with self.whole():
            self.send()
            drawn = self._rolled_out(step, dict(enumerate(prompts)))
            watched = self.watch(step, drawn)
            groups, resampled = self._resampled(step, drawn)
            wrong = wrong_drafts(groups, settings.repair_groups, rng)
            wrong += rng.sample(self.branches, 1) if self.branches else []
            begun = roll_out(janus, self.reward, wrong, settings.group, settings.rounds, rng, self.replicas)
        self.groups = groups + begun
        graded, skipped = sequences_with_advantages(self.groups, settings)
        objective = ClippedPolicyGradient(self.reference, settings.beta, settings.clip_range)
        objectives = [
            ObjectiveBatches(objective, micro_batches(janus, graded, settings.micro_batch), padding_batch(janus))
        ]
        names = [f"“{prompt.text}”" for prompt in prompts]
        if settings.rehearsal:
            rehearsed = list(self.rehearsal(step, self.rank_slice))
            cross_entropy = CrossEntropy(settings.rehearsal_share, "rehearsed_")
            objectives.append(cross_entropy_batches(janus, cross_entropy, rehearsed, 2))
            names += [sequence.name for sequence in rehearsed]
        counts = {"skipped": skipped, "resampled": resampled}
        return StepData(objectives, names, statistics(drawn + begun, settings.rounds) | watched | counts)

    def _rolled_out(self, step: int, prompts: Mapping[int, Prompt]) -> list[list[Rollout]]:
        """A group of rollouts of each prompt; keys are indices among this process's prompts."""
        settings = self.settings
        starts: list[GroupStart] = []
        for at, prompt in prompts.items():
            rng = random.Random(
                f"{settings.seed} {step} {self.rank_slice.start + at * (self.rank_slice.step or 1)} rollouts"
            )
            [start] = starts_of(self.janus, [prompt], settings.thinking, settings.thinking_hard, rng)
            starts.append(replace(start, seed=rng.getrandbits(62)))
        rng = random.Random()
        return roll_out(self.janus, self.reward, starts, settings.group, settings.rounds, rng, self.replicas)

    def _resampled(self, step: int, groups: list[list[Rollout]]) -> tuple[list[list[Rollout]], int]:
        """The groups, where those whose rewards are all equal are replaced (DAPO: Yu et al., 2025), and how many were
        drawn for that."""
        settings, groups, resampled = self.settings, [*groups], 0
        for attempt in range(1, settings.resample + 1):
            equal = [at for at, group in enumerate(groups) if advantages_of(group, settings) is None]
            if not equal:
                break
            further = step + attempt * FURTHER
            others = self.prompts(further)[self.rank_slice]
            for at, group in zip(equal, self._rolled_out(further, {at: others[at] for at in equal}), strict=True):
                groups[at] = group
            resampled += len(equal)
        return groups, resampled


def train(
    janus: Janus,
    settings: GrpoSettings,
    out: Path,
    provenance: dict[str, Any],
    prompts: Callable[[int], Sequence[Prompt]],
    rehearsal: SequenceSource = lambda step, which: (),
    reference: Janus | None = None,
    start: RunStart = FROM_THE_START,
    fixed: Sequence[FixedPrompts] = (),
    branches: Sequence[GroupStart] = (),
    replicas: Backend | None = None,
) -> None:
    """Train on rollouts of the prompts of each step, near the `reference` (default: the checkpoint as it is), evaluated
    on the `fixed` prompts; `replicas` roll out where they are given. Raises RewardError and what `Loop.train` raises;
    what was saved last then stands untouched."""
    reward = weighted_reward(read_choice(settings.reward).weights)
    policy, loop = Policy(janus, entropies=True), Loop(settings.loop)
    if settings.prompts < loop.processes:
        raise DataError(f"{settings.prompts} prompts a step for {loop.processes} processes; give each one")
    frozen = Policy(reference).requires_grad_(requires_grad=False) if reference else policy.reference()
    about = {"reference_weights": fingerprint(frozen.network), "processes": loop.processes}
    frozen.to(loop.accelerator.device)
    options: dict[str, Any] = {"whole": loop.whole, "branches": branches}
    if replicas is not None:
        options |= {"replicas": replicas, "send": partial(send_weights, janus, replicas, loop.accelerator)}
    source = RolloutSource(janus, frozen, settings, loop.rank_slice, prompts, rehearsal, reward, **options)
    hooks: dict[str, Any] = {}
    if settings.watch:
        watch, source.watch = watching(weighted_reward(read_choice(settings.watch).weights), loop, out)
        hooks["stateful"] = {"watch": watch}

    def saved(step: int) -> None:
        if source.groups:  # none where a finished run is resumed
            contact_sheet(source.groups).save(out.parent / f"{out.name}-{step:05d}.png")

    evaluation = evaluation_of(policy, loop, out, settings, fixed)
    hooks |= {"saved": saved, "printed_every": 1, "evaluation": evaluation}
    loop.train(network_run(janus, policy, out, provenance | about, start, **hooks), source)


def run(arguments: argparse.Namespace, settings: GrpoSettings, start: RunStart) -> None:
    """Raises CheckpointError, DataError, RewardError and what `train` raises."""
    for chosen in filter(None, (settings.reward, settings.watch)):
        read_choice(chosen)
    agreement = check_agreement(arguments, read_choice(settings.reward))
    janus = open_for_run(arguments, settings, published_contexts=False if arguments.own_contexts else None)
    if janus.sampling.published_contexts:
        why = "draws in the contexts of Janus-Pro-R1's published code, in which no token can be scored"
        raise CheckpointError(f"{janus.name} {why}; give --no-published-contexts to train it in the studio's own")
    reference = None
    if arguments.reference:
        reference = open_checkpoint(arguments.reference, dtype=torch.float32, device="cpu")
    prompts, about_prompts = open_prompts(arguments.prompts_file, settings.seed, settings.prompts)
    rehearsal, about = open_rehearsal(janus, settings.seed, settings.rehearsal, arguments.drafts)
    provenance = {"parent": str(arguments.checkpoint), "recipe": "grpo", "settings": asdict(settings)}
    provenance |= about | about_prompts | agreement
    fixed = fixed_prompts(janus, settings)
    branches: list[GroupStart] = []
    if arguments.branches:
        branches, about_branches = open_branches(janus, arguments.branches, settings.rounds)
        provenance |= about_branches
    replicas = open_replicas(janus, arguments.rollouts) if arguments.rollouts else None
    try:
        train(
            janus, settings, arguments.out, provenance, prompts, rehearsal, reference, start, fixed, branches, replicas
        )
    except UnavailableError as error:
        advice = "start the service again, then go on from what was saved last with --resume"
        raise UnavailableError(f"{error}; {advice}") from error


def options(parser: argparse.ArgumentParser) -> None:
    add_load_options(parser)
    add_agreement(parser)
    parser.add_argument("--reference", help="what to stay near (default: the checkpoint)")
    branches = "trajectories that people changed: every step one more group begins at such a change"
    parser.add_argument("--branches", type=Path, metavar="FOLDER", help=branches)
    parser.add_argument("--prompts-file", type=Path, help="one prompt per line (default: sampled from the world)")
    drafts = "with --rehearsal: files of a model's own drafts (model.training.embedded.own_drafts)"
    parser.add_argument("--drafts", type=Path, nargs="+", default=[], metavar="FILE", help=drafts)
    replicas = "address of model.serving, whose replicas roll out with the weights of each step (http://HOST:PORT)"
    parser.add_argument("--rollouts", metavar="URL", help=replicas)
    contexts = "roll out in the studio's own contexts what draws in those of Janus-Pro-R1's published code"
    names = "--no-published-contexts", "--own-contexts"
    parser.add_argument(*names, dest="own_contexts", action="store_true", help=contexts)


def main() -> None:
    choices = {"advantages": ADVANTAGES, "channels": CHANNELS, "precision": ("no", "bf16")}
    run_method(
        "grpo",
        __doc__.split("\n")[0],
        GrpoSettings(),
        run,
        options,
        choices,
        [DataError, RewardError, RolloutError, UnavailableError],
    )


if __name__ == "__main__":
    main()
