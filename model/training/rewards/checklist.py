"""Reward `checklist:MODEL`: the mean over the facts of a prompt of a critic's P(Yes), fact by fact."""

from model.backends.contract import Domain
from model.training.rewards.critic import asking
from model.training.rewards.registry import Reward

ARGUMENT = "MODEL"


def create_reward(source: str) -> Reward:
    return asking(source, Domain().facts)
