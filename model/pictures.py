"""Picture files: read as the network sees them, made in memory, cut into the cells that image codes stand for."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image as Picture
from PIL import ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 50_000_000  # of a picture that is read: 200 MB while it is made smaller


def read_picture(file: Path | BinaryIO, size: int) -> np.ndarray:
    """A picture (size, size, 3) uint8: upright, RGB on white, its middle cropped to a square, scaled.

    Raises OSError for what is no picture, or one of so many pixels that it is no honest one.
    """
    name = getattr(file, "name", "this")
    try:
        with Picture.open(file, formats=FORMATS) as picture:
            if (pixels := math.prod(picture.size)) > MOST_PIXELS:
                most = f"{MOST_PIXELS / 1e6:.0f} million are read; make it smaller"
                raise OSError(f"{name} has {pixels / 1e6:.0f} million pixels, at most {most}")
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except UnidentifiedImageError as error:
        raise OSError(f"{name} is no picture that can be read; give a PNG, JPEG or WebP file") from error
    except (Picture.DecompressionBombError, Picture.DecompressionBombWarning, ValueError, SyntaxError) as error:
        raise OSError(f"{name} cannot be read as a picture: {error}") from error
    ground = Picture.new("RGBA", upright.size, "white")
    flat = Picture.alpha_composite(ground, upright).convert("RGB")
    return np.asarray(ImageOps.fit(flat, (size, size), Picture.Resampling.BICUBIC))


def crop_cells(png: bytes, codes: int, start: int, count: int) -> bytes:
    """PNG of `count` neighbouring cells of one row, cut from the PNG of a square picture of `codes` cells."""
    side = math.isqrt(codes)
    row, column = divmod(start, side)
    picture = Picture.open(io.BytesIO(png))
    cell = picture.width // side
    box = (column * cell, row * cell, (column + count) * cell, (row + 1) * cell)
    return encode_png(picture.crop(box))


def encode_png(picture: Picture.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
