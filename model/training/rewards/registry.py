"""Rewards by name: a module of this package is a reward under the module's name, but for NOT_REWARDS.

It has a function `assess(trajectory, pictures) -> Assessment`, or, where it takes an argument (a folder, a model's id),
`create_reward(argument) -> Reward` and a constant ARGUMENT, which names the argument in messages. A module is imported
when it is chosen: `--reward verifier:1`, or several with weights: `--reward verifier:1 reward_model:FOLDER:0.5`.
"""

import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from model.training.rewards.janus_pro_r1 import RewardError
from model.trajectory import Trajectory

PARTS = {"both": (True, True), "drawing": (True, False), "judging": (False, True)}  # R_Gen, R_Comp
NOT_REWARDS = ("janus_pro_r1", "registry", "reward_network")
DEFAULT = {"verifier": 1.0}
RIGHT = 0.5  # from which fit on an image counts as right


@dataclass(frozen=True)
class Assessment:
    """What a reward says of a finished trajectory, image by image."""

    fits: tuple[float, ...]  # R_QA: how well the image fits the prompt, 0…1
    untrue: tuple[bool, ...] = ()  # whether it was rejected for a reason that is not true; empty: unknown
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # `fits` of each of several rewards, by name


Reward = Callable[[Trajectory, Sequence[np.ndarray]], Assessment]  # pictures: (H, W, 3) uint8, one per image


@dataclass(frozen=True)
class RewardChoice:
    """What `--reward` chooses: parts of a trajectory's reward, and the weights of the rewards behind R_QA, each by its
    name and, behind a colon, its argument."""

    drawing: bool  # R_Gen counts
    judging: bool  # R_Comp counts
    weights: Mapping[str, float]

    @property
    def shares(self) -> dict[str, float]:
        """The weights, divided by their sum."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items()}


def reward_names() -> list[str]:
    """All rewards there are."""
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return [module.name for module in modules if module.name not in NOT_REWARDS]


def read_choice(text: str) -> RewardChoice:
    """`both`, `drawing` or `judging`, and rewards with their weights, separated by blanks or commas: `NAME`,
    `NAME:WEIGHT`, `NAME:ARGUMENT` or `NAME:ARGUMENT:WEIGHT`. Raises RewardError."""
    parts = PARTS["both"]
    weights: dict[str, float] = {}
    for word in filter(None, re.split(r"[\s,]+", text)):
        name, _, rest = word.partition(":")
        if word in PARTS:
            parts = PARTS[word]
        elif name in reward_names():
            argument, weight = _argument_and_weight(rest)
            weights[f"{name}:{argument}" if argument else name] = _checked(word, name, argument, weight)
        else:
            raise RewardError(
                f"there is no reward {name}; give {', '.join(PARTS)}, or one of: {', '.join(reward_names())}"
            )
    return RewardChoice(*parts, weights or DEFAULT)


def _argument_and_weight(text: str) -> tuple[str, float]:
    """`ARGUMENT:WEIGHT`, either of which may be missing."""
    argument, _, last = text.rpartition(":")
    try:
        return argument, float(last)
    except ValueError:
        return text, 1.0


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"model.training.rewards.{name}")


def _checked(word: str, name: str, argument: str, weight: float) -> float:
    """The weight. Raises RewardError."""
    expected = f"{name}:{_module(name).ARGUMENT}" if hasattr(_module(name), "create_reward") else name
    if not 0 < weight < math.inf or bool(argument) != (":" in expected):
        raise RewardError(f"got {word}, wanted a name and a weight above 0, such as {expected}:1")
    return weight


def open_reward(name: str) -> Reward:
    """A reward by its name and, behind a colon, its argument. Raises what creating it raises."""
    module_name, _, argument = name.partition(":")
    module = _module(module_name)
    return module.create_reward(argument) if argument else module.assess


def weighted_reward(weights: Mapping[str, float]) -> Reward:
    """The mean of the named rewards, by weight, with its parts; a reason is untrue where one of them says so."""
    rewards = {name: open_reward(name) for name in weights}
    shares = RewardChoice(True, True, weights).shares

    def assess(trajectory: Trajectory, pictures: Sequence[np.ndarray]) -> Assessment:
        assessments = {name: reward(trajectory, pictures) for name, reward in rewards.items()}
        parts = {name: each.fits for name, each in assessments.items()}
        scored = zip(*parts.values(), strict=True)
        fits = (sum(w * fit for w, fit in zip(shares.values(), column, strict=True)) for column in scored)
        reasons = [each.untrue or (False,) * len(pictures) for each in assessments.values()]
        return Assessment(tuple(fits), tuple(any(column) for column in zip(*reasons, strict=True)), parts)

    return assess
