"""The clipped policy loss of GRPO, with its KL divergence. Shapes: A scored tokens."""

import torch


def policy_loss(
    new: torch.Tensor,
    old: torch.Tensor,
    reference: torch.Tensor,
    advantage: torch.Tensor,
    beta: float,
    clip_range: float,
    untruncated: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per token: the clipped policy loss plus β·KL, and the KL (k3: π_ref/π − log(π_ref/π) − 1). All (A,).

    The KL uses log-probabilities without top-k truncation, `untruncated` (default: `new`) and `reference`, since a
    token outside the reference's top-k would have infinite KL. Tokens with `old` = −inf (dropped by top-k through
    rounding) contribute only their KL.
    """
    possible = old > -torch.inf
    ratio = torch.where(possible, new - old, 0.0).exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip_range, 1 + clip_range) * advantage)
    surrogate = torch.where(possible, surrogate, 0.0)
    log_ratio = reference - (new if untruncated is None else untruncated)
    kl = log_ratio.exp() - log_ratio - 1
    return beta * kl - surrogate, kl


def clip_mask(new: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, clip_range: float) -> torch.Tensor:
    """(A,): 1 where the ratio is clipped, so that the token has no gradient, else 0."""
    ratio = torch.where(old > -torch.inf, new - old, 0.0).detach().exp()
    return ((ratio < 1 - clip_range) & (advantage < 0) | (ratio > 1 + clip_range) & (advantage > 0)).float()
