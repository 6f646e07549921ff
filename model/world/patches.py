"""The distinct 8×8 patches of the embedded world, numbered: 0 is blank, then the sprites' quadrants.

The embedded codec is taught this numbering (one codebook row per distinct patch), so an exact drawing has known
image codes. Knows pixels only; numbers follow the order of nouns and colours, so a noun added at the end of the list
moves no number.
"""

import numpy as np

from model.world.sprites import BACKGROUND, CELL, CELLS, COLOURS, NOUNS, SPRITE, sprite


def cells(image: np.ndarray) -> list[bytes]:
    """The contents of a picture's cells, uint8 (64, 64, 3), in raster order."""
    grid = image.reshape(CELLS, CELL, CELLS, CELL, 3).swapaxes(1, 2).reshape(CELLS * CELLS, -1)
    return [cell.tobytes() for cell in grid]


def _number_patches() -> dict[bytes, int]:
    blank = np.broadcast_to(np.array(BACKGROUND, dtype=np.uint8), (CELL, CELL, 3))
    numbers = {blank.tobytes(): 0}
    for noun in NOUNS:
        for colour in COLOURS:
            picture = sprite(noun, colour)
            for top in range(0, SPRITE, CELL):
                for left in range(0, SPRITE, CELL):
                    patch = picture[top : top + CELL, left : left + CELL]
                    numbers.setdefault(patch.tobytes(), len(numbers))
    return numbers


PATCHES: dict[bytes, int] = _number_patches()


def patch_codes(image: np.ndarray) -> tuple[int, ...] | None:
    """The 64 patch numbers of an exact picture, or None if some cell is no patch of the world."""
    numbers = tuple(PATCHES.get(cell, -1) for cell in cells(image))
    return None if -1 in numbers else numbers
