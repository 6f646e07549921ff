"""Preallocated KV cache: one slot per stream, each with its own length.

Knows nothing of what the positions mean. Shapes: S slots, C capacity, H heads of keys, W width of a head.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

import numpy as np
import torch

Tables = tuple[torch.Tensor, ...]


class Slots:
    """The cache. The last position of a slot is a bin for padding; nothing attends to it.

    `rotary`: tables of the rotary embedding, (positions, …), for the layers to read. `gaps` counts the positions that
    a slot has left out: it turns by so many more than it has stored.
    """

    def __init__(self, shape: tuple[int, int, int], count: int, devices: Sequence[torch.device], rotary: Tables):
        """shape: H, C, W; `devices`: where each layer is."""
        heads, self.capacity, width = shape
        dtype, shape = rotary[0].real.dtype, (count, heads, 2, self.capacity + 1, width)
        self.stored = [zeros(shape, dtype, device) for device in devices]  # keys, values
        self.rotary = rotary
        self.lengths = [0] * count
        self.gaps = [0] * count
        self.free = list(range(count))

    def take(self, *, last: bool = False) -> int:
        """An empty slot, the first that is free, or the last: what is used at the same time stays close together."""
        slot = self.free.pop(-1 if last else 0)
        self.lengths[slot] = self.gaps[slot] = 0
        return slot

    def copy(self, source: int, target: int) -> None:
        """Everything `source` has seen, to `target`, which then goes its own way."""
        length = self.lengths[source]
        for stored in self.stored:
            stored[target, :, :, :length] = stored[source, :, :, :length]
        self.lengths[target], self.gaps[target] = length, self.gaps[source]

    def extend(self, slots: Sequence[int], counts: Sequence[int]) -> list[int]:
        """So many more positions in each; where they begin. Raises ValueError where there is no room."""
        starts = [self.lengths[slot] for slot in slots]
        for slot, start, count in zip(slots, starts, counts, strict=True):
            if start + count > self.capacity:
                raise ValueError(f"a stream grew to {start + count} positions of {self.capacity}")
            self.lengths[slot] = start + count
        return starts

    def rewind(self, slot: int, count: int) -> None:
        """Forget the last `count` positions."""
        self.lengths[slot] -= count

    def marked(self) -> tuple[list[int], list[int]]:
        """How long every slot is, for `reset`."""
        return list(self.lengths), list(self.gaps)

    def reset(self, mark: tuple[list[int], list[int]]) -> None:
        """Forget all positions since a mark."""
        self.lengths[:], self.gaps[:] = mark

    def wipe(self, slot: int) -> None:
        """Zeros everywhere: what is not finite would reach the next that uses it, as 0 × NaN."""
        for stored in self.stored:
            stored[slot] = 0

    def turns(self, positions: torch.Tensor) -> Tables:
        """The rotary tables at (R, Q) positions, each (R, Q, 1, …)."""
        return tuple(table[positions][:, :, None] for table in self.rotary)

    def give_back(self, slot: int) -> None:
        insort(self.free, slot)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros which on a CPU take memory only as they are written to."""
    names = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16}
    if device.type == "cpu" and dtype in names:
        return torch.from_numpy(np.zeros(shape, names[dtype]))
    return torch.zeros(shape, dtype=dtype, device=device)
