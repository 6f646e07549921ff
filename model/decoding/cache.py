"""Keys and values so far: preallocated, one slot per stream, every slot at its own length.

Knows nothing of what the positions mean. Shapes: R rows of a forward call, Q new positions, K positions seen, S slots,
C capacity, H heads of keys, W width of a head.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from copy import copy

import torch
import torch.nn.functional as F


class Slots:
    """The cache. The last position of a slot is a bin for padding; nothing attends to it.

    `cosines`, `sines` are the rotary embedding of every position, (positions, W), the sign of the rotation in the
    sines. `gaps` counts the positions that a slot has left out: it turns by so many more than it has stored.
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        devices: Sequence[torch.device],
        cosines: torch.Tensor,
        sines: torch.Tensor,
    ):
        """`devices`: where each layer is."""
        count, _, length, _ = shape
        self.keys = [torch.zeros(shape, dtype=cosines.dtype, device=device) for device in devices]  # (S, H, C + 1, W)
        self.values = [torch.zeros_like(keys) for keys in self.keys]
        self.cosines, self.sines = cosines, sines
        self.capacity = length - 1
        self.lengths = [0] * count
        self.gaps = [0] * count
        self.free = list(range(count))

    def take(self) -> int:
        """An empty slot, the first that is free: what is in use stays close together."""
        slot = heapq.heappop(self.free)
        self.lengths[slot] = self.gaps[slot] = 0
        return slot

    def copy(self, source: int, target: int) -> None:
        """Everything `source` has seen, to `target`, which then goes its own way."""
        length = self.lengths[source]
        for stored in (*self.keys, *self.values):
            stored[target, :, :length] = stored[source, :, :length]
        self.lengths[target], self.gaps[target] = length, self.gaps[source]

    def rewind(self, slot: int, count: int) -> None:
        """Forget the last `count` positions."""
        self.lengths[slot] -= count

    def give_back(self, slot: int) -> None:
        heapq.heappush(self.free, slot)


class Window:
    """What one forward call writes to and sees of the cache."""

    def __init__(
        self, slots: Slots, rows: Sequence[int], counts: Sequence[int], gaps: Sequence[Sequence[int]] | None = None
    ):
        """`gaps`: the new positions, counted from 0, before which each row leaves one out."""
        device, most = slots.cosines.device, max(counts)
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
        self.cosines = slots.cosines[turns][:, :, None]  # (R, Q, 1, W)
        self.sines = slots.sines[turns][:, :, None]
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
            for name in ("rows", "positions", "cosines", "sines", "_mask"):
                if (tensor := getattr(self, name)) is not None:
                    setattr(there, name, tensor.to(device))
        return self._elsewhere[device]

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """(R, Q, H, W) twice, to their positions."""
        at = (self.rows[:, None], slice(None), self.positions)
        self.slots.keys[layer][at] = keys
        self.slots.values[layer][at] = values

    def attend(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """(R, heads, Q, W) queries → what they find, of the same shape."""
        keys, values = self.slots.keys[layer], self.slots.values[layer]
        grouped = {"attn_mask": self._mask, "enable_gqa": queries.shape[1] != keys.shape[1]}
        if self._view is None:
            keys, values = (stored[self.rows, :, : self.seen] for stored in (keys, values))
            return F.scaled_dot_product_attention(queries, keys, values, **grouped)
        keys, values = (stored[self._view, :, : self.seen] for stored in (keys, values))
        if self._all:
            return F.scaled_dot_product_attention(queries, keys, values, **grouped)
        asked = queries.new_zeros((len(keys), *queries.shape[1:])).index_copy_(0, self._offsets, queries)
        return F.scaled_dot_product_attention(asked, keys, values, **grouped)[self._offsets]
