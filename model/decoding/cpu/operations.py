"""Decode-step operations of a small network on a CPU by torch's kernels; `native` has the same interface.

Shapes: R rows, Q new positions, D hidden size, H heads of keys, G queries that share one, W width of a head.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from model.decoding.kv_cache import CacheWindow

ROWS = 16  # for which matrices are packed


@dataclass(frozen=True)
class Shape:
    """Of every layer."""

    each: int  # G
    width: int  # W
    least: float  # added to the sum of squares: D times Llama's ε


class Operations(Protocol):
    """All take and give (R, Q, …), float32."""

    shape: Shape

    def packed(self, weight: torch.Tensor) -> Any:
        """A matrix (O, I) in the form that `product` takes."""

    def product(self, inputs: torch.Tensor, weight: Any, added: torch.Tensor | None = None) -> torch.Tensor:
        """inputs · weightᵀ + added; (O,) or (R, Q, O) is added."""

    def normal(self, hidden: torch.Tensor) -> torch.Tensor:
        """Divided by its length: root-mean-square normalisation, when the next matrix takes over the weight."""

    def attend(self, projected: torch.Tensor, window: CacheWindow, layer: int) -> torch.Tensor:
        """(R, Q, H·(G + 2)·W), every head of keys beside its queries and its values, in pairs of what is rotated
        together: written to the window's slots → what the queries find, (R, Q, H·G·W). May overwrite its input."""

    def gated(self, both: torch.Tensor) -> torch.Tensor:
        """(R, Q, 2 I), gates and what they let through → (R, Q, I)."""


class Kernels:
    """oneDNN's products, of matrices in its own order, and torch for the rest."""

    def __init__(self, shape: Shape):
        self.shape = shape
        self.least = torch.tensor(shape.least**0.5)

    def packed(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS)

    def product(self, inputs: torch.Tensor, weight: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        if added is None or added.ndim == 1:
            return torch.ops.mkldnn._linear_pointwise.default(inputs, weight, added, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(inputs, added, weight, None, "add")

    def normal(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden / torch.linalg.vector_norm(hidden, dim=-1, keepdim=True).hypot_(self.least)

    def attend(self, projected: torch.Tensor, window: CacheWindow, layer: int) -> torch.Tensor:
        each, width = self.shape.each, self.shape.width
        heads = projected.unflatten(-1, (-1, each + 2, width))
        torch.view_as_complex(heads.unflatten(-1, (-1, 2))).mul_(window.rotary[0])
        window.write(layer, heads[..., each:, :])
        return window.read(layer, heads[..., :each, :])

    def gated(self, both: torch.Tensor) -> torch.Tensor:
        gate, through = both.chunk(2, -1)
        return F.silu(gate).mul_(through)
