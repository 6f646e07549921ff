"""Simulated annotators: the verifier with an error rate, the checkpoint itself, another critic; their answers.

No person answers here: `VerifierAnnotator` is the embedded world's verifier in the place of one, with an error rate.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from model.backends.contract import Backend
from model.backends.request import Request, Task
from model.evaluation.figures import reason_is_true
from model.evaluation.finished_rollouts import drawn_pictures
from model.trajectory import Reflection, Trajectory
from model.world.defects import spoil
from model.world.language import parse
from model.world.random_scenes import sample_scene
from model.world.reasons import write_reason
from model.world.scene import Scene, render
from model.world.verifier import accepted, check, read, score


@dataclass(frozen=True)
class SimulatedAnswer:
    """An answer about one drawing and the reflection on it."""

    right: bool  # the drawing shows what was asked for
    reason: str | None  # what should be said of it, without the verdict; None: what was said is good
    score: float | None = None  # how well the drawing fits, 0 to 1; None: not asked


class SimulatedAnnotator(Protocol):
    """Who answers: an annotator or a critic."""

    about: str  # a sentence for the report

    def answer(self, trajectory: Trajectory, number: int, picture: np.ndarray) -> SimulatedAnswer:
        """About the trajectory's image `number` (from 0), (H, W, 3) uint8, and the reflection on it."""


@dataclass(frozen=True)
class VerifierAnnotator:
    """The verifier as an annotator who errs: a share `error_rate` of right drawings is seen as drawings with a defect,
    and of wrong ones as right ones. Verdict, reason and score follow from what was seen."""

    error_rate: float
    seed: int = 0

    @property
    def about(self) -> str:
        return f"annotators simulated by the verifier, {self.error_rate:.0%} of their answers wrong"

    def answer(self, trajectory: Trajectory, number: int, picture: np.ndarray) -> SimulatedAnswer:
        rng = random.Random(f"{self.seed} {trajectory.id} {number}")
        description, said = parse(trajectory.prompt), trajectory.reflections[number]
        if rng.random() < self.error_rate:
            scene = sample_scene(rng, description)
            was_right = accepted(check(description, read(picture)))
            picture = spoil(rng, description, scene)[1] if was_right else render(Scene(scene.items))
        reading = read(picture)
        facts = check(description, reading)
        right = accepted(facts)
        good = right == (said.answer == "yes") and (right or reason_is_true(description, reading, said))
        reason = None if good else write_reason(description, facts, rng).lstrip(", ")
        return SimulatedAnswer(right, reason, score(facts))


@dataclass(frozen=True)
class AgreeingAnnotator:
    """The control: whatever the checkpoint said is confirmed, so nothing is corrected."""

    about = "control: the checkpoint's own words confirmed, the same drawings and steps"

    def answer(self, trajectory: Trajectory, number: int, picture: np.ndarray) -> SimulatedAnswer:
        return SimulatedAnswer(trajectory.reflections[number].answer == "yes", None)


@dataclass(frozen=True)
class CriticAnnotator:
    """Another checkpoint's verdict and reason on every drawing, made by `critic_annotator`."""

    name: str
    reflections: Mapping[tuple[str, int], Reflection]  # by trajectory and image

    @property
    def about(self) -> str:
        return f"critic: {self.name} in the place of annotators"

    def answer(self, trajectory: Trajectory, number: int, picture: np.ndarray) -> SimulatedAnswer:
        reflection, thinks = trajectory.reflections[number], self.reflections[trajectory.id, number]
        agrees = reflection.answer == thinks.answer == "yes" or reflection.text == thinks.text
        return SimulatedAnswer(thinks.answer == "yes", None if agrees else thinks.reason, thinks.p_yes)


def critic_annotator(
    critic: Backend, drawings: Sequence[tuple[Trajectory, Sequence[np.ndarray]]], batch: int
) -> CriticAnnotator:
    """Every image of every drawing, judged by a checkpoint as a given image."""
    places = [(drawing, number) for drawing, pictures in drawings for number in range(len(pictures))]
    shown = [picture for _, pictures in drawings for picture in pictures]
    requests = [
        Request(drawing.prompt, at, 1, None, None, task=Task.JUDGE, source=picture, id=str(at))
        for at, ((drawing, _), picture) in enumerate(zip(places, shown, strict=True))
    ]
    reflections = {}
    for name, trajectory, _ in drawn_pictures(critic, requests, batch):
        drawing, number = places[int(name)]
        reflections[drawing.id, number] = trajectory.reflections[0]
    return CriticAnnotator(critic.name, reflections)
