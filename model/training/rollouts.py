"""Rollout groups: trajectories from one prompt or draft, their scores and action sequences.

A group begins at a prompt, or at a wrong drawing of it: where first drawings have become good, nearly nothing else is
left to learn mending from. Seeds follow from the run's seed and the step alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Picture

from model.backends.janus import Janus
from model.decoding.request import Request
from model.evaluation.figures import pictures_of, reason_is_true
from model.training.actions import Choices, choices
from model.training.rewards import comprehension_reward, fit, generation_reward
from model.trajectory import Image, Sampling, Segment, Trajectory
from model.world.language import Description, category_of, write
from model.world.splits import HARD
from model.world.verifier import read


@dataclass(frozen=True)
class GroupStart:
    """What the trajectories of a group have in common."""

    description: Description
    sampling: Sampling
    given: tuple[Segment, ...] = ()  # a drawing and, where there is one, the thought before it


@dataclass
class Rollout:
    """One trajectory, what the referee makes of it, and its streams."""

    start: GroupStart
    trajectory: Trajectory
    fits: list[float]  # R_QA of every image
    untrue: list[bool]  # whether an image was rejected for a reason that is not so
    pictures: dict[str, np.ndarray]  # by hash
    streams: tuple[Choices, Choices]

    @property
    def verdicts(self) -> list[bool]:
        return [reflection.answer == "yes" for reflection in self.trajectory.reflections]

    def generation(self, rounds: int) -> float:
        return generation_reward(self.fits, rounds)

    def comprehension(self, rounds: int, truth: float = 0.0) -> float:
        return comprehension_reward(self.fits, self.verdicts, rounds, [truth * each for each in self.untrue])


def starts_of(
    janus: Janus, descriptions: Sequence[Description], thinking: float, thinking_hard: float, rng: random.Random
) -> list[GroupStart]:
    """One per prompt, with a thought in a share `thinking` of cases, of hard ones `thinking_hard`."""

    def thinks(description: Description) -> bool:
        return rng.random() < (thinking_hard if category_of(description) in HARD else thinking)

    return [GroupStart(each, replace(janus.sampling, thinks=thinks(each))) for each in descriptions]


def wrong_drafts(groups: Sequence[Sequence[Rollout]], count: int, rng: random.Random) -> list[GroupStart]:
    """At most `count` wrong first drawings, of as many prompts as there are, to begin again from."""
    wrong = [[one for one in group if one.fits[0] < 1] for group in groups]
    chosen = [rng.choice(each) for each in rng.sample(wrong, len(wrong)) if each]
    return [replace(one.start, given=_first_drawing(one.trajectory)) for one in chosen[:count]]


def _first_drawing(trajectory: Trajectory) -> tuple[Segment, ...]:
    end = next(i for i, segment in enumerate(trajectory.segments, 1) if isinstance(segment, Image))
    return trajectory.segments[:end]


def roll_out(
    janus: Janus, starts: Sequence[GroupStart], size: int, rounds: int, rng: random.Random
) -> list[list[Rollout]]:
    """`size` trajectories of every start, all together."""
    requests, begun = [], {}
    for number, start in enumerate(starts):
        for member in range(size):
            name = f"{number} {member}"
            begun[name] = start
            prompt, seed = write(start.description), rng.getrandbits(31)
            requests.append(Request(prompt, seed, rounds, start.sampling, None, given=start.given, id=name))
    made = pictures_of(janus, requests, len(requests), progress=False) if requests else ()
    ended = {name: _judged(janus, begun[name], *rest) for name, *rest in made}
    return [[ended[f"{number} {member}"] for member in range(size)] for number in range(len(starts))]


def _judged(janus: Janus, start: GroupStart, trajectory: Trajectory, drawn: Sequence[np.ndarray]) -> Rollout:
    pictures = {image.sha256: picture for image, picture in zip(trajectory.images, drawn, strict=True)}
    readings = [read(picture) for picture in drawn]
    fits = [fit(start.description, reading) for reading in readings]
    untrue = [
        reflection.answer == "no" and not reason_is_true(start.description, reading, reflection)
        for reading, reflection in zip(readings, trajectory.reflections, strict=True)
    ]
    streams = choices(janus, trajectory, pictures, given=len(start.given))
    return Rollout(start, trajectory, fits, untrue, pictures, streams)


def statistics(groups: Sequence[Sequence[Rollout]], rounds: int) -> dict[str, float]:
    """What the rollouts were worth, before learning from them; how many began at a wrong drawing, and mended it."""
    fresh = [one for group in groups for one in group if not one.start.given]
    begun = [one for group in groups for one in group if one.start.given]
    judged = [(fit == 1, says) for one in fresh + begun for fit, says in zip(one.fits, one.verdicts, strict=True)]
    return {
        "r_gen": np.mean([one.generation(rounds) for one in fresh]),
        "r_comp": np.mean([one.comprehension(rounds) for one in fresh]),
        "first_right": np.mean([one.fits[0] == 1 for one in fresh]),
        "final_right": np.mean([one.fits[-1] == 1 for one in fresh]),
        "verdict_right": np.mean([right == says for right, says in judged]),
        "images": np.mean([len(one.fits) for one in fresh]),
        "begun": len(begun),
        "mended": sum(one.fits[-1] == 1 for one in begun),
    }


def contact_sheet(groups: Sequence[Sequence[Rollout]]) -> Picture.Image:
    """The images of every group's first rollout, one row each."""
    rows = [[one.pictures[image.sha256] for image in one.trajectory.images] for one, *_ in groups]
    side, most = rows[0][0].shape[0], max(map(len, rows))
    sheet = np.full((side * len(rows), side * most, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet[y * side : (y + 1) * side, x * side : (x + 1) * side] = picture
    return Picture.fromarray(sheet)
