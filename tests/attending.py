"""What the decoding kernel that attends computes, in plain operations of torch that ask no number what it is."""

import torch
import torch.nn.functional as F

from model.decoding.kv_cache import Tables


def attend_by_torch(
    stored: torch.Tensor, rotary: Tables, slots: torch.Tensor, positions: torch.Tensor, projected: torch.Tensor
) -> torch.Tensor:
    """See `model.decoding.cuda.triton_attention.attend`."""
    _, heads, both, capacity, width = stored.shape
    cosines, sines = rotary
    every = projected.unflatten(-1, (-1, width))
    turned = every * cosines + every.roll(width // 2, -1) * sines
    queries, keys, values = turned[:, :, : -2 * heads], turned[:, :, -2 * heads : -heads], every[:, :, -heads:]
    first = torch.arange(heads * both, device=slots.device) + slots[:, None, None] * (heads * both)
    places = (first * capacity + positions[..., None]).flatten()
    stored.view(-1, width).index_copy_(0, places, torch.stack([keys, values], 3).reshape(-1, width))
    keys, values = stored[slots].unbind(2)
    mask = (torch.arange(capacity, device=slots.device) <= positions)[:, None, None]
    grouped = queries.shape[2] > heads
    found = F.scaled_dot_product_attention(queries.transpose(1, 2), keys, values, attn_mask=mask, enable_gqa=grouped)
    return found.transpose(1, 2).flatten(2)
