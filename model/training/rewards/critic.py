"""Reward `critic:MODEL`: how probable “yes” is when a critic is asked whether an image shows its prompt.

A critic is what `model.backends.critic` opens: a Janus checkpoint, or any image-text-to-text model of transformers;
P(yes) / (P(yes) + P(no)) of its first word, as in VQAScore (Lin et al., 2024). `checklist` asks about each fact of the
prompt by itself.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from model.backends.contract import CheckpointError
from model.backends.critic import Critic, CriticError
from model.backends.critic import open_critic as open_any_critic
from model.training.rewards.janus_pro_r1 import RewardError
from model.training.rewards.registry import Assessment, Reward
from model.trajectory import Trajectory

ARGUMENT = "MODEL"


@lru_cache(maxsize=2)
def open_critic(source: str) -> Critic:
    """Raises RewardError for what is no critic."""
    try:
        return open_any_critic(source)
    except CheckpointError as error:
        raise RewardError(str(error)) from error


def whole(prompt: str) -> list[str]:
    """The prompt as it stands."""
    return [prompt.strip()]


def asking(source: str, asked: Callable[[str], Sequence[str]]) -> Reward:
    """The mean of P(yes) over what is asked about a prompt. Raises RewardError."""
    critic = open_critic(source)

    def assess(trajectory: Trajectory, pictures: Sequence[np.ndarray]) -> Assessment:
        texts = asked(trajectory.prompt)
        try:
            return Assessment(tuple(sum(critic.p_yes(text, each) for text in texts) / len(texts) for each in pictures))
        except CriticError as error:
            raise RewardError(str(error)) from error

    return assess


def create_reward(source: str) -> Reward:
    return asking(source, whole)
