"""Rewards by name: a module of this package with a function `assess` is a reward, under the module's name.

It is imported where it is chosen: `--reward verifier:1`, or several with weights, `--reward verifier:1,other:0.5`.
"""

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.training.rewards.janus_pro_r1 import RewardError
from model.trajectory import Trajectory

PARTS = {"both": (True, True), "drawing": (True, False), "judging": (False, True)}  # R_Gen, R_Comp
NOT_REWARDS = ("janus_pro_r1", "registry")
DEFAULT = {"verifier": 1.0}


@dataclass(frozen=True)
class Assessment:
    """What a reward says of a finished trajectory, image by image."""

    fits: tuple[float, ...]  # R_QA: how well the image fits the prompt, 0…1
    untrue: tuple[bool, ...] = ()  # whether it was rejected for a reason that is not true; empty: unknown


Reward = Callable[[Trajectory, Sequence[np.ndarray]], Assessment]  # pictures: (H, W, 3) uint8, one per image


@dataclass(frozen=True)
class RewardChoice:
    """What `--reward` chooses: parts of a trajectory's reward, and the weights of the rewards behind R_QA."""

    drawing: bool  # R_Gen counts
    judging: bool  # R_Comp counts
    weights: Mapping[str, float]


def reward_names() -> list[str]:
    """All rewards there are."""
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return [module.name for module in modules if module.name not in NOT_REWARDS]


def read_choice(text: str) -> RewardChoice:
    """`both`, `drawing` or `judging`, and rewards with their weights, separated by commas. Raises RewardError."""
    parts = PARTS["both"]
    weights: dict[str, float] = {}
    for word in filter(None, (each.strip() for each in text.split(","))):
        name, _, weight = word.partition(":")
        if word in PARTS:
            parts = PARTS[word]
        elif name in reward_names():
            weights[name] = _weight(word, weight)
        else:
            raise RewardError(
                f"there is no reward {name}; give {', '.join(PARTS)}, or one of: {', '.join(reward_names())}"
            )
    return RewardChoice(*parts, weights or DEFAULT)


def _weight(word: str, text: str) -> float:
    try:
        weight = float(text or 1)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise RewardError(f"got {word}, wanted a name and a weight above 0, such as verifier:1")
    return weight


def weighted_reward(weights: Mapping[str, float]) -> Reward:
    """The mean of the named rewards, by weight; a reason is untrue where one of them says so."""
    rewards = [importlib.import_module(f"model.training.rewards.{name}").assess for name in weights]
    total = sum(weights.values())

    def assess(trajectory: Trajectory, pictures: Sequence[np.ndarray]) -> Assessment:
        assessments = [reward(trajectory, pictures) for reward in rewards]
        scored = zip(*(each.fits for each in assessments), strict=True)
        fits = (sum(w * fit for w, fit in zip(weights.values(), column, strict=True)) / total for column in scored)
        reasons = [each.untrue or (False,) * len(pictures) for each in assessments]
        return Assessment(tuple(fits), tuple(any(column) for column in zip(*reasons, strict=True)))

    return rewards[0] if len(rewards) == 1 else assess
