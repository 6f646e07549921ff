"""PNGs in memory: made, and cut into the cells that image codes stand for."""

from __future__ import annotations

import io
import math

from PIL import Image as Picture


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
