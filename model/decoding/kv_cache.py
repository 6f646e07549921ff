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

    def acquire(self, *, last: bool = False) -> int:
        """Index of a free slot, emptied: the lowest, or the highest with `last`, so that slots of one kind are
        adjacent.

        Raises IndexError where none is free.
        """
        slot = self.free.pop(-1 if last else 0)
        self.lengths[slot] = self.gaps[slot] = 0
        return slot

    def copy(self, source: int, target: int) -> None:
        """Copy the keys, values, length and gaps of slot `source` to slot `target`."""
        length = self.lengths[source]
        for stored in self.stored:
            stored[target, :, :, :length] = stored[source, :, :, :length]
        self.lengths[target], self.gaps[target] = length, self.gaps[source]

    def extend(self, slots: Sequence[int], counts: Sequence[int]) -> list[int]:
        """Lengthen each slot by its count; returns the first new position of each. Raises ValueError beyond the
        capacity."""
        starts = [self.lengths[slot] for slot in slots]
        for slot, start, count in zip(slots, starts, counts, strict=True):
            if start + count > self.capacity:
                raise ValueError(f"a stream grew to {start + count} positions of {self.capacity}")
            self.lengths[slot] = start + count
        return starts

    def rewind(self, slot: int, count: int) -> None:
        """Shorten a slot by its last `count` positions."""
        self.lengths[slot] -= count

    def snapshot(self) -> tuple[list[int], list[int]]:
        """Lengths and gaps of all slots, for `restore`."""
        return list(self.lengths), list(self.gaps)

    def restore(self, snapshot: tuple[list[int], list[int]]) -> None:
        """Set lengths and gaps back to a snapshot; the positions written since then are overwritten later."""
        self.lengths[:], self.gaps[:] = snapshot

    def zero(self, slot: int) -> None:
        """Fill a slot with zeros: a NaN left in it would reach the next user of the slot, as 0 × NaN in attention."""
        for stored in self.stored:
            stored[slot] = 0

    def rotary_at(self, positions: torch.Tensor) -> Tables:
        """Rotary tables at (R, Q) positions, each (R, Q, 1, …)."""
        return tuple(table[positions][:, :, None] for table in self.rotary)

    def release(self, slot: int) -> None:
        """Return a slot to the free ones."""
        insort(self.free, slot)


LAZY = ("slot_of_each", "places", "span")  # cached properties of a window that hold tensors of its device


class CacheView(Protocol):
    """What a FusedLayer needs of the cache for one call: writing keys and values, attention. A PackedLayer needs a
    CacheWindow."""

    def on(self, device: torch.device) -> "CacheView":
        """The same view with its tensors on another device."""

    def attend(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """(R, Q, (G + 2)·H·W), first all queries, then keys, then values → attention output, (R, Q, G·H·W).
        Queries and keys are rotated; keys and values are written to their positions."""


class CacheWindow:
    """One forward call's view of the cache: the slots of its rows, and the positions that the call writes."""

    def __init__(
        self, slots: KVCache, rows: Sequence[int], counts: Sequence[int], gaps: Sequence[Sequence[int]] | None = None
    ):
        """`gaps`: the new positions, counted from 0, before which each row leaves one out."""
        device, most = slots.rotary[0].device, max(counts)
        starts = slots.extend(rows, counts)
        self.slots = slots
        self.seen = max(slots.lengths[row] for row in rows)
        self.uniform = (
            most == 1 and len(set(starts)) == 1
        )  # one new position per row, the same for all: no mask is needed
        self.row_list = list(rows)
        self.rows = to_device(rows, device)
        self.positions = to_device(starts, device)[:, None]  # (R, Q)
        if most > 1:
            steps = torch.arange(most, device=device)
            new = steps < to_device(counts, device)[:, None]
            self.positions = torch.where(new, self.positions + steps, slots.capacity)
        self.rotary = slots.rotary_at(self.positions + self._left_out(gaps or [()] * len(rows), rows, most))
        self._elsewhere: dict[torch.device, CacheWindow] = {}

    def _left_out(self, gaps: Sequence[Sequence[int]], rows: Sequence[int], most: int) -> torch.Tensor | int:
        """(R, Q) number of positions left out before each new one; adds the new gaps to the slots' counts."""
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
        """(R, Q) slot index of every new position."""
        return self.rows[:, None].expand_as(self.positions).contiguous()

    @cached_property
    def places(self) -> torch.Tensor:
        """(R·Q·H·2,) row indices of the new keys and values in a layer's cache viewed as (…, W)."""
        _, heads, both, capacity, _ = self.slots.stored[0].shape
        first = torch.arange(heads * both, device=self.rows.device) + self.rows[:, None, None] * (heads * both)
        return (first * capacity + self.positions[..., None]).flatten()

    @cached_property
    def span(self) -> "AttentionSpan":
        return AttentionSpan(self.slots, self.row_list, self.rows, self.positions, self.seen, everything=self.uniform)

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
        """Write (R, Q, H, 2, W) keys and values to their positions."""
        width = new.shape[-1]
        self.slots.stored[layer].view(-1, width).index_copy_(0, self.places, new.reshape(-1, width))

    def read(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """(R, Q, H, G, W) queries → attention output, (R, Q, H·G·W)."""
        return self.span.attend(self.slots.stored[layer], queries)

    def attend(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        _, heads, _, _, width = self.slots.stored[layer].shape
        cosines, sines = self.rotary
        every = projected.unflatten(-1, (-1, width))
        turning, values = every.split([every.shape[2] - heads, heads], 2)
        turned = turning * cosines + turning.roll(width // 2, -1) * sines
        queries, keys = turned.split([turned.shape[2] - heads, heads], 2)
        self.write(layer, torch.stack([keys, values], 3))
        return self.read(layer, queries.unflatten(2, (heads, -1)))


class AttentionSpan:
    """The slots that a call's queries attend to, as one slice or an index, and the causal mask of each query."""

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
        """`listed` and `rows`: the slot of every row, as list and tensor; `seen`: positions that are attended to at
        most; `everything`: no mask, each query attends to all of them."""
        self.seen, single = seen, positions.shape[1] == 1
        low, high = min(listed), max(listed) + 1
        near = single and high - low <= 2 * len(
            listed
        )  # slots lie close together: attended to in place, without a copy
        self.slots = slice(low, high) if near else rows
        self.offsets = rows - low if near and list(listed) != list(range(low, high)) else None
        self.mask = None if everything else self._visible(positions)
        stored = slots.stored[0]
        products = single and stored.device.type == "cpu" and stored.dtype.itemsize >= 4
        self.added = self._added(stored) if products else None

    def _visible(self, positions: torch.Tensor) -> torch.Tensor:
        """(R, 1, Q, K) causal mask, True where a query attends: its own and earlier positions of its slot. With slots
        attended to in place, one row for each of these slots."""
        if self.offsets is not None:
            every = positions.new_zeros((self.slots.stop - self.slots.start, 1))
            positions = every.index_copy_(0, self.offsets, positions)
        keys = torch.arange(self.seen, device=positions.device)
        return (keys <= positions[..., None])[:, None]

    def _added(self, stored: torch.Tensor) -> torch.Tensor:
        """The mask as an addend of attention scores, (S·H, 1, K): 0 or −inf."""
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
        """The same as two matrix products and a softmax: faster than the kernel on a CPU with one query position per
        row."""
        each, width = queries.shape[3:]
        keys, values = stored.flatten(0, 1).unbind(1)
        scores = torch.baddbmm(self.added, queries.reshape(-1, each, width), keys.transpose(1, 2), alpha=width**-0.5)
        return torch.bmm(scores.softmax(-1), values).view(len(queries), 1, -1)


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor of zeros; on a CPU its memory pages are allocated when first written (calloc by NumPy)."""
    names = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16}
    if device.type == "cpu" and dtype in names:
        return torch.from_numpy(np.zeros(shape, names[dtype]))
    return torch.zeros(shape, dtype=dtype, device=device)


def to_device(numbers: Sequence, device: torch.device) -> torch.Tensor:
    """Numbers as a tensor on a device; copied to a GPU from pinned memory without synchronising."""
    tensor = torch.as_tensor(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
