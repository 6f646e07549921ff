"""Reward `verifier`: the embedded world's verifier reads every image and checks it against the prompt."""

from collections.abc import Sequence

import numpy as np

from model.evaluation.figures import reason_is_true
from model.training.rewards.registry import Assessment
from model.trajectory import Trajectory
from model.world.language import Description, parse
from model.world.verifier import Reading, accepted, check, read
from model.world.verifier import score as share_that_holds


def assess(trajectory: Trajectory, pictures: Sequence[np.ndarray]) -> Assessment:
    """Raises PromptError (a ValueError) for a prompt that the world cannot draw."""
    description = parse(trajectory.prompt)
    readings = [read(picture) for picture in pictures]
    untrue = [
        reflection.answer == "no" and not reason_is_true(description, reading, reflection)
        for reading, reflection in zip(readings, trajectory.reflections, strict=True)
    ]
    return Assessment(tuple(fit(description, reading) for reading in readings), tuple(untrue))


def fit(description: Description, reading: Reading) -> float:
    """R_QA: 1 for a right drawing, below ½ for a wrong one, more for one with fewer faults.

    Below ½, so that it never pays to call a wrong drawing right.
    """
    facts = check(description, reading)
    return 1.0 if accepted(facts) else share_that_holds(facts) / 2
