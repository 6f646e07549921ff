"""Rollout groups: trajectories from one prompt or draft, their assessment and their training sequences.

A group begins at a prompt, or at a wrong first image of it: where first images have become good, there is otherwise
nearly nothing left to learn repair from. Seeds follow from the run's seed and the step alone.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from model.backends.contract import Backend
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.decoding.prepared_request import check_prefix
from model.evaluation.finished_rollouts import drawn_pictures
from model.training.rewards.janus_pro_r1 import comprehension_reward, generation_reward
from model.training.rewards.registry import RIGHT, Reward
from model.training.training_sequences import TrainingSequence
from model.training.trajectory_sequences import trajectory_sequences
from model.trajectory import Image, Origin, Sampling, Segment, Trajectory, origin_of


@dataclass(frozen=True)
class Prompt:
    """A prompt to roll out. `hard` prompts have their own share of thoughts."""

    text: str
    hard: bool = False


@dataclass(frozen=True)
class GroupStart:
    """Prompt, prefix and seed that the trajectories of a group share."""

    prompt: Prompt
    sampling: Sampling
    prefix: tuple[Segment, ...] = ()  # an image and, where there is one, the thought before it
    seed: int | None = None  # of its rollouts; None: from the run's generator


@dataclass
class Rollout:
    """One trajectory, its assessment by the reward, and its training sequences."""

    start: GroupStart
    trajectory: Trajectory
    fits: list[float]  # R_QA of every image
    untrue: list[bool]  # whether an image was rejected for a reason that is not true
    pictures: dict[str, np.ndarray]  # by hash
    sequences: list[TrainingSequence]
    parts: dict[str, tuple[float, ...]] = field(default_factory=dict)  # `fits` by each of several rewards

    @property
    def verdicts(self) -> list[bool]:
        return [reflection.answer == "yes" for reflection in self.trajectory.reflections]

    def generation(self, rounds: int) -> float:
        return generation_reward(self.fits, rounds)

    def comprehension(self, rounds: int, untrue_penalty: float = 0.0) -> float:
        return comprehension_reward(
            self.fits, self.verdicts, rounds, [untrue_penalty * untrue for untrue in self.untrue]
        )


def starts_of(
    janus: Janus, prompts: Sequence[Prompt], thinking: float, thinking_hard: float, rng: random.Random
) -> list[GroupStart]:
    """A start per prompt, with a thought in a share `thinking` of them, of hard ones `thinking_hard`."""
    return [
        GroupStart(p, replace(janus.sampling, thinks=rng.random() < (thinking_hard if p.hard else thinking)))
        for p in prompts
    ]


def wrong_drafts(groups: Sequence[Sequence[Rollout]], count: int, rng: random.Random) -> list[GroupStart]:
    """At most `count` wrong first images, of as many prompts as there are, to begin again from."""
    wrong = [[rollout for rollout in group if rollout.fits[0] < RIGHT] for group in groups]
    chosen = [rng.choice(rollouts) for rollouts in rng.sample(wrong, len(wrong)) if rollouts]
    return [replace(each.start, prefix=_first_image(each.trajectory), seed=None) for each in chosen[:count]]


def branch_starts(janus: Janus, folder: Path, rounds: int) -> list[GroupStart]:
    """From every `trajectory.json` below a folder what was there up to the last segment that a person wrote or changed.
    Raises ValueError for a file that is no such trajectory, or of another network, and where there is none."""
    files = sorted(folder.rglob("trajectory.json"))
    if not files:
        raise ValueError(f"{folder} holds no trajectory.json; give a folder of trajectories that people changed")
    starts: list[GroupStart] = []
    for file in files:
        try:
            row = json.loads(file.read_text("utf-8"))
            trajectory = Trajectory.from_dict(row.get("trajectory", row))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is no trajectory: {' '.join(str(error).split())[:200]}") from error
        own = [at for at, segment in enumerate(trajectory.segments, 1) if origin_of(segment) is Origin.PERSON]
        if not own:
            raise ValueError(f"{file} has nothing that a person wrote or changed; leave it out")
        sampling = replace(janus.sampling, thinks=trajectory.sampling.thinks)
        prefix = trajectory.segments[: own[-1]]
        check_prefix(janus, Request(trajectory.prompt, 0, rounds, sampling, None, prefix=prefix))
        starts.append(GroupStart(Prompt(trajectory.prompt), sampling, prefix))
    return starts


def _first_image(trajectory: Trajectory) -> tuple[Segment, ...]:
    end = next(i for i, segment in enumerate(trajectory.segments, 1) if isinstance(segment, Image))
    return trajectory.segments[:end]


def roll_out(
    janus: Janus,
    reward: Reward,
    starts: Sequence[GroupStart],
    size: int,
    rounds: int,
    rng: random.Random,
    backend: Backend | None = None,
) -> list[list[Rollout]]:
    """`size` trajectories of every start, all together; `backend`: what draws them, of the same weights (default: the
    network itself)."""
    requests: list[Request] = []
    start_of: dict[str, GroupStart] = {}
    for number, start in enumerate(starts):
        own = rng if start.seed is None else random.Random(start.seed)
        for member in range(size):
            name = f"{number} {member}"
            start_of[name] = start
            text, seed = start.prompt.text, own.getrandbits(31)
            requests.append(Request(text, seed, rounds, start.sampling, None, prefix=start.prefix, id=name))
    backend = backend or JanusBackend(janus)
    finished = drawn_pictures(backend, requests, len(requests), progress=False) if requests else ()
    rollouts = {name: _assessed(janus, reward, start_of[name], drawn, images) for name, drawn, images in finished}
    return [[rollouts[f"{number} {member}"] for member in range(size)] for number in range(len(starts))]


def _assessed(
    janus: Janus, reward: Reward, start: GroupStart, trajectory: Trajectory, drawn: Sequence[np.ndarray]
) -> Rollout:
    pairs = zip(trajectory.images, drawn, strict=True)
    pictures = {image.sha256: picture for image, picture in pairs if image.sha256 is not None}
    assessment = reward(trajectory, drawn)
    sequences = list(trajectory_sequences(janus, trajectory, pictures, prefix=len(start.prefix)))
    fits, untrue, parts = list(assessment.fits), list(assessment.untrue), dict(assessment.parts)
    return Rollout(start, trajectory, fits, untrue, pictures, sequences, parts)


def statistics(groups: Sequence[Sequence[Rollout]], rounds: int) -> dict[str, float]:
    """Rewards and shares right of the rollouts; of each reward mean and spread within groups for last images. `begun`:
    how many began at a wrong image, `repaired`: how many of these ended at a right one."""
    fresh = [rollout for group in groups for rollout in group if not rollout.start.prefix]
    begun = [rollout for group in groups for rollout in group if rollout.start.prefix]
    judged = [(fit >= RIGHT, yes) for each in fresh + begun for fit, yes in zip(each.fits, each.verdicts, strict=True)]
    return {
        "r_gen": float(np.mean([rollout.generation(rounds) for rollout in fresh])),
        "r_comp": float(np.mean([rollout.comprehension(rounds) for rollout in fresh])),
        "first_right": float(np.mean([rollout.fits[0] >= RIGHT for rollout in fresh])),
        "final_right": float(np.mean([rollout.fits[-1] >= RIGHT for rollout in fresh])),
        "verdict_right": float(np.mean([right == yes for right, yes in judged])),
        "images": float(np.mean([len(rollout.fits) for rollout in fresh])),
        "begun": len(begun),
        "repaired": sum(rollout.fits[-1] >= RIGHT for rollout in begun),
        **_parts(groups),
    }


def _parts(groups: Sequence[Sequence[Rollout]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name in groups[0][0].parts:
        label = f"reward_{name.partition(':')[0]}"
        if label in metrics:
            label = f"{label}_{sum(each.startswith(label) for each in metrics) // 2 + 1}"
        last = [[rollout.parts[name][-1] for rollout in group] for group in groups]
        metrics |= {label: float(np.mean(last)), f"{label}_spread": float(np.mean([np.std(each) for each in last]))}
    return metrics


def contact_sheet(groups: Sequence[Sequence[Rollout]]) -> Picture.Image:
    """The images of every group's first rollout, one row each."""
    images = [[image.sha256 for image in first.trajectory.images if image.sha256] for first, *_ in groups]
    rows = [[group[0].pictures[sha256] for sha256 in hashes] for group, hashes in zip(groups, images, strict=True)]
    side, most = rows[0][0].shape[0], max(map(len, rows))
    sheet = np.full((side * len(rows), side * most, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet[y * side : (y + 1) * side, x * side : (x + 1) * side] = picture
    return Picture.fromarray(sheet)
