"""Keys and values so far: preallocated, one slot per stream, every slot at its own length.

Knows nothing of what the positions mean. Shapes: R rows of a forward call, Q new positions, K positions seen, S slots,
C capacity, H heads of keys, W width of a head.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
import torch.nn.functional as F

Tables = tuple[torch.Tensor, ...]


class Slots:
    """The cache. The last position of a slot is a bin for padding; nothing attends to it.

    `rotary`: tables of the rotary embedding, (positions, …), for the layers to read. `gaps` counts the positions that
    a slot has left out: it turns by so many more than it has stored.
    """

    def __init__(self, shape: tuple[int, int, int], count: int, devices: Sequence[torch.device], rotary: Tables):
        """shape: H, C, W; `devices`: where each layer is."""
        heads, self.capacity, width = shape
        dtype, shape = rotary[0].real.dtype, (count, 2, heads, self.capacity + 1, width)
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

    def rewind(self, slot: int, count: int) -> None:
        """Forget the last `count` positions."""
        self.lengths[slot] -= count

    def give_back(self, slot: int) -> None:
        insort(self.free, slot)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros which on a CPU take memory only as they are written to."""
    names = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16}
    if device.type == "cpu" and dtype in names:
        return torch.from_numpy(np.zeros(shape, names[dtype]))
    return torch.zeros(shape, dtype=dtype, device=device)


class Window:
    """What one forward call writes to and sees of the cache."""

    def __init__(
        self, slots: Slots, rows: Sequence[int], counts: Sequence[int], gaps: Sequence[Sequence[int]] | None = None
    ):
        """`gaps`: the new positions, counted from 0, before which each row leaves one out."""
        device, most = slots.rotary[0].device, max(counts)
        starts = [slots.lengths[row] for row in rows]
        for row, count in zip(rows, counts, strict=True):
            if slots.lengths[row] + count > slots.capacity:
                raise ValueError(f"a stream grew to {slots.lengths[row] + count} positions of {slots.capacity}")
            slots.lengths[row] += count
        self.slots = slots
        self.seen = max(slots.lengths[row] for row in rows)
        self.rows = torch.tensor(rows, device=device)
        self.positions = torch.tensor(starts, device=device)[:, None]  # (R, Q)
        if most > 1:
            steps = torch.arange(most, device=device)
            new = steps < torch.tensor(counts, device=device)[:, None]
            self.positions = torch.where(new, self.positions + steps, slots.capacity)
        turns = self.positions + self._left_out(gaps or [()] * len(rows), rows, most)
        self.rotary = tuple(table[turns][:, :, None] for table in slots.rotary)  # each (R, Q, 1, …)
        self._view = self._neighbours(rows) if most == 1 else None
        self._mask = self._visible(starts, counts)
        self._elsewhere: dict[torch.device, Window] = {}

    def _left_out(self, gaps: Sequence[Sequence[int]], rows: Sequence[int], most: int) -> torch.Tensor | int:
        """(R, Q) positions left out so far; the slots remember."""
        if not any(gaps) and not any(self.slots.gaps[row] for row in rows):
            return 0
        before = [self.slots.gaps[row] for row in rows]
        for row, own in zip(rows, gaps, strict=True):
            self.slots.gaps[row] += len(own)
        counted = [
            [n + sum(gap <= at for gap in own) for at in range(most)] for n, own in zip(before, gaps, strict=True)
        ]
        return torch.tensor(counted, device=self.positions.device)

    def _neighbours(self, rows: Sequence[int]) -> slice | None:
        """The slots from the first to the last row, where there are not many others among them: to look at in place."""
        low, high = min(rows), max(rows) + 1
        self._all = list(rows) == list(range(low, high))
        return slice(low, high) if high - low <= 2 * len(rows) else None

    def _visible(self, starts: Sequence[int], counts: Sequence[int]) -> torch.Tensor | None:
        """(R, 1, Q, K) True where a query may look: at its own and earlier positions of its slot; None is everywhere.

        With slots looked at in place, a row for each of them.
        """
        if max(counts) == 1 and len(set(starts)) == 1:
            return None
        limits = self.positions
        if self._view is not None and not self._all:
            limits = limits.new_zeros((self._view.stop - self._view.start, 1)).index_copy_(0, self._offsets, limits)
        keys = torch.arange(self.seen, device=limits.device)
        return (keys <= limits[..., None])[:, None]

    @property
    def _offsets(self) -> torch.Tensor:
        return self.rows - self._view.start

    def on(self, device: torch.device) -> Window:
        """The same where another layer is."""
        if device == self.rows.device:
            return self
        if device not in self._elsewhere:
            there = self._elsewhere[device] = copy(self)
            there.rows, there.positions = self.rows.to(device), self.positions.to(device)
            there.rotary = tuple(table.to(device) for table in self.rotary)
            there._mask = None if self._mask is None else self._mask.to(device)
        return self._elsewhere[device]

    def write(self, layer: int, new: torch.Tensor) -> None:
        """(R, Q, 2, H, W) keys and values, to their positions."""
        self.slots.stored[layer][self.rows[:, None], :, :, self.positions] = new

    def attend(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """(R, heads, Q, W) queries → what they find, of the same shape."""
        stored = self.slots.stored[layer]
        stored = stored[self.rows, :, :, : self.seen] if self._view is None else stored[self._view, :, :, : self.seen]
        keys, values = stored.unbind(1)
        grouped = {"attn_mask": self._mask, "enable_gqa": queries.shape[1] != keys.shape[1]}
        if self._view is None or self._all:
            return F.scaled_dot_product_attention(queries, keys, values, **grouped)
        asked = queries.new_zeros((len(keys), *queries.shape[1:])).index_copy_(0, self._offsets, queries)
        return F.scaled_dot_product_attention(asked, keys, values, **grouped)[self._offsets]
