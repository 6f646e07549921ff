"""The KV cache of the decode loop: preallocated slots, one per stream, and a forward call's window onto them.

A slot holds a stream's keys and values and has its own length. A window knows the positions that a call writes, their
rotary embedding and mask, and attends over the slots. Nothing here knows what the positions mean.

Shapes: R rows of the call, Q new positions, K positions seen, S slots, C capacity, H heads of keys, G queries that
share one, W width of a head.
"""

from bisect import insort
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

Tables = tuple[torch.Tensor, ...]


class KVCache:
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


LAZY = ("slot_of_each", "places", "sight")  # what a window makes for the device it is on


class CacheView(Protocol):
    """Where a plain layer's keys and values go, and what its queries find. A packed one, of a small network, wants a
    CacheWindow."""

    def on(self, device: torch.device) -> "CacheView":
        """The same where another layer is."""

    def attend(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """(R, Q, (G + 2)·H·W), first all queries, then keys, then values: turned, written to their positions → what
        the queries find, (R, Q, G·H·W)."""


class CacheWindow:
    """A view of some slots, and of the positions that come to them."""

    def __init__(
        self, slots: KVCache, rows: Sequence[int], counts: Sequence[int], gaps: Sequence[Sequence[int]] | None = None
    ):
        """`gaps`: the new positions, counted from 0, before which each row leaves one out."""
        device, most = slots.rotary[0].device, max(counts)
        starts = slots.extend(rows, counts)
        self.slots = slots
        self.seen = max(slots.lengths[row] for row in rows)
        self.alike = most == 1 and len(set(starts)) == 1  # one position each, the same: everybody sees everything
        self.listed = list(rows)
        self.rows = to_device(rows, device)
        self.positions = to_device(starts, device)[:, None]  # (R, Q)
        if most > 1:
            steps = torch.arange(most, device=device)
            new = steps < to_device(counts, device)[:, None]
            self.positions = torch.where(new, self.positions + steps, slots.capacity)
        self.rotary = slots.turns(self.positions + self._left_out(gaps or [()] * len(rows), rows, most))
        self._elsewhere: dict[torch.device, CacheWindow] = {}

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
        return to_device(counted, self.positions.device)

    @cached_property
    def slot_of_each(self) -> torch.Tensor:
        """(R, Q) the slot that every position is of."""
        return self.rows[:, None].expand_as(self.positions).contiguous()

    @cached_property
    def places(self) -> torch.Tensor:
        """(R·Q·H·2,) where keys and values of the positions go: rows of a layer's cache seen as (…, W)."""
        _, heads, both, capacity, _ = self.slots.stored[0].shape
        first = torch.arange(heads * both, device=self.rows.device) + self.rows[:, None, None] * (heads * both)
        return (first * capacity + self.positions[..., None]).flatten()

    @cached_property
    def sight(self) -> "AttentionSpan":
        return AttentionSpan(self.slots, self.listed, self.rows, self.positions, self.seen, everything=self.alike)

    def on(self, device: torch.device) -> "CacheWindow":
        if device == self.rows.device:
            return self
        if device not in self._elsewhere:
            there = self._elsewhere[device] = copy(self)
            there.rows, there.positions = self.rows.to(device), self.positions.to(device)
            there.rotary = tuple(table.to(device) for table in self.rotary)
            for name in LAZY:
                there.__dict__.pop(name, None)
        return self._elsewhere[device]

    def write(self, layer: int, new: torch.Tensor) -> None:
        """(R, Q, H, 2, W) keys and values, to their positions."""
        width = new.shape[-1]
        self.slots.stored[layer].view(-1, width).index_copy_(0, self.places, new.reshape(-1, width))

    def find(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """(R, Q, H, G, W) queries → what they find, (R, Q, H·G·W)."""
        return self.sight.attend(self.slots.stored[layer], queries)

    def attend(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        _, heads, _, _, width = self.slots.stored[layer].shape
        cosines, sines = self.rotary
        every = projected.unflatten(-1, (-1, width))
        turning, values = every.split([every.shape[2] - heads, heads], 2)
        turned = turning * cosines + turning.roll(width // 2, -1) * sines
        queries, keys = turned.split([turned.shape[2] - heads, heads], 2)
        self.write(layer, torch.stack([keys, values], 3))
        return self.find(layer, queries.unflatten(2, (heads, -1)))


class AttentionSpan:
    """Which slots a call's queries look at together, and how far each may look."""

    def __init__(
        self,
        slots: KVCache,
        listed: Sequence[int],
        rows: torch.Tensor,
        positions: torch.Tensor,
        seen: int,
        *,
        everything: bool = False,
    ):
        """`listed` and `rows`: the slot of every row; `everything`: each may look at all that is `seen`."""
        self.seen, single = seen, positions.shape[1] == 1
        low, high = min(listed), max(listed) + 1
        near = single and high - low <= 2 * len(listed)  # not many others among them: to be looked at in place
        self.slots = slice(low, high) if near else rows
        self.offsets = rows - low if near and list(listed) != list(range(low, high)) else None
        self.mask = None if everything else self._visible(positions)
        stored = slots.stored[0]
        products = single and stored.device.type == "cpu" and stored.dtype.itemsize >= 4
        self.added = self._added(stored) if products else None

    def _visible(self, positions: torch.Tensor) -> torch.Tensor:
        """(R, 1, Q, K) True where a query may look: at its own and earlier positions of its slot.

        With slots looked at in place, a row for each of them.
        """
        if self.offsets is not None:
            every = positions.new_zeros((self.slots.stop - self.slots.start, 1))
            positions = every.index_copy_(0, self.offsets, positions)
        keys = torch.arange(self.seen, device=positions.device)
        return (keys <= positions[..., None])[:, None]

    def _added(self, stored: torch.Tensor) -> torch.Tensor:
        """The mask as what is added to scores, (S·H, 1, K)."""
        if self.mask is None:
            return stored.new_zeros(1, 1, 1)
        each = torch.zeros_like(self.mask, dtype=stored.dtype).masked_fill_(~self.mask, -torch.inf)
        return each.expand(-1, stored.shape[1], -1, -1).flatten(0, 1)

    def attend(self, stored: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        stored = stored[self.slots, :, :, : self.seen]
        if self.offsets is not None:
            queries = queries.new_zeros((len(stored), *queries.shape[1:])).index_copy_(0, self.offsets, queries)
        out = self._by_kernel(stored, queries) if self.added is None else self._by_products(stored, queries)
        return out if self.offsets is None else out[self.offsets]

    def _by_kernel(self, stored: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        keys, values = stored.unbind(2)
        asked, grouped = queries.flatten(2, 3).transpose(1, 2), queries.shape[3] > 1
        out = F.scaled_dot_product_attention(asked, keys, values, attn_mask=self.mask, enable_gqa=grouped)
        return out.transpose(1, 2).flatten(2)

    def _by_products(self, stored: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """The same in three operations, which for a position each on a CPU are quicker than the kernel."""
        each, width = queries.shape[3:]
        keys, values = stored.flatten(0, 1).unbind(1)
        scores = torch.baddbmm(self.added, queries.reshape(-1, each, width), keys.transpose(1, 2), alpha=width**-0.5)
        return torch.bmm(scores.softmax(-1), values).view(len(queries), 1, -1)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros which on a CPU take memory only as they are written to."""
    names = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16}
    if device.type == "cpu" and dtype in names:
        return torch.from_numpy(np.zeros(shape, names[dtype]))
    return torch.zeros(shape, dtype=dtype, device=device)


def to_device(numbers: Sequence, device: torch.device) -> torch.Tensor:
    """Numbers, as a tensor of a device; on a GPU nobody waits for what it still has to do before they arrive."""
    tensor = torch.as_tensor(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
