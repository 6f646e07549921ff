"""Image preprocessing of a checkpoint's processor: resize, pad, rescale, normalise.

Knows no files of pictures: a picture comes decoded, upright, RGB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture
from PIL import ImageOps
from transformers import JanusImageProcessorPil

from model.examples import is_number

HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Preprocessing:
    """To a square: scaled by `resample` (Pillow's number), at least `least` pixels each way, the rest in `background`;
    without `pads` the middle. Then `(value * rescale - mean) / std` per channel."""

    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF
    rescale: float = 1 / 255
    resample: int = Picture.Resampling.BICUBIC
    least: int = 14
    background: tuple[int, int, int] = (127, 127, 127)
    pads: bool = True

    @staticmethod
    def of(processor: JanusImageProcessorPil) -> "Preprocessing":
        """Raises ValueError for what is no number, naming it."""
        normalizes = processor.do_normalize is not False
        resample, rescale = processor.resample, processor.rescale_factor if processor.do_rescale is not False else 1.0
        resample = Picture.Resampling.BICUBIC if resample is None else resample
        if resample not in [*Picture.Resampling]:
            raise ValueError(f"resample: got {resample!r}, wanted one of Pillow's numbers, 0 to 5")
        if not is_number(rescale) or rescale <= 0:
            raise ValueError(f"rescale_factor: got {rescale!r:.60}, wanted a number above 0, such as 1/255")
        if not _is_whole(processor.min_size) or processor.min_size < 1:
            raise ValueError(f"min_size: got {processor.min_size!r:.60}, wanted a whole number of pixels, at least 1")
        return Preprocessing(
            _channels(processor.image_mean, "image_mean") if normalizes else (0.0, 0.0, 0.0),
            _channels(processor.image_std, "image_std", positive=True) if normalizes else (1.0, 1.0, 1.0),
            float(rescale),
            int(resample),
            int(processor.min_size),
            _colour(processor.background_color),
            processor.do_pad is not False,
        )

    def square(self, picture: Picture.Image, size: int) -> np.ndarray:
        """An RGB picture as (size, size, 3) uint8: its longer side scaled, its shorter one padded on both ends; without
        `pads` its middle, as transformers' processor then leaves what no network takes."""
        if not self.pads:
            return np.asarray(ImageOps.fit(picture, (size, size), self.resample))
        share = size / max(picture.size)
        width, height = (min(max(round(side * share), self.least), size) for side in picture.size)
        scaled = picture if (width, height) == picture.size else picture.resize((width, height), self.resample)
        padded = np.full((size, size, 3), self.background, np.uint8)
        top, left = (size - height) // 2, (size - width) // 2
        padded[top : top + height, left : left + width] = np.asarray(scaled)
        return padded

    def values(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) uint8 → float32, normalised."""
        channels = torch.arange(3, device=pixels.device)[:, None, None]
        return self._table.to(pixels.device)[channels, pixels.long()]

    @cached_property
    def _table(self) -> torch.Tensor:
        """(3, 256) what every value of every channel becomes."""
        if (self.mean, self.std, self.rescale) == (HALF, HALF, 1 / 255):
            return signed(torch.arange(256)).expand(3, -1)
        mean, std = (torch.tensor(each, dtype=torch.float64)[:, None] for each in (self.mean, self.std))
        return ((torch.arange(256, dtype=torch.float64) * self.rescale - mean) / std).float()


def signed(pixels: torch.Tensor) -> torch.Tensor:
    """Values of 0…255 → -1…1, float32: what the codec takes."""
    return pixels.to(torch.float32) / 127.5 - 1


def _is_whole(value: Any) -> bool:
    return is_number(value) and value == int(value)


def _colour(value: Any) -> tuple[int, int, int]:
    channels = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * 3
    if len(channels) != 3 or not all(_is_whole(value) and 0 <= value <= 255 for value in channels):
        raise ValueError(f"background_color: got {value!r:.60}, wanted three whole numbers from 0 to 255")
    return tuple(map(int, channels))


def _channels(values: Any, name: str, *, positive: bool = False) -> tuple[float, float, float]:
    channels = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values] * 3
    if len(channels) != 3 or not all(is_number(value) and (value > 0 or not positive) for value in channels):
        expected = "three numbers" + (" above 0" if positive else "")
        raise ValueError(f"{name}: got {values!r:.60}, wanted {expected}, one a channel")
    return tuple(map(float, channels))
