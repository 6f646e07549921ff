"""The language model's layers, written out for decoding: few and large operations, keys and values in slots.

Knows transformers' Llama modules and computes what they compute; not what the positions mean. Queries, keys and values
are one product, gates and their inputs another: the modules' own weights, laid side by side in memory, so that what
trains the modules trains these.

Shapes: R rows, Q new positions, D hidden size, H heads of keys, W width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from model.decoding.cache import Slots, Window

SPARE = 16  # positions that a stream may leave out
PACKED = 16_000_000  # bytes at most of a matrix that is packed
ROWS = 16  # for which it is packed

Map = Callable[[torch.Tensor], torch.Tensor]  # (…, inputs) → (…, outputs)


class Llama:
    """A language model ready to decode; to be made anew when the modules' weights were exchanged (not: trained)."""

    def __init__(self, model: LlamaModel):
        config = model.config
        self.model = model
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.weight = model.norm.weight  # for its type and place
        self.layers = [
            (
                layer,
                joint([layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]),
                joint([layer.self_attn.o_proj]),
                joint([layer.mlp.gate_proj, layer.mlp.up_proj]),
                joint([layer.mlp.down_proj]),
            )
            for layer in model.layers
        ]

    def slots(self, count: int, capacity: int) -> Slots:
        """An empty cache of `count` slots of `capacity` positions."""
        shape = (count, self.key_heads, capacity + 1, self.width)
        positions = torch.arange(capacity + 1 + SPARE, device=self.weight.device)
        cosines, sines = self.model.rotary_emb(self.weight, positions[None])
        half = self.width // 2
        signs = torch.cat([-torch.ones(half), torch.ones(half)]).to(sines)
        devices = [layer.input_layernorm.weight.device for layer, *_ in self.layers]
        return Slots(shape, devices, cosines[0], sines[0] * signs)

    def __call__(self, hidden: torch.Tensor, window: Window) -> torch.Tensor:
        """(R, Q, D) inputs, written to the window's slots → (R, Q, D) hidden states."""
        for number, (layer, attention, output, gates, down) in enumerate(self.layers):
            device = layer.input_layernorm.weight.device
            hidden = hidden.to(device)
            projected = attention(normal(layer.input_layernorm, hidden))
            hidden = hidden + output(self._attend(projected, window.on(device), number))
            gate, up = gates(normal(layer.post_attention_layernorm, hidden)).chunk(2, -1)
            hidden = hidden + down(layer.mlp.act_fn(gate) * up)
        return normal(self.model.norm, hidden.to(self.weight.device))

    def _attend(self, projected: torch.Tensor, window: Window, number: int) -> torch.Tensor:
        """(R, Q, …) queries, keys and values side by side → (R, Q, heads · W) what was found."""
        rows, count = projected.shape[:2]
        every = projected.view(rows, count, -1, self.width)
        turning, values = every.split([self.heads + self.key_heads, self.key_heads], 2)
        turned = turning * window.cosines + turning.roll(self.width // 2, -1) * window.sines
        queries, keys = turned.split([self.heads, self.key_heads], 2)
        window.write(number, keys, values)
        return window.attend(number, queries.transpose(1, 2)).transpose(1, 2).reshape(rows, count, -1)


def normal(norm: LlamaRMSNorm, hidden: torch.Tensor) -> torch.Tensor:
    """Root-mean-square normalisation, in float32 as transformers does it."""
    exact = F.rms_norm(hidden.float(), hidden.shape[-1:], eps=norm.variance_epsilon)
    return norm.weight * exact.to(hidden.dtype)


def joint(parts: Sequence[nn.Linear]) -> Map:
    """One map in place of several. Their weights become views of its own, and are left where they are so already.

    On a CPU a small network's are packed in oneDNN's order besides, which takes half the time: a copy.
    """
    weight = _side_by_side([part.weight for part in parts])
    bias = None if parts[0].bias is None else _side_by_side([part.bias for part in parts])
    if weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.nbytes <= PACKED:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        return lambda inputs: torch.ops.mkldnn._linear_pointwise(inputs, packed, bias, "none", [], "")
    return lambda inputs: F.linear(inputs, weight, bias)


@torch.no_grad()
def _side_by_side(parts: Sequence[nn.Parameter]) -> torch.Tensor:
    first, ends = parts[0], [part.data_ptr() + part.nbytes for part in parts]
    storage = first.untyped_storage().data_ptr()
    together = all(part.untyped_storage().data_ptr() == storage and part.is_contiguous() for part in parts)
    if together and all(end == part.data_ptr() for end, part in zip(ends[:-1], parts[1:], strict=True)):
        shape = (sum(len(part) for part in parts), *first.shape[1:])
        return first.detach().as_strided(shape, first.stride())
    whole = torch.cat([part.detach() for part in parts])
    for part, view in zip(parts, whole.split([len(part) for part in parts]), strict=True):
        part.data = view
    return whole
