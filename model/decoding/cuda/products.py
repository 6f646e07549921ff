"""Matrix products of a decoder layer, fused with the operations before and after them.

Shapes: R rows, Q positions, I and O what a matrix takes and gives.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import LlamaRMSNorm

Product = Callable[..., torch.Tensor]  # takes and gives what `by_torch` does


def by_torch(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    norm: LlamaRMSNorm | None = None,
    gate: Callable[[torch.Tensor], torch.Tensor] | None = None,
    onto: torch.Tensor | None = None,
) -> torch.Tensor:
    """Inputs (R, Q, I), normalised first where a norm is given, times a matrix (O, I) → (R, Q, O).

    `gate`: the first half goes through it, and multiplies the other, (R, Q, O / 2). `onto`: is added to this, where it
    is.
    """
    if norm is not None:
        inputs = normal(norm, inputs)
    if onto is not None:
        if bias is not None:
            onto.add_(bias)
        onto.view(-1, onto.shape[-1]).addmm_(inputs.flatten(0, 1), weight.t())
        return onto
    out = F.linear(inputs, weight, bias)
    if gate is None:
        return out
    opening, through = out.chunk(2, -1)
    return gate(opening) * through


def normal(norm: LlamaRMSNorm, hidden: torch.Tensor) -> torch.Tensor:
    """Root-mean-square normalisation, computed in float32 whatever it is of."""
    if hidden.dtype == torch.float64:
        return norm.weight * F.rms_norm(hidden.float(), hidden.shape[-1:], eps=norm.variance_epsilon).double()
    return F.rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)
