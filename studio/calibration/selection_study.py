"""Compares the order by acquisition score with a random order: accuracy on held-out verdicts by annotations.

    python -m studio.calibration.selection_study --annotations 300 --seeds 3

On the embedded world: a checkpoint draws and judges once, simulated annotators say by the verifier whether a drawing is
right, with an error rate, and a judge learns from what they answer. To be quick the judge is a logistic head on the
checkpoint's hidden states at the verdict, with the checkpoint's own logit as its beginning, fitted anew every 25
annotations; the committee are heads fitted on resamples. Drawings, errors and held-out drawings are the same for both
orders.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from annotations.metrics.acquisition_score import acquisition_score
from annotations.store.trajectory_columns import category
from model.backends.contract import CheckpointError
from model.backends.registry import DEFAULT, open_backend
from model.backends.request import Request
from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.bootstrap import Mean, Proportion, difference
from model.evaluation.finished_rollouts import drawn_pictures
from model.training.rewards.registry import open_reward
from model.training.rewards.reward_network import RewardNetwork, RewardRow, judged_sequence, reward_batch
from model.training.world_data.world_prompts import world_prompts

ORDERS = ("expected use", "random")
BETWEEN = 25  # annotations between two fits
PER_STEP = 100  # annotations between two measurements
COMMITTEE = 3
PRIOR = 1.0  # precision of the weights, of features whose squares sum up to about 1
AT_ONCE = 32
STEPS = 12  # of Newton's method


class Drawings(NamedTuple):
    """N drawings that were judged once."""

    states: np.ndarray  # (N, D) where the verdict would begin
    logits: np.ndarray  # (N,) of the checkpoint's own “yes”
    right: np.ndarray  # (N,) bool: whether the verifier finds all that the prompt says
    categories: np.ndarray  # (N,) text

    def some(self, places: np.ndarray) -> "Drawings":
        return Drawings(*(column[places] for column in self))


@dataclass(frozen=True)
class Gain:
    """Balanced accuracy on held-out drawings after so many annotations."""

    annotations: int
    ordered: float
    random: float
    gain: float  # of the order over random, with its paired interval over held-out drawings
    low: float
    high: float


def draw(checkpoint: str, count: int, seed: int) -> Drawings:
    """Drawings of prompts of the training split, a third of them hard: without a plan, so that many are wrong."""
    backend = open_backend(checkpoint)
    sampling = replace(backend.sampling, thinks=False, thinks_after_no=False)
    prompts = [prompt.text for prompt in world_prompts(seed, count)(0)]
    requests = [Request(prompt, seed + number, 1, sampling, None) for number, prompt in enumerate(prompts)]
    verifier, network = open_reward("verifier"), RewardNetwork(open_checkpoint(checkpoint, dtype=torch.float32))
    rows, batch = [], []
    for _, trajectory, pictures in drawn_pictures(backend, requests, AT_ONCE):
        fit = verifier(trajectory, pictures).fits[0]
        rows.append((fit == 1, category(trajectory.prompt) or ""))
        batch.append(RewardRow((judged_sequence(network.janus, trajectory.prompt, pictures[0]),)))
    states = [network.states(reward_batch(network.janus, batch[at : at + AT_ONCE])) for at in range(0, count, AT_ONCE)]
    together = torch.cat([part.detach() for part in states])
    right, categories = zip(*rows, strict=True)
    logits = network.head(together).detach()[:, 0]
    return Drawings(together.numpy(), logits.numpy(), np.array(right), np.array(categories))


def fitted(features: np.ndarray, offset: np.ndarray, yes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(D,) of a logistic regression with an offset and a Gaussian prior, by Newton's method with halved steps."""

    def loss(head: np.ndarray) -> float:
        logits = offset + features @ head
        return float(weights @ (np.logaddexp(0, logits) - yes * logits) + PRIOR * head @ head / 2)

    head = np.zeros(features.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(offset + features @ head, -30, 30)))
        gradient = features.T @ (weights * (p - yes)) + PRIOR * head
        curvature = (features * (weights * p * (1 - p))[:, None]).T @ features + PRIOR * np.eye(len(head))
        step, size, before = np.linalg.solve(curvature, gradient), 1.0, loss(head)
        while loss(head - size * step) > before and size > 1e-6:
            size /= 2
        head = head - size * step
    return head


def features_of(drawings: Drawings, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """(N, D + 1), the last for the bias."""
    scaled = (drawings.states - mean) / (deviation + 1e-6) / np.sqrt(drawings.states.shape[1])
    return np.concatenate([scaled, np.ones((len(scaled), 1))], 1)


def learnt(
    pool: Drawings, held_out: Drawings, order: str, annotations: int, seed: int, error: float
) -> list[np.ndarray]:
    """(N,) whether the verdict on each held-out drawing is right, before, and after each PER_STEP annotations."""
    rng = np.random.default_rng([seed, ORDERS.index(order)])
    scale = pool.states.mean(0), pool.states.std(0)
    features, others = features_of(pool, *scale), features_of(held_out, *scale)
    wrong = np.random.default_rng(seed).uniform(size=len(pool.right)) < error  # the same for both orders
    answers = pool.right ^ wrong
    chosen = np.array([], dtype=int)
    heads = np.zeros((1 + COMMITTEE, features.shape[1]))
    measured = [(held_out.logits > 0) == held_out.right]
    while len(chosen) < annotations:
        ranked = _ranked(pool, features, heads, chosen, rng, order)
        chosen = np.concatenate([chosen, ranked[:BETWEEN]])
        resampled = [np.ones(len(chosen)), *rng.poisson(1, (COMMITTEE, len(chosen)))]
        heads = np.stack([fitted(features[chosen], pool.logits[chosen], answers[chosen], each) for each in resampled])
        if len(chosen) % PER_STEP == 0:
            measured.append((held_out.logits + others @ heads[0] > 0) == held_out.right)
    return measured


def _ranked(
    pool: Drawings, features: np.ndarray, heads: np.ndarray, chosen: np.ndarray, rng: np.random.Generator, order: str
) -> np.ndarray:
    """What is not annotated yet, in the order in which it would be."""
    left = np.setdiff1d(np.arange(len(pool.right)), chosen)
    if order == "random":
        return rng.permutation(left)
    logits = np.clip(pool.logits[left, None] + features[left] @ heads.T, -30, 30)
    names, counts = np.unique(pool.categories[chosen], return_counts=True)
    answered = dict(zip(names, counts, strict=True))
    p_yes = 1 / (1 + np.exp(-logits))
    uses = [
        acquisition_score([row], int(answered.get(kind, 0)))
        for row, kind in zip(p_yes.tolist(), pool.categories[left], strict=True)
    ]
    return left[np.argsort(-np.array(uses), kind="stable")]


def study(pool: Drawings, held_out: Drawings, annotations: int, seeds: int, error: float) -> list[Gain]:
    """Both orders, over the seeds together."""
    runs = {
        order: [learnt(pool, held_out, order, annotations, seed, error) for seed in range(seeds)] for order in ORDERS
    }
    gains = []
    for step in range(1 + annotations // PER_STEP):
        figures = [balanced(np.mean([run[step] for run in runs[order]], 0), held_out.right) for order in ORDERS]
        apart = difference(*figures)
        if apart is None:
            raise ValueError("all held-out drawings are right, or all are wrong; take more of them")
        gains.append(Gain(PER_STEP * step, *(figure.value or 0.0 for figure in figures), *apart))
    return gains


def balanced(hits: np.ndarray, right: np.ndarray) -> Mean:
    """Of shares of right verdicts (N,): the mean of right drawings' and of wrong drawings'."""
    return Mean(tuple(Proportion(hits * which, which.astype(float)) for which in (right, ~right)))


def table(gains: Sequence[Gain]) -> str:
    head = f"{'annotations':>11}  {ORDERS[0]:>12}  {ORDERS[1]:>7}  gain (paired 95 % interval)"
    return "\n".join([head, *map(_line, gains)])


def _line(each: Gain) -> str:
    points = f"{100 * each.gain:+.1f} ({100 * each.low:+.1f} to {100 * each.high:+.1f})"
    return f"{each.annotations:>11}  {100 * each.ordered:>11.1f}%  {100 * each.random:>6.1f}%  {points}"


def _drawings(arguments: argparse.Namespace) -> Drawings:
    """Read from the file where it is there, else drawn and kept in it."""
    file = arguments.drawings
    if file and file.exists():
        with np.load(file) as columns:
            return Drawings(*(columns[name] for name in Drawings._fields))
    made = draw(arguments.checkpoint, arguments.pool + arguments.held_out, arguments.seed)
    if file:
        np.savez(file, **made._asdict())
    return made


def parser() -> argparse.ArgumentParser:
    name = "python -m studio.calibration.selection_study"
    result = argparse.ArgumentParser(prog=name, description=__doc__.split("\n")[0])
    result.add_argument("--checkpoint", default=DEFAULT, help="what draws and judges (default: embedded)")
    result.add_argument("--pool", type=int, default=600, help="drawings to choose from")
    result.add_argument("--held-out", type=int, default=400, help="drawings that verdicts are measured on")
    result.add_argument("--annotations", type=int, default=300, help="in steps of 100")
    result.add_argument("--error", type=float, default=0.05, help="share of answers that are wrong")
    result.add_argument("--seeds", type=int, default=3, help="runs of each order")
    result.add_argument("--seed", type=int, default=0, help="of the drawings")
    result.add_argument(
        "--drawings", type=Path, metavar="FILE", help="kept there (.npz), and read from there next time"
    )
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


def main() -> None:
    arguments = parser().parse_args()
    try:
        made = _drawings(arguments)
        places = np.arange(len(made.right))
        pool, held_out = made.some(places[: arguments.pool]), made.some(places[arguments.pool :])
        gains = study(pool, held_out, arguments.annotations, arguments.seeds, arguments.error)
    except (CheckpointError, ValueError, OSError, KeyError) as error:
        sys.exit(f"selection_study: {error}")
    about: dict[str, Any] = {"right": float(held_out.right.mean()), "pool": len(pool.right), "error": arguments.error}
    if arguments.json:
        print(json.dumps(about | {"gains": [vars(gain) for gain in gains]}))
    else:
        print(f"{about['pool']} drawings to choose from, {100 * about['right']:.0f} % of the held-out ones are right")
        print(table(gains))


if __name__ == "__main__":
    main()
