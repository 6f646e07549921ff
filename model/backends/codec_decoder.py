"""The codec's decoder prepared for CPU inference: channels-last convolutions, upsampling fused into the next one.

Knows transformers' modules of the codec; not codes and pictures.
Shapes: B batch, C channels, H, W height and width.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.janus.modeling_janus import JanusVQVAEConvUpsample, JanusVQVAEDecoder

# Which of the three rows that a convolution sees in a doubled image are the same row of the original, (2, 2, 3): the
# last two for the upper row of a pair, the first two for the lower.
SAME = (((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1)))
FEW = 2**12  # pixels of an image for which torch's own normalisation of it is exact enough, and faster
STRIP = 2**18  # values whose squares are summed at a time, so that they stay in the cache


def painter(decoder: JanusVQVAEDecoder) -> nn.Module:
    """A copy of the decoder, to paint with."""
    copied = deepcopy(decoder)
    for level in copied.up:
        if hasattr(level, "upsample"):
            level.upsample = UpsampledConv(level.upsample)
    _normalize_exactly(copied)
    return copied.to(memory_format=torch.channels_last).requires_grad_(False)


def _normalize_exactly(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(module, name, Normalized(child))
        else:
            _normalize_exactly(child)


class Normalized(nn.Module):
    """Group normalisation of channels that lie beside each other in memory, for which torch's own has ten times the
    rounding error in float32 where an image has many pixels."""

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.groups, self.eps, self.weight, self.bias = norm.num_groups, norm.eps, norm.weight, norm.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        batch, channels, height, width = hidden.shape
        if height * width <= FEW:
            return F.group_norm(hidden, self.groups, self.weight, self.bias, self.eps)
        rows = hidden.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        mean = self._of_groups(rows.mean(1))
        squares = torch.zeros_like(mean)
        for strip in rows.split(max(1, STRIP // channels), 1):
            squares += (strip - mean[:, None]).square_().sum(1)
        scale = (self._of_groups(squares / (height * width)) + self.eps).rsqrt() * self.weight
        out = torch.addcmul((self.bias - mean * scale)[:, None], rows, scale[:, None])
        return out.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def _of_groups(self, means: torch.Tensor) -> torch.Tensor:
        """(B, C) means of channels → (B, C), each that of its group."""
        grouped = means.unflatten(1, (self.groups, -1))
        return grouped.mean(-1, keepdim=True).expand_as(grouped).flatten(1)


class UpsampledConv(nn.Module):
    """Every pixel repeated twice both ways, then a 3×3 convolution: as one of 2×2 for each of the four that a pixel
    becomes, with 4/9 of the multiplications."""

    def __init__(self, upsample: JanusVQVAEConvUpsample):
        super().__init__()
        same, weight = torch.tensor(SAME, dtype=torch.float64), upsample.conv.weight.detach()
        four = torch.einsum("atk,bsl,oikl->aboits", same, same, weight.double()).flatten(0, 2)
        self.conv = nn.Conv2d(weight.shape[1], len(four), 2, padding=1)
        self.conv.weight = nn.Parameter(four.to(weight.dtype))
        self.conv.bias = nn.Parameter(upsample.conv.bias.detach().repeat(4))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → (B, C, 2 H, 2 W)."""
        batch, channels, height, width = hidden.shape
        out = self.conv(hidden).unflatten(1, (2, 2, channels))
        doubled = hidden.new_empty(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
        for a in (0, 1):
            for b in (0, 1):
                doubled[:, :, a::2, b::2] = out[:, a, b, :, a : a + height, b : b + width]
        return doubled
