"""Self-distillation: the KL divergence from a run's first checkpoint on that checkpoint's rollouts, as a second loss.

Before the first step the checkpoint draws and judges a fixed set of prompts with its own sampling, every second one
after a thought where it has thoughts. Its distributions over the tokens it sampled are computed once, the likeliest
tokens each by itself and all others together, so that no copy of the network stays in memory. Every step learns some of
these rollouts by the KL divergence from the checkpoint.

`setup` opens it for a method.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from accelerate.utils import gather_object

from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.evaluation.finished_rollouts import drawn_pictures
from model.training.batch import PADDING, Batch, collate, length, padding_batch
from model.training.loop import Loop, ObjectiveBatches
from model.training.policy import Policy
from model.training.training_sequences import TokenKind, TrainingSequence
from model.training.trajectory_sequences import trajectory_sequences

# Each kind's divergence is a mean over its own tokens: of a trajectory's tokens nine in ten are image codes.
KIND_WEIGHTS = {TokenKind.CODE: 4.0, TokenKind.TEXT: 1.0, TokenKind.VERDICT: 0.5}
AT_ONCE = 32  # rollouts of one batch
CHUNK = 8  # sequences of one forward pass
LIKELIEST = 64  # tokens of a distribution that are kept apart
LEAST = 1e-6  # probability of all others together


@dataclass(frozen=True)
class DistillationSettings:
    """Choices of every method with self-distillation."""

    distill: float = 4.0  # weight of the KL divergence from the checkpoint on its own rollouts; 0: none
    distill_rollouts: int = 96  # trajectories that the checkpoint makes before the first step
    distill_rounds: int = 2  # images of each at most: a draft and its revision; 1 leaves redraws free
    distill_batch: int = 16  # of their sequences per step; a trajectory has two, one of drawing and one of judging


@dataclass(frozen=True)
class Referenced:
    """A sequence with the checkpoint's distributions of its N scored tokens. `number` orders them."""

    number: int
    sequence: TrainingSequence
    index: Mapping[int, int]  # of a position among the N
    tokens: torch.Tensor  # (N, K) the likeliest
    log_probs: torch.Tensor  # (N, K) theirs


@dataclass(frozen=True, eq=False)
class ReferencedBatch:
    batch: Batch  # whose candidates are the checkpoint's likeliest tokens
    reference: torch.Tensor  # (A, K) their log-probabilities


@dataclass(frozen=True)
class ReferenceDivergence:
    """`weight` times the weighted sum of each kind's mean KL divergence from the reference, in nats."""

    weight: float

    def totals(self, referenced: ReferencedBatch) -> dict[str, int]:
        return {kind: int(referenced.batch.of_kind(kind).sum()) for kind in KIND_WEIGHTS}

    def __call__(
        self, policy: torch.nn.Module, referenced: ReferencedBatch, totals: Mapping[str, float]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        log_probs = policy(referenced.batch).candidate_log_probs
        device = log_probs.device
        divergences = divergence(referenced.reference.to(device), log_probs)
        loss = torch.zeros((), device=device)
        for kind, weight in KIND_WEIGHTS.items():
            chosen = referenced.batch.of_kind(kind).to(device)
            loss = loss + weight * divergences[chosen].sum() / max(1, totals[kind])
        real = (referenced.batch.target_kinds != PADDING).to(device)
        mean = (divergences.detach() * real).sum() / max(1, sum(totals.values()))
        return self.weight * loss, {"distill_kl": mean}


def divergence(reference: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """(A, K) log-probabilities of the same K tokens → (A,) KL divergence, in which all other tokens are one."""
    shares, possible = reference.exp(), reference > -torch.inf
    each = torch.where(possible, shares * (reference - log_probs.masked_fill(~possible, 0.0)), 0.0).sum(-1)
    rest, own_rest = (1 - values.exp().sum(-1) for values in (reference, log_probs))
    others = rest.clamp(min=LEAST) * (rest.clamp(min=LEAST).log() - own_rest.clamp(min=LEAST).log())
    return each + others


@dataclass(frozen=True)
class SelfDistillation:
    """Rollouts of the initial checkpoint; `objectives(step)` are learnt in a step beside the method's own."""

    janus: Janus
    sequences: Sequence[Referenced]
    settings: DistillationSettings
    seed: int
    rank_slice: slice  # this process's part of a step's sequences

    def objectives(self, step: int) -> list[ObjectiveBatches]:
        if not self.sequences:
            return []
        rng = random.Random(f"{self.seed} {step} self-distillation")
        chosen = rng.sample(self.sequences, min(self.settings.distill_batch, len(self.sequences)))[self.rank_slice]
        chosen = sorted(chosen, key=lambda each: length(each.sequence, self.janus.image_codes))
        batches = [referenced_batch(self.janus, chosen[at : at + CHUNK]) for at in range(0, len(chosen), CHUNK)]
        padding = padding_batch(self.janus)
        padding = replace(padding, candidates=padding.tokens[:, None])
        idle = ReferencedBatch(padding, torch.zeros(len(padding.tokens), 1))
        return [ObjectiveBatches(ReferenceDivergence(self.settings.distill), batches, idle)]


def referenced_batch(janus: Janus, chosen: Sequence[Referenced]) -> ReferencedBatch:
    batch = collate(janus, [each.sequence for each in chosen])
    pairs = list(zip(batch.rows.tolist(), batch.positions.tolist(), strict=True))
    tokens, log_probs = (
        torch.stack([getattr(chosen[row], column)[chosen[row].index[position]] for row, position in pairs])
        for column in ("tokens", "log_probs")
    )
    return ReferencedBatch(replace(batch, candidates=tokens), log_probs)


def open_self_distillation(
    policy: Policy, loop: Loop, prompts: Sequence[str], settings: DistillationSettings, seed: int
) -> SelfDistillation:
    """Self-distillation to the policy as it is, on rollouts of `prompts`; without prompts or weight, none."""
    janus = policy.janus
    if not settings.distill or not prompts:
        return SelfDistillation(janus, (), settings, seed, loop.rank_slice)
    janus.network.to(loop.accelerator.device)
    sequences = own_rollouts(janus, prompts, settings.distill_rounds, seed, loop.rank_slice)
    with loop.accelerator.autocast():  # as in training
        known = referenced(policy, sequences)
    if loop.processes > 1:
        known = gather_object(known)
    known = sorted(known, key=lambda each: each.number)  # the same for any number of processes
    return SelfDistillation(janus, known, settings, seed, loop.rank_slice)


def own_rollouts(
    janus: Janus, prompts: Sequence[str], rounds: int, seed: int, which: slice
) -> dict[int, TrainingSequence]:
    """The drawing and the judging sequences of one rollout per prompt, of `rounds` images at most, of `which` of them,
    by number."""
    plain, thinking = (replace(janus.sampling, thinks=thinks, published_contexts=False) for thinks in (False, True))
    requests = [
        Request(prompt, seed + at, rounds, thinking if janus.sampling.thinks and at % 2 else plain, None, id=str(at))
        for at, prompt in enumerate(prompts)
    ][which]
    sequences: dict[int, TrainingSequence] = {}
    for id, trajectory, images in drawn_pictures(JanusBackend(janus), requests, AT_ONCE):
        pairs = zip(trajectory.images, images, strict=True)
        pictures = {image.sha256: picture for image, picture in pairs if image.sha256 is not None}
        for stream, sequence in enumerate(trajectory_sequences(janus, trajectory, pictures)):
            if sequence.target_count:
                sequences[2 * int(id) + stream] = replace(sequence, name=f"“{trajectory.prompt}”")
    return sequences


@torch.no_grad()
def referenced(policy: Policy, sequences: Mapping[int, TrainingSequence]) -> list[Referenced]:
    """The sequences with the distributions of the policy as it is."""
    ordered = sorted(sequences.items(), key=lambda item: length(item[1], policy.janus.image_codes))
    known: list[Referenced] = []
    likeliest = min(LIKELIEST, policy.janus.codebook_size, policy.network.lm_head.out_features)
    for start in range(0, len(ordered), CHUNK):
        some = ordered[start : start + CHUNK]
        batch = collate(policy.janus, [sequence for _, sequence in some])
        scores = policy(replace(batch, candidates=likeliest))
        tokens, log_probs = scores.candidates.cpu(), scores.candidate_log_probs.cpu()
        for row, (number, sequence) in enumerate(some):
            own = (batch.rows == row).nonzero()[:, 0]
            index = {position: at for at, position in enumerate(batch.positions[own].tolist())}
            known.append(Referenced(number, sequence, index, tokens[own], log_probs[own]))
    return known
