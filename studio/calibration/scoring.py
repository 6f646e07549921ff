"""Scores of further critics for the pictures that people judged."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from annotations.calibration.judgements import PeopleVerdict, verdicts
from annotations.calibration.scores import CriticScore, add, scores
from annotations.errors import AnnotationsError
from annotations.store.store import Store
from model.images import decode
from model.training.rewards.janus_pro_r1 import RewardError
from model.training.rewards.registry import Reward, open_reward, read_choice
from model.trajectory import Image, Reflection

STORED_AT_ONCE = 50


def score_all(store: Store, critics: list[str]) -> Iterator[tuple[str, int, int]]:
    """Score what each critic, named as a reward, has not scored yet: (critic, done, of). Pictures that a critic cannot
    judge, such as of prompts that the verifier cannot read, are passed by. Raises RewardError and CheckpointError."""
    for critic in critics:
        if list(read_choice(critic).weights) != [critic]:
            raise RewardError(f"got {critic}, wanted a critic without a weight, such as verifier or critic:MODEL")
    judged = list(verdicts(store))
    known = {(score.trajectory_id, score.segment, score.critic) for score in scores(store)}
    for critic in critics:
        reward = open_reward(critic)
        todo = [each for each in judged if (each.trajectory.id, each.image, critic) not in known]
        for start in range(0, len(todo), STORED_AT_ONCE):
            part = todo[start : start + STORED_AT_ONCE]
            add(store, [each for verdict in part if (each := score(store, critic, reward, verdict)) is not None])
            yield critic, start + len(part), len(todo)


def score(store: Store, critic: str, reward: Reward, verdict: PeopleVerdict) -> CriticScore | None:
    """What a reward says of one picture; None where it cannot judge it, or the picture is gone."""
    trajectory = verdict.trajectory
    image, reflection = trajectory.segments[verdict.image], trajectory.segments[verdict.reflection]
    if image.sha256 is None or not isinstance(reflection, Reflection):
        return None
    shown = Image(image.codes, image.sha256)
    try:
        picture = np.asarray(decode(store.picture(image.sha256)).picture)
        fits = reward(replace(trajectory, segments=(shown, reflection)), [picture]).fits
    except (ValueError, AnnotationsError):
        return None
    return CriticScore(trajectory.id, verdict.image, critic, min(max(float(fits[0]), 0.0), 1.0))
