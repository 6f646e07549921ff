"""Reward `reward_model:FOLDER`: σ(reward) of a reward model that `model.training.reward` trained."""

from collections.abc import Sequence

import numpy as np
import torch

from model.training.rewards.registry import Assessment, Reward
from model.training.rewards.reward_network import open_reward_network
from model.trajectory import Trajectory

ARGUMENT = "FOLDER"


def create_reward(folder: str) -> Reward:
    """Raises CheckpointError for a folder that is no reward model."""
    network = open_reward_network(folder)

    def assess(trajectory: Trajectory, pictures: Sequence[np.ndarray]) -> Assessment:
        rewards = torch.tensor(network.rewards(trajectory.prompt, pictures))
        return Assessment(tuple(rewards.sigmoid().tolist()))

    return assess
