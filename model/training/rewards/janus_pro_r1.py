"""Rewards of trajectories and group-relative advantages (Janus-Pro-R1, §3.2).

T rounds were allowed, K images were drawn (the last one judged yes, or K = T). R_QA(I) in 0…1 says how well an image
fits its prompt; a reward of the registry stands where the paper has InternVL. Pure arithmetic: no torch, no network.
"""

import math
from collections.abc import Sequence


class RewardError(ValueError):
    """A reward that is no number, and whose it is."""


def generation_reward(fits: Sequence[float], rounds: int) -> float:
    """R_Gen = Σ_{i<K} R_QA(I_i) + (T − K + 1) · R_QA(I_K): 0…T. Stopping early with a good image pays in full."""
    return sum(fits[:-1]) + (rounds - len(fits) + 1) * fits[-1]


def comprehension_reward(
    fits: Sequence[float], verdicts: Sequence[bool], rounds: int, penalties: Sequence[float] = ()
) -> float:
    """R_Comp = (T / K) · Σ_{i≤K} (1 − |R_QA(I_i) − SE(I_i)|): 0…T, with SE = 1 where the model said yes.

    `penalties`, one per image, are not the paper's: they are taken from the sum, for reasons that are not true.
    """
    right = sum(1 - abs(fit - says) for fit, says in zip(fits, verdicts, strict=True))
    return rounds / len(fits) * (right - sum(penalties))


def advantages(rewards: Sequence[float]) -> list[float] | None:
    """(R − mean) / (standard deviation + 1e-4) within a group (GRPO); None where all are equal: nothing to learn.

    The standard deviation is the sample's (n − 1), as in TRL. Raises RewardError for a reward that is no number.
    """
    for number, reward in enumerate(rewards):
        if not math.isfinite(reward):
            raise RewardError(f"the reward of rollout {number + 1} of {len(rewards)} is {reward}, not a number")
    mean = sum(rewards) / len(rewards)
    deviation = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / max(len(rewards) - 1, 1))
    if deviation < 1e-8:
        return None
    return [(reward - mean) / (deviation + 1e-4) for reward in rewards]
