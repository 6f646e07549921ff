"""The text of a thought: each sprite of a scene with its cell.

Knows how a scene is written in words and read back. Knows no prompts and does not judge whether a plan fits.
"""

import re
from collections.abc import Sequence

from model.world.scene import Item, Scene

_PART = re.compile(r"([a-z]+) ([a-z]+) at (\d+) (\d+)")


def write_items(items: Sequence[Item]) -> str:
    """A plan that names `items` in the order given."""
    return "; ".join(f"{item.colour} {item.noun} at {item.column} {item.row}" for item in items)


def write_plan(scene: Scene) -> str:
    """A plan in the scene's own order: "red apple at 2 3; blue car at 5 5" (column, then row)."""
    return write_items(scene.items)


def read_items(text: str) -> list[Item]:
    """What a plan names, in its order; ValueError says which part is wrong and how it should read."""
    parts = [" ".join(part.lower().split()) for part in text.strip().rstrip(";.").split(";")]
    return [_read_part(part) for part in parts]


def read_plan(text: str) -> Scene:
    """The scene a plan describes; ValueError for a wrong part, and for objects that overlap or stand outside."""
    return Scene(tuple(read_items(text)))


def _read_part(part: str) -> Item:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"cannot read {part!r} in a plan; each part should read like 'red apple at 2 3'")
    colour, noun, column, row = match.groups()
    return Item(noun, colour, int(column), int(row))
