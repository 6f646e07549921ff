"""A held-out reward that detects reward hacking: the trained reward rises and the held-out one does not.

Two signs (Gao et al., 2023, measure the first): the trained reward has risen and the watching one has not risen with
it; many rollouts stand high by the trained reward and low by the other. An alarm writes the rollouts on which both
disagree most into a folder that the studio imports.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate.utils import gather_object
from PIL import Image as Picture

from model.atomic_files import write_whole
from model.images import encode_png
from model.training.loop import Loop
from model.training.rewards.registry import Reward
from model.training.rollouts import Rollout
from model.trajectory import Trajectory

WINDOW = 4  # steps whose means are compared: the first ones of a run and the last ones
RISE = 0.5  # of the trained reward over that of the watch, each in standard deviations of its first rollouts
GAP = 0.5  # of ranks (0…1 within a step) from which on the rewards disagree on a rollout
SHARE = 0.15  # of the rollouts of the last steps that they may disagree on; independent rewards: 0.125
MOST = 16  # rollouts that an alarm writes


Pairs = list[list[float]]  # of rollouts: by the trained reward, by the watch


class Watched(NamedTuple):
    """A rollout, and what both rewards say of its last image."""

    trajectory: Trajectory
    pictures: Mapping[str, np.ndarray]  # by hash
    trained: float
    watch: float


@dataclass
class Watch:
    """What was seen of a run so far, in all its processes; part of its state, so that a resumed run knows it.

    `gathered` makes of the rewards of a process's rollouts those of every process, in order.
    """

    folder: Path  # for the alarms
    process: int = 0
    gathered: Callable[[Pairs], Sequence[Pairs]] = lambda own: [own]
    steps: int = 0  # that it has seen
    first: list[np.ndarray] = field(default_factory=list)  # (2, N) rewards of each of the first steps
    last: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=WINDOW))
    disagreed: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def __call__(self, step: int, rollouts: Sequence[Watched]) -> dict[str, float]:
        """Metrics of a step's rollouts; where they are an alarm, they are written, by each process its own."""
        every = self.gathered([[each.trained, each.watch] for each in rollouts])
        before = sum(map(len, every[: self.process]))
        rewards = np.array([pair for pairs in every for pair in pairs]).T.copy()
        self.steps += 1
        if self.steps <= WINDOW:
            self.first.append(rewards)
        self.last.append(rewards)
        gaps = ranks(rewards[0]) - ranks(rewards[1])
        disagree = (gaps >= GAP) & (rewards[0] >= np.mean([each[0].mean() for each in self.first]))
        self.disagreed.append(float(disagree.mean()))
        rise, noise = self._rise()
        hacked = rise > max(RISE, noise) or (self.steps >= WINDOW and np.mean(self.disagreed) > SHARE)
        if hacked:
            own = gaps[before : before + len(rollouts)]
            for number, at in enumerate(np.argsort(-own, kind="stable")[:MOST], start=1):
                folder = self.folder / f"step-{step:05d}" / f"{number:02d}"
                write_trajectory(rollouts[at].trajectory, rollouts[at].pictures.values(), folder)
        counts = {"watch_disagreements": float(disagree.sum()), "watch_alarm": float(hacked)}
        return {"watch_reward": float(rewards[1].mean()), "watch_rise": rise, **counts}

    def state_dict(self) -> dict[str, Any]:
        """What was seen, as plain numbers."""
        first, last = ([rewards.tolist() for rewards in each] for each in (self.first, self.last))
        return {"steps": self.steps, "first": first, "last": last, "disagreed": [*self.disagreed]}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.steps = saved["steps"]
        self.first = [np.array(rewards) for rewards in saved["first"]]
        self.last.extend(np.array(rewards) for rewards in saved["last"])
        self.disagreed.extend(saved["disagreed"])

    def _rise(self) -> tuple[float, float]:
        """How much further the trained reward has risen than the watch, and what chance alone may make of it."""
        if self.steps < 2 * WINDOW:
            return 0.0, 0.0
        first, last = np.concatenate(self.first, 1), np.concatenate([*self.last], 1)
        trained, watch = (last.mean(1) - first.mean(1)) / np.maximum(first.std(1), 1e-3)
        return float(min(trained, trained - watch)), 3 * float(np.sqrt(1 / first.shape[1] + 1 / last.shape[1]))


def watching(
    reward: Reward, loop: Loop, out: Path
) -> tuple[Watch, Callable[[int, Sequence[Sequence[Rollout]]], dict[str, float]]]:
    """A watch by `reward`, and how it is given each step's groups of rollouts, by the fits of their last images; alarms
    lie beside `out`."""
    process = loop.rank_slice.start
    watch = Watch(out.parent / f"{out.name}-watch" / (f"process-{process}" if process else ""), process)
    if loop.processes > 1:
        watch.gathered = lambda own: gather_object([own])

    def look(step: int, groups: Sequence[Sequence[Rollout]]) -> dict[str, float]:
        rollouts: list[Watched] = []
        for rollout in (rollout for group in groups for rollout in group):
            drawn = [rollout.pictures[image.sha256 or ""] for image in rollout.trajectory.images]
            fits = reward(rollout.trajectory, drawn).fits
            rollouts.append(Watched(rollout.trajectory, rollout.pictures, rollout.fits[-1], fits[-1]))
        return watch(step, rollouts)

    return watch, look


def ranks(values: np.ndarray) -> np.ndarray:
    """(N,) → (N,) mean ranks from 0 to 1; equal values have equal ranks."""
    below = (values[None] < values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1) - 1
    return (below + equal / 2) / max(len(values) - 1, 1)


def write_trajectory(trajectory: Trajectory, pictures: Iterable[np.ndarray], folder: Path) -> None:
    """trajectory.json and a PNG per picture, as `model.generate` writes them, without the id: an import makes one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, start=1):
        write_whole(folder / f"image-{number}.png", encode_png(Picture.fromarray(picture)), mode=0o644)
    text = json.dumps(replace(trajectory, id="").to_dict(), ensure_ascii=False, indent=2)
    write_whole(folder / "trajectory.json", text + "\n", mode=0o644)
