"""The clipped policy loss of GRPO, with its KL divergence. Shapes: A scored tokens."""

import torch


def policy_loss(
    new: torch.Tensor,
    old: torch.Tensor,
    reference: torch.Tensor,
    advantage: torch.Tensor,
    beta: float,
    clip: float,
    untruncated: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per token: the clipped policy loss plus β·KL, and the KL (k3: π_ref/π − log(π_ref/π) − 1). All (A,).

    The KL is of `untruncated` (default: `new`) and `reference`, distributions without top-k: a token that the reference
    has below its top k would be infinitely far away. A token that rounding has put below the own top k (`old` is −inf)
    has no ratio, and adds nothing but its KL.
    """
    possible = old > -torch.inf
    ratio = torch.where(possible, new - old, 0.0).exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    surrogate = torch.where(possible, surrogate, 0.0)
    log_ratio = reference - (new if untruncated is None else untruncated)
    divergence = log_ratio.exp() - log_ratio - 1
    return beta * divergence - surrogate, divergence


def clipped(new: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, clip: float) -> torch.Tensor:
    """(A,) 1 where the clipped ratio is what counts, so that a token no longer learns: else 0."""
    ratio = torch.where(old > -torch.inf, new - old, 0.0).detach().exp()
    return ((ratio < 1 - clip) & (advantage < 0) | (ratio > 1 + clip) & (advantage > 0)).float()
