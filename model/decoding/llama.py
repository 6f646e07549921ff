"""The language model's layers for decoding: fused projections, keys and values in cache slots.

Knows transformers' Llama modules and computes what they compute, up to rounding; not what the positions mean.

Shapes: R rows, Q new positions, D hidden size, H heads of keys, W width of a head.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm

from model.backends.request import MOST_ROUNDS
from model.decoding.cpu.native import native
from model.decoding.cpu.operations import Kernels, Operations, Shape
from model.decoding.kv_cache import CacheView, CacheWindow, KVCache, Tables

PACKED = 16_000_000  # bytes at most of a matrix that is packed


class Layer(Protocol):
    """A decoder layer, and the form in which it reads the rotary embedding."""

    device: torch.device

    def __call__(self, hidden: torch.Tensor, view: CacheView, number: int) -> torch.Tensor:
        """(R, Q, D) → (R, Q, D), maybe in the same memory; writes keys and values as layer `number`."""

    def rotary(self, cosines: torch.Tensor, sines: torch.Tensor) -> Tables:
        """Rotary tables in the layer's form, from cosines and sines of all positions, (positions, W)."""


class Llama:
    """A language model ready to decode. On a CPU a small network's weights are copied: made anew when they change."""

    def __init__(self, model: LlamaModel, operations: Operations | None):
        """`operations`: those of packed layers (`operations_for`); None for layers of torch's own."""
        self.model = model
        self.key_heads = model.config.num_key_value_heads
        self.width = width_of(model.config)

        def ready(layer: LlamaDecoderLayer) -> Layer:
            return FusedLayer(layer) if operations is None else PackedLayer(layer, operations)

        self.layers = [ready(layer) for layer in model.layers]

    def slots(self, count: int, capacity: int) -> KVCache:
        """An empty cache of `count` slots of `capacity` positions."""
        weight = self.model.norm.weight
        positions = torch.arange(capacity + 1 + MOST_ROUNDS, device=weight.device)
        cosines, sines = self.model.rotary_emb(weight, positions[None])
        rotary = self.layers[0].rotary(cosines[0], sines[0])
        devices = [layer.device for layer in self.layers]
        return KVCache((self.key_heads, capacity, self.width), count, devices, rotary)

    def __call__(self, hidden: torch.Tensor, view: CacheView) -> torch.Tensor:
        """(R, Q, D) inputs, which may be overwritten → (R, Q, D) hidden states; keys and values are written to the
        view's slots."""
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden.to(layer.device), view.on(layer.device), number)
        return rms_norm(self.model.norm, hidden.to(self.model.norm.weight.device))


def width_of(config: LlamaConfig) -> int:
    """Of a head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def is_plain(config: LlamaConfig) -> bool:
    """Without biases, and gated by SiLU."""
    return config.hidden_act == "silu" and not config.attention_bias and not config.mlp_bias


def shape_of(config: LlamaConfig) -> Shape:
    """What packed layers need to know of a network's sizes."""
    each = config.num_attention_heads // config.num_key_value_heads
    return Shape(each, width_of(config), config.hidden_size * config.rms_norm_eps)


def operations_for(model: LlamaModel) -> Operations | None:
    """Those that a small network's packed layers are made of on a CPU."""
    config, weight = model.config, model.layers[0].mlp.down_proj.weight
    small = weight.device.type == "cpu" and weight.dtype == torch.float32 and 2 * weight.nbytes <= PACKED
    if not small or not is_plain(config):
        return None
    shape = shape_of(config)
    return native(shape) or (Kernels(shape) if torch.backends.mkldnn.is_available() else None)


class FusedLayer:
    """Queries, keys and values are one product, gates and their inputs another: of the modules' own weights, laid side
    by side in memory, so that what trains the modules trains these."""

    def __init__(self, layer: LlamaDecoderLayer):
        attention, mlp = layer.self_attn, layer.mlp
        self.layer = layer
        self.device = layer.input_layernorm.weight.device
        self.attention = side_by_side([attention.q_proj, attention.k_proj, attention.v_proj])
        self.gates = side_by_side([mlp.gate_proj, mlp.up_proj])

    def rotary(self, cosines: torch.Tensor, sines: torch.Tensor) -> Tables:
        """The sign of the rotation goes into the sines."""
        half = cosines.shape[1] // 2
        return cosines, torch.cat([-sines[:, :half], sines[:, half:]], -1)

    def __call__(self, hidden: torch.Tensor, view: CacheView, number: int) -> torch.Tensor:
        layer, output, down = self.layer, self.layer.self_attn.o_proj, self.layer.mlp.down_proj
        projected = F.linear(rms_norm(layer.input_layernorm, hidden), *self.attention)
        _add_linear(hidden, view.attend(number, projected), output)
        opened, through = F.linear(rms_norm(layer.post_attention_layernorm, hidden), *self.gates).chunk(2, -1)
        return _add_linear(hidden, layer.mlp.act_fn(opened) * through, down)


def rms_norm(norm: LlamaRMSNorm, hidden: torch.Tensor) -> torch.Tensor:
    """Root-mean-square normalisation, computed in float32 whatever `hidden` is of, as transformers does."""
    if hidden.dtype == torch.float64:
        return norm.weight * F.rms_norm(hidden.float(), hidden.shape[-1:], eps=norm.variance_epsilon).double()
    return F.rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)


def _add_linear(hidden: torch.Tensor, inputs: torch.Tensor, linear: nn.Linear) -> torch.Tensor:
    """A linear map of inputs (R, Q, I), added to hidden (R, Q, D) in place, in one operation."""
    if linear.bias is not None:
        hidden.add_(linear.bias)
    hidden.view(-1, hidden.shape[-1]).addmm_(inputs.flatten(0, 1), linear.weight.t())
    return hidden


class PackedLayer:
    """The same for small networks on a CPU, where an operation costs more than what it computes: few of them, on
    weights in an order of theirs; the norms' weights multiplied into the matrices; every head of keys beside its
    queries and its values, and in them what is rotated together side by side, as complex numbers."""

    def __init__(self, layer: LlamaDecoderLayer, operations: Operations):
        attention, mlp, shape, packed = layer.self_attn, layer.mlp, operations.shape, operations.packed
        self.operations, self.shape, self.device = operations, shape, torch.device("cpu")
        first, second = (
            norm.weight.detach() * len(norm.weight) ** 0.5
            for norm in (layer.input_layernorm, layer.post_attention_layernorm)
        )
        queries, keys = (
            _in_pairs(projection.weight, shape.width) for projection in (attention.q_proj, attention.k_proj)
        )
        heads = len(keys) // shape.width
        every = [rows.unflatten(0, (heads, -1)) for rows in (queries, keys, attention.v_proj.weight.detach())]
        self.attention = packed(torch.cat(every, 1).flatten(0, 1) * first)
        self.output = packed(attention.o_proj.weight.detach())
        self.gates = packed(torch.cat([mlp.gate_proj.weight.detach(), mlp.up_proj.weight.detach()]) * second)
        self.down = packed(mlp.down_proj.weight.detach())

    def rotary(self, cosines: torch.Tensor, sines: torch.Tensor) -> Tables:
        """(positions, G + 2, W / 2): queries and keys turn, values stay."""
        half = self.shape.width // 2
        turns = torch.complex(cosines[:, :half].contiguous(), sines[:, :half].contiguous())[:, None]
        return (torch.cat([turns.expand(-1, self.shape.each + 1, -1), torch.ones_like(turns)], 1),)

    def __call__(self, hidden: torch.Tensor, window: CacheWindow, number: int) -> torch.Tensor:
        do = self.operations
        attended = do.attend(do.product(do.normal(hidden), self.attention), window, number)
        hidden = do.product(attended, self.output, hidden)
        opened = do.gated(do.product(do.normal(hidden), self.gates))
        return do.product(opened, self.down, hidden)


def _in_pairs(weight: torch.Tensor, width: int) -> torch.Tensor:
    """Rows of every head in the order 0, W/2, 1, W/2 + 1, …: what a rotation turns together."""
    return weight.detach().unflatten(0, (-1, 2, width // 2)).transpose(1, 2).flatten(0, 2)


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
