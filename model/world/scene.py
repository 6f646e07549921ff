"""Scenes: sprites at cells, rendered to 64×64 pixels.

Knows the grid and that sprites must lie on it without overlapping. Knows no prompts and judges nothing.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from model.world.sprites import BACKGROUND, CELL, CELLS, COLOURS, NOUNS, SIZE, SPRITE, sprite

LAST = CELLS - 2  # the last column or row in which a sprite can begin


@dataclass(frozen=True)
class Item:
    """One sprite; `column` and `row` are the cell of its upper left corner, 0 to 6."""

    noun: str
    colour: str
    column: int
    row: int


@dataclass(frozen=True)
class Scene:
    """Sprites in canonical order (by row, then column), so that scenes are equal by content."""

    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        items = tuple(sorted(self.items, key=lambda item: (item.row, item.column)))
        for number, item in enumerate(items):
            _check(item)
            for other in items[:number]:
                if overlaps(item, other):
                    raise ValueError(f"{_name(item)} overlaps {_name(other)}; sprites must not overlap")
        object.__setattr__(self, "items", items)


def _name(item: Item) -> str:
    return f"{item.colour} {item.noun} at {item.column} {item.row}"


def _check(item: Item) -> None:
    if item.noun not in NOUNS:
        raise ValueError(f"no sprite for noun {item.noun!r}; there are: {', '.join(NOUNS)}")
    if item.colour not in COLOURS:
        raise ValueError(f"no colour {item.colour!r}; there are: {', '.join(COLOURS)}")
    if not (0 <= item.column <= LAST and 0 <= item.row <= LAST):
        raise ValueError(f"{_name(item)} is outside the picture; column and row go from 0 to {LAST}")


def overlaps(item: Item, other: Item) -> bool:
    """Whether two sprites share a cell."""
    return abs(item.column - other.column) < 2 and abs(item.row - other.row) < 2


def free_places(items: Iterable[Item]) -> list[tuple[int, int]]:
    """All (column, row) at which one more sprite fits beside `items`."""
    taken = [(item.column, item.row) for item in items]
    return [
        (column, row)
        for row in range(LAST + 1)
        for column in range(LAST + 1)
        if all(abs(column - c) >= 2 or abs(row - r) >= 2 for c, r in taken)
    ]


def render(scene: Scene) -> np.ndarray:
    """The picture, uint8 (64, 64, 3)."""
    image = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
    image[:] = BACKGROUND
    for item in scene.items:
        top, left = item.row * CELL, item.column * CELL
        image[top : top + SPRITE, left : left + SPRITE] = sprite(item.noun, item.colour)
    return image


def random_scene(rng: random.Random, count: int) -> Scene:
    """`count` random sprites (1 to 6 always fit) at random free places."""
    while True:
        items: list[Item] = []
        while len(items) < count and (places := free_places(items)):
            column, row = rng.choice(places)
            items.append(Item(rng.choice(NOUNS), rng.choice(tuple(COLOURS)), column, row))
        if len(items) == count:
            return Scene(tuple(items))
