"""Drift of a checkpoint from its parent, on the parent's own rollouts, and the change of the parent's figures.

    python -m model.training.embedded.drift rl better --prompts 120 --hard 120

The parent draws and judges held-out prompts once; both checkpoints score the same tokens. That is the KL divergence in
nats per image code and per word, and, by self-normalised importance weights π(tokens) / π_parent(tokens), the share of
right drawings and true reasons that the other checkpoint would have (Owen, Monte Carlo, 2013, chapter 9). The same
drawings on both sides make the paired interval several times narrower than new drawings by `model.evaluate` do, in a
tenth of the time. A figure that fewer than half of the drawings carry (by Kish's effective number) is left out, such as
that of final images once verdicts have changed.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from model.backends.contract import CheckpointError
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.bootstrap import Figure, Mean, Proportion, difference
from model.evaluation.figures import Judged, reason_is_true
from model.evaluation.finished_rollouts import drawn_pictures
from model.training.batch import KINDS, collate, length
from model.training.policy import Policy
from model.training.runs.command import bounded, run_command
from model.training.safeguards.self_distillation import CHUNK, LIKELIEST, divergence
from model.training.training_sequences import TokenKind, TrainingSequence
from model.training.trajectory_sequences import trajectory_sequences
from model.world.language import Description, write
from model.world.splits import GENEVAL, HARD, held_out_prompts
from model.world.verifier import read

FAMILIES = {"GenEval-like": GENEVAL, "hard": HARD}
AT_ONCE = 32  # rollouts of one batch
ROUNDS = 2  # images of each at most
LEAST_EFFECTIVE = 0.5  # share of the drawings, below which a weighted figure is left out
DIVERGENCES = {
    TokenKind.CODE: "KL, nats per image code",
    TokenKind.TEXT: "KL, nats per word",
    TokenKind.VERDICT: "KL, nats per verdict",
}


@dataclass(frozen=True)
class ParentRollout:
    """A trajectory of the parent, judged by the verifier, and its drawing and judging sequences."""

    judged: Judged
    sequences: tuple[TrainingSequence, TrainingSequence]


@dataclass
class Scored:
    """Sums over the scored tokens of one rollout."""

    log_ratio: float = 0.0  # of all its tokens, log π − log π_parent
    first_log_ratio: float = 0.0  # of those up to the first image
    reason_log_ratio: float = 0.0  # of the first reason
    verdict: tuple[bool, bool] = (False, False)  # whether the parent's first verdict stays the likelier one; was
    divergences: dict[TokenKind, tuple[float, int]] = field(default_factory=dict)  # sum, tokens

    def add(
        self, kind: TokenKind, segment: int, first: int, divergence: float, ratio: float, likely: tuple[bool, bool]
    ) -> None:
        """One token of `segment`; `first` is the first image's, whose reflection is the next."""
        total, count = self.divergences.get(kind, (0.0, 0))
        self.divergences[kind] = (total + divergence, count + 1)
        self.log_ratio += ratio
        if segment <= first:
            self.first_log_ratio += ratio
        elif segment == first + 1 and kind is TokenKind.TEXT:
            self.reason_log_ratio += ratio
        elif segment == first + 1 and kind is TokenKind.VERDICT:
            self.verdict = likely


def parent_rollouts(janus: Janus, prompts: Sequence[Description], seed: int, *, thinks: bool) -> list[ParentRollout]:
    """One rollout per prompt, the i-th from seed + i."""
    sampling = replace(janus.sampling, thinks=thinks, published_contexts=False)
    requests = [Request(write(each), seed + i, ROUNDS, sampling, None, id=str(i)) for i, each in enumerate(prompts)]
    rollouts: dict[int, ParentRollout] = {}
    for id, trajectory, images in drawn_pictures(JanusBackend(janus), requests, AT_ONCE):
        pairs = zip(trajectory.images, images, strict=True)
        pictures = {image.sha256: picture for image, picture in pairs if image.sha256 is not None}
        judged = Judged(prompts[int(id)], trajectory, tuple(map(read, images)))
        rollouts[int(id)] = ParentRollout(judged, trajectory_sequences(janus, trajectory, pictures))
    return [rollouts[i] for i in range(len(prompts))]


@torch.no_grad()
def scored(parent: Policy, policy: Policy, rollouts: Sequence[ParentRollout]) -> list[Scored]:
    """Both policies on the same tokens, rollout by rollout."""
    results = [Scored() for _ in rollouts]
    codes = policy.janus.image_codes
    pairs = [(at, each) for at, rollout in enumerate(rollouts) for each in rollout.sequences if each.target_count]
    pairs.sort(key=lambda pair: length(pair[1], codes))
    likeliest = min(LIKELIEST, policy.janus.codebook_size, policy.network.lm_head.out_features)
    for start in range(0, len(pairs), CHUNK):
        chosen = pairs[start : start + CHUNK]
        batch = collate(policy.janus, [sequence for _, sequence in chosen])
        before = parent(replace(batch, candidates=likeliest))
        after = policy(replace(batch, candidates=before.candidates))
        divergences = divergence(before.candidate_log_probs, after.candidate_log_probs).tolist()
        ratios = (after.log_probs - before.log_probs).tolist()
        likely = zip((after.log_probs.exp() > 0.5).tolist(), (before.log_probs.exp() > 0.5).tolist(), strict=True)
        segments = [{p: t.segment for t in sequence.targets for p in t.positions} for _, sequence in chosen]
        places = zip(batch.rows.tolist(), batch.positions.tolist(), batch.target_kinds.tolist(), strict=True)
        for (row, position, kind), apart, ratio, more in zip(places, divergences, ratios, likely, strict=True):
            at = chosen[row][0]
            first = 1 if rollouts[at].judged.trajectory.sampling.thinks else 0
            results[at].add(KINDS[kind], segments[row][position], first, apart, ratio, more)
    return results


def compared(rollouts: Sequence[ParentRollout], scores: Sequence[Scored]) -> dict[str, tuple[Figure, Figure]]:
    """By row, the figure of the parent and that of the other checkpoint, over the same prompts."""
    rows: dict[str, tuple[Figure, Figure]] = {}
    weights = torch.tensor([[s.first_log_ratio, s.log_ratio, s.reason_log_ratio] for s in scores]).exp().tolist()
    rights = {"first draft": [r.judged.first for r in rollouts], "final image": [r.judged.final for r in rollouts]}
    for column, (name, right) in enumerate(rights.items()):
        if effective([w[column] for w in weights]) < LEAST_EFFECTIVE * len(rollouts):
            continue
        pairs = [(w[column] * value, w[column]) for w, value in zip(weights, right, strict=True)]
        rows[name] = (Proportion.from_pairs([(value, 1) for value in right]), Proportion.from_pairs(pairs))
    flagged, passed = (_verdicts(rollouts, scores, right=right) for right in (False, True))
    before, after = (Mean((flagged[at], passed[at])) for at in (0, 1))
    rows |= {"verdict, balanced": (before, after), "  wrong images flagged": flagged, "  right images passed": passed}
    true = [_first_reason(rollout.judged) for rollout in rollouts]
    named = [(value or False, value is not None) for value in true]
    weighted = [(w[2] * value, w[2] * says) for w, (value, says) in zip(weights, named, strict=True)]
    rows["reasons for no, true"] = (Proportion.from_pairs(named), Proportion.from_pairs(weighted))
    return rows


def _verdicts(rollouts: Sequence[ParentRollout], scores: Sequence[Scored], *, right: bool) -> tuple[Figure, Figure]:
    """Of first images that are right, or wrong, how many are judged so, by the likelier verdict."""
    pairs: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for rollout, score in zip(rollouts, scores, strict=True):
        verdict = rollout.judged.says[0] if rollout.judged.says else None
        counts = verdict is not None and rollout.judged.first is right
        after, before = score.verdict
        for column, stays in zip(pairs, (before, after), strict=True):
            column.append((counts and (verdict == right) == stays, counts))
    return Proportion.from_pairs(pairs[0]), Proportion.from_pairs(pairs[1])


def _first_reason(judged: Judged) -> bool | None:
    """Whether the reason for the first “no” is true; None after a “yes”."""
    if judged.says[:1] != [False]:
        return None
    return reason_is_true(judged.description, judged.readings[0], judged.trajectory.reflections[0])


def mean_divergences(scores: Sequence[Scored]) -> dict[str, float]:
    """In nats, by kind of token."""
    sums = {kind: [s.divergences.get(kind, (0.0, 0)) for s in scores] for kind in DIVERGENCES}
    counted = {kind: (sum(total for total, _ in each), sum(count for _, count in each)) for kind, each in sums.items()}
    return {DIVERGENCES[kind]: total / count for kind, (total, count) in counted.items() if count}


def effective(weights: Sequence[float]) -> float:
    """Kish's effective number of drawings."""
    return sum(weights) ** 2 / sum(weight**2 for weight in weights)


def first_weights(scores: Sequence[Scored]) -> list[float]:
    """Of first drafts."""
    return [math.exp(score.first_log_ratio) for score in scores]


def families(janus: Janus, counts: Mapping[str, int], seed: int) -> Iterator[tuple[str, list[ParentRollout]]]:
    """The parent's rollouts of every family of prompts, without and with a thought."""
    for name, count in counts.items():
        prompts = held_out_prompts(count, FAMILIES[name], seed)
        ways = {"without the thought": False} | ({"thinking first": True} if janus.sampling.thinks else {})
        for way, thinks in ways.items() if prompts else ():
            yield f"{name}, {way}", parent_rollouts(janus, prompts, seed, thinks=thinks)


def run(arguments: argparse.Namespace) -> None:
    """Raises CheckpointError."""
    opened = {name: open_checkpoint(name, dtype=torch.float32, device="cpu") for name in arguments.checkpoints}
    parent, *others = map(Policy, opened.values())
    if not others:
        raise CheckpointError("one checkpoint has nothing to differ from; name its parent first")
    counts = {"GenEval-like": arguments.prompts, "hard": arguments.hard}
    results: dict[str, dict[str, dict[str, object]]] = {}
    for family, rollouts in families(parent.janus, counts, arguments.seed):
        for name, policy in zip(list(opened)[1:], others, strict=True):
            scores = scored(parent, policy, rollouts)
            rows = {
                row: (old.value, new.value, difference(new, old))
                for row, (old, new) in compared(rollouts, scores).items()
            }
            about = {
                "prompts": len(rollouts),
                "effective": effective(first_weights(scores)),
                **mean_divergences(scores),
            }
            results.setdefault(name, {})[family] = {**about, "rows": rows}
            if not arguments.json:
                print(table(name, family, about, rows), flush=True)
    if arguments.json:
        json.dump(results, sys.stdout, indent=1)


def table(name: str, family: str, about: Mapping[str, float], rows: Mapping[str, tuple]) -> str:
    """A family's block: how far, then each row before, after, and the difference with its interval."""
    far = ", ".join(f"{title} {about[title]:.4f}" for title in DIVERGENCES.values() if title in about)
    lines = [f"{Path(name).name}, {family} ({about['prompts']}, effectively {about['effective']:.0f}): {far}"]
    for row, (before, after, change) in rows.items():
        if change is not None:
            points = "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in change))
            lines.append(f"  {row:26}{before:8.1%}{after:8.1%}   {points}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training.embedded.drift", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoints", nargs="+", help="the parent, then what was trained from it")
    parser.add_argument("--prompts", type=bounded(int, 0, 10**6), default=120, help="GenEval-like prompts")
    parser.add_argument("--hard", type=bounded(int, 0, 10**6), default=120, help="hard prompts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    run_command("drift", lambda: run(arguments))


if __name__ == "__main__":
    main()
