"""Block-wise causal attention for training on a CPU.

torch's own kernel takes three times as long in bfloat16 for 220 positions, forward and back, and eight times for 100.
Right-padded batches only: nothing but the order of positions is masked.
"""

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from model.backends.janus import Janus

BLOCK = 128  # queries
NAME = "blocks"


def attend_in_blocks(janus: Janus) -> None:
    """Let the language model attend so, from here on, where it is on a CPU."""
    if janus.device.type == "cpu":
        AttentionInterface.register(NAME, _attend)
        AttentionMaskInterface.register(NAME, _no_mask)
        janus.network.model.language_model.config._attn_implementation = NAME


def attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """(B, H, T, W) each → (B, H, T, W): position t sees positions 0 … t."""
    parts: list[torch.Tensor] = []
    last = queries.shape[2]
    for start in range(0, last, BLOCK):
        stop = min(start + BLOCK, last)
        scores = (queries[:, :, start:stop] * scale) @ keys[:, :, :stop].transpose(2, 3)
        later = torch.full((stop - start, stop), -torch.inf, dtype=scores.dtype, device=scores.device).triu(start + 1)
        parts.append((scores + later).softmax(-1).to(values.dtype) @ values[:, :, :stop])
    return torch.cat(parts, 2)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """In transformers' form: (B, T, H, W) out."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, 1) if groups > 1 else each for each in (key, value))
    return attention(query, key, value, scaling).transpose(1, 2).contiguous(), None


def _no_mask(*_: object, **__: object) -> None:
    return None
