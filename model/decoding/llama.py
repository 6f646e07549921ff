"""The language model's layers, written out for decoding: few and large operations, keys and values in slots.

Knows transformers' Llama modules and computes what they compute; not what the positions mean.

Shapes: R rows, Q new positions, D hidden size, H heads of keys, W width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm

from model.decoding.cache import Slots, Tables, Window

SPARE = 16  # positions that a stream may leave out
PACKED = 16_000_000  # bytes at most of a matrix that is packed
ROWS = 16  # for which it is packed


class Layer(Protocol):
    """A decoder layer and the rotary embedding it wants."""

    device: torch.device

    def __call__(self, hidden: torch.Tensor, window: Window, number: int) -> torch.Tensor:
        """(R, Q, D) → (R, Q, D); writes keys and values to the window's slots as layer `number`."""

    def rotary(self, cosines: torch.Tensor, sines: torch.Tensor) -> Tables:
        """What it reads of the cosines and sines of all positions, (positions, W)."""


class Llama:
    """A language model ready to decode. On a CPU a small network's weights are copied: made anew when they change."""

    def __init__(self, model: LlamaModel):
        self.model = model
        self.key_heads = model.config.num_key_value_heads
        self.width = _width(model)
        kind = Packed if _packable(model) else Plain
        self.layers: list[Layer] = [kind(layer, model.config.num_attention_heads, self.width) for layer in model.layers]

    def slots(self, count: int, capacity: int) -> Slots:
        """An empty cache of `count` slots of `capacity` positions."""
        weight = self.model.norm.weight
        positions = torch.arange(capacity + 1 + SPARE, device=weight.device)
        cosines, sines = self.model.rotary_emb(weight, positions[None])
        rotary = self.layers[0].rotary(cosines[0], sines[0])
        devices = [layer.device for layer in self.layers]
        return Slots((self.key_heads, capacity, self.width), count, devices, rotary)

    def __call__(self, hidden: torch.Tensor, window: Window) -> torch.Tensor:
        """(R, Q, D) inputs, written to the window's slots → (R, Q, D) hidden states."""
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden.to(layer.device), window.on(layer.device), number)
        return normal(self.model.norm, hidden.to(self.model.norm.weight.device))


def _width(model: LlamaModel) -> int:
    config = model.config
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _packable(model: LlamaModel) -> bool:
    config, weight = model.config, model.layers[0].mlp.down_proj.weight
    plain = config.hidden_act == "silu" and not config.attention_bias and not config.mlp_bias
    here = weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    return plain and here and 2 * weight.nbytes <= PACKED


class Plain:
    """Queries, keys and values are one product, gates and their inputs another: of the modules' own weights, laid side
    by side in memory, so that what trains the modules trains these."""

    def __init__(self, layer: LlamaDecoderLayer, heads: int, width: int):
        attention, mlp = layer.self_attn, layer.mlp
        self.layer, self.heads, self.width = layer, heads, width
        self.device = layer.input_layernorm.weight.device
        self.attention = side_by_side([attention.q_proj, attention.k_proj, attention.v_proj])
        self.gates = side_by_side([mlp.gate_proj, mlp.up_proj])

    def rotary(self, cosines: torch.Tensor, sines: torch.Tensor) -> Tables:
        """The sign of the rotation goes into the sines."""
        half = self.width // 2
        return cosines, torch.cat([-sines[:, :half], sines[:, half:]], -1)

    def __call__(self, hidden: torch.Tensor, window: Window, number: int) -> torch.Tensor:
        layer, (rows, count), (cosines, sines) = self.layer, hidden.shape[:2], window.rotary
        projected = F.linear(normal(layer.input_layernorm, hidden), *self.attention).view(rows, count, -1, self.width)
        key_heads = (projected.shape[2] - self.heads) // 2
        turning, values = projected.split([self.heads + key_heads, key_heads], 2)
        turned = turning * cosines + turning.roll(self.width // 2, -1) * sines
        queries, keys = turned.split([self.heads, key_heads], 2)
        window.write(number, torch.stack([keys, values], 2))
        found = window.attend(number, queries.transpose(1, 2)).transpose(1, 2).reshape(rows, count, -1)
        hidden = hidden + layer.self_attn.o_proj(found)
        gate, up = F.linear(normal(layer.post_attention_layernorm, hidden), *self.gates).chunk(2, -1)
        return hidden + layer.mlp.down_proj(layer.mlp.act_fn(gate) * up)


class Packed:
    """The same for small networks on a CPU, where an operation costs more than what it computes: weights in oneDNN's
    order, with activations and additions fused into the products, the norms' weights multiplied into the matrices, and
    what is rotated together side by side, as complex numbers."""

    def __init__(self, layer: LlamaDecoderLayer, heads: int, width: int):
        attention, mlp = layer.self_attn, layer.mlp
        self.heads, self.width, self.device = heads, width, torch.device("cpu")
        self.norms = (layer.input_layernorm, layer.post_attention_layernorm)
        first, second = (norm.weight.detach() for norm in self.norms)
        turned = [_in_pairs(projection.weight, width) for projection in (attention.q_proj, attention.k_proj)]
        self.attention = _pack(torch.cat([*turned, attention.v_proj.weight]) * first)
        self.output = _pack(attention.o_proj.weight)
        self.gate, self.up = _pack(mlp.gate_proj.weight * second), _pack(mlp.up_proj.weight * second)
        self.down = _pack(mlp.down_proj.weight)

    def rotary(self, cosines: torch.Tensor, sines: torch.Tensor) -> Tables:
        half = self.width // 2
        return (torch.complex(cosines[:, :half].contiguous(), sines[:, :half].contiguous()),)

    def __call__(self, hidden: torch.Tensor, window: Window, number: int) -> torch.Tensor:
        (rows, count, size), (turns,) = hidden.shape, window.rotary
        inputs = F.rms_norm(hidden, (size,), eps=self.norms[0].variance_epsilon)
        projected = _product(inputs, self.attention).view(rows, count, -1, self.width)
        key_heads = (projected.shape[2] - self.heads) // 2
        turning = projected[:, :, : self.heads + key_heads]
        pairs = torch.view_as_complex(turning.unflatten(-1, (-1, 2)))
        turning.copy_(torch.view_as_real(pairs * turns).flatten(-2))
        queries, new = projected.split([self.heads, 2 * key_heads], 2)
        window.write(number, new.unflatten(2, (2, key_heads)))
        found = window.attend(number, queries.transpose(1, 2)).transpose(1, 2).reshape(rows, count, -1)
        hidden = _product(found, self.output, "add", hidden)
        inputs = F.rms_norm(hidden, (size,), eps=self.norms[1].variance_epsilon)
        gated = _product(inputs, self.up, "mul", _product(inputs, self.gate, "swish"))
        return _product(gated, self.down, "add", hidden)


def _in_pairs(weight: torch.Tensor, width: int) -> torch.Tensor:
    """Rows of every head in the order 0, W/2, 1, W/2 + 1, …: what a rotation turns together."""
    return weight.detach().unflatten(0, (-1, 2, width // 2)).transpose(1, 2).flatten(0, 2)


def _pack(weight: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)


def _product(
    inputs: torch.Tensor, packed: torch.Tensor, fused: str = "none", other: torch.Tensor | None = None
) -> torch.Tensor:
    """inputs · packedᵀ, then the activation `fused`, or the operation `fused` with `other`."""
    if other is None:
        return torch.ops.mkldnn._linear_pointwise(inputs, packed, None, fused, [], "")
    return torch.ops.mkldnn._linear_pointwise.binary(inputs, other, packed, None, fused)


def normal(norm: LlamaRMSNorm, hidden: torch.Tensor) -> torch.Tensor:
    """Root-mean-square normalisation, in float32 as transformers does it."""
    exact = F.rms_norm(hidden.float(), hidden.shape[-1:], eps=norm.variance_epsilon)
    return norm.weight * exact.to(hidden.dtype)


def side_by_side(parts: Sequence[nn.Linear]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of several linear maps as one. Theirs become views of them, and are left where they are so."""
    bias = None if parts[0].bias is None else _joined([part.bias for part in parts])
    return _joined([part.weight for part in parts]), bias


@torch.no_grad()
def _joined(parts: Sequence[nn.Parameter]) -> torch.Tensor:
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
