"""Causal attention over a packed row of sequences, some of which share their beginning.

A row holds the positions of many sequences without padding; a `Layout` says which of them see which. On a CPU it
is computed block-wise: torch's own kernel takes three times as long in bfloat16 for 220 positions, forward and back,
and eight times for 100. ExportedElsewhere torch's kernel is called for every span.
"""

from dataclasses import dataclass

import torch
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from model.backends.janus import Janus

BLOCK = 128  # queries
NAME = "blocks"


@dataclass(frozen=True)
class Span:
    """Positions `start`…`stop` of a row: each sees the span up to itself, and all of `prefix` (start, stop)."""

    start: int
    stop: int
    prefix: tuple[int, int] = (0, 0)


class Layout:
    """The spans of a packed row, in order, all positions covered. No dataclass: torch.compile would compile anew for
    each."""

    def __init__(self, spans: tuple[Span, ...]):
        self.spans = spans


def attend_in_spans(janus: Janus) -> None:
    """Let the language model attend so, from here on: by the `layout` that its forward is given, or without one
    causally over rows that are one sequence each, padded on the right."""
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _no_mask)
    janus.network.model.language_model.config._attn_implementation = NAME


def attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """(B, H, Q, W), (B, H, K, W) twice → (B, H, Q, W): query t sees the first K − Q keys and those up to its own."""
    before = keys.shape[2] - queries.shape[2]
    if queries.device.type != "cpu":
        bias = causal_lower_right(queries.shape[2], keys.shape[2]) if before else None
        return scaled_dot_product_attention(queries, keys, values, attn_mask=bias, is_causal=not before, scale=scale)
    parts: list[torch.Tensor] = []
    last = queries.shape[2]
    for start in range(0, last, BLOCK):
        stop = min(start + BLOCK, last)
        seen = before + stop
        scores = (queries[:, :, start:stop] * scale) @ keys[:, :, :seen].transpose(2, 3)
        later = torch.full((stop - start, seen), -torch.inf, dtype=scores.dtype, device=scores.device)
        later = later.triu(before + start + 1)
        parts.append((scores + later).softmax(-1).to(values.dtype) @ values[:, :, :seen])
    return torch.cat(parts, 2)


def attention_in_spans(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float, layout: Layout
) -> torch.Tensor:
    """(1, H, N, W) each → (1, H, N, W)."""
    parts: list[torch.Tensor] = []
    for span in layout.spans:
        own, (first, last) = slice(span.start, span.stop), span.prefix
        key, value = keys[:, :, own], values[:, :, own]
        if last > first:
            key, value = (torch.cat([each[:, :, first:last], each[:, :, own]], 2) for each in (keys, values))
        parts.append(attention(queries[:, :, own], key, value, scale))
    return torch.cat(parts, 2)


@torch.compiler.disable
def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    layout: Layout | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """In transformers' form: (B, T, H, W) out."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, 1) if groups > 1 else each for each in (key, value))
    if layout is None:
        attended = attention(query, key, value, scaling)
    else:
        attended = attention_in_spans(query, key, value, scaling, layout)
    return attended.transpose(1, 2).contiguous(), None


def _no_mask(*_: object, **__: object) -> None:
    return None
