"""Keys and values so far: preallocated, one slot per stream, every slot at its own length.

Knows transformers' cache protocol as far as Llama's attention uses it (`update`); not what the positions mean.
Shapes: R rows of a forward call, Q new positions, K positions seen, S slots, C capacity.
"""

from __future__ import annotations

import torch
from transformers import LlamaModel


class Slots:
    """The cache. The last position of a slot is a bin for padding; nothing attends to it."""

    def __init__(self, language_model: LlamaModel, slots: int, capacity: int):
        config, weight = language_model.config, language_model.norm.weight
        heads = config.num_key_value_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, slots, capacity + 1, heads, width)
        self.keys = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self.values = torch.zeros_like(self.keys)
        self.capacity = capacity
        self.lengths = [0] * slots
        self.free = list(range(slots))

    def take(self) -> int:
        """An empty slot."""
        slot = self.free.pop()
        self.lengths[slot] = 0
        return slot

    def copy(self, source: int, target: int) -> None:
        """Everything `source` has seen, to `target`, which then goes its own way."""
        length = self.lengths[source]
        for stored in (self.keys, self.values):
            stored[:, target, :length] = stored[:, source, :length]
        self.lengths[target] = length

    def give_back(self, slot: int) -> None:
        self.free.append(slot)


class Window:
    """What one forward call writes to and sees of the cache."""

    def __init__(self, slots: Slots, rows: list[int], counts: list[int]):
        device, most = slots.keys.device, max(counts)
        starts = torch.tensor([slots.lengths[row] for row in rows], device=device)
        steps = torch.arange(most, device=device)
        new = steps < torch.tensor(counts, device=device)[:, None]  # (R, Q)
        self.positions = torch.where(new, starts[:, None] + steps, slots.capacity)  # (R, Q)
        self.rows = torch.tensor(rows, device=device)[:, None]
        self.seen = max(slots.lengths[row] + count for row, count in zip(rows, counts, strict=True))
        self.slots = slots
        for row, count in zip(rows, counts, strict=True):
            slots.lengths[row] += count
            if slots.lengths[row] > slots.capacity:
                raise ValueError(f"a stream grew to {slots.lengths[row]} positions, its slot holds {slots.capacity}")

    @property
    def mask(self) -> torch.Tensor:
        """(R, 1, Q, K) True where a query may look: at its own and earlier positions of its slot."""
        keys = torch.arange(self.seen, device=self.positions.device)
        return (keys <= self.positions[..., None])[:, None]

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: object, **__: object):
        """(R, heads, Q, width) twice → keys and values seen, (R, heads, K, width)."""
        for stored, new in ((self.slots.keys[layer], keys), (self.slots.values[layer], values)):
            stored[self.rows, self.positions] = new.transpose(1, 2)
        rows = self.rows[:, 0]
        return (
            self.slots.keys[layer][rows, : self.seen].transpose(1, 2),
            self.slots.values[layer][rows, : self.seen].transpose(1, 2),
        )
