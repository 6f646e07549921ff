"""Perturbations: one object of a scene recoloured, moved, removed or doubled, so that the scene fits its prompt no
more.

Knows scenes, descriptions and the verifier, and which image codes show the difference. A random generator is always an
argument.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from model.world.known_prompts import normalise
from model.world.language import Description, parse
from model.world.scene import Item, Scene, free_places, render
from model.world.sprites import COLOURS, PATCHES, cells
from model.world.verifier import Reading, accepted, check, read
from model.world.vocabulary import MOST_OBJECTS, PromptError

KINDS: tuple[str, ...] = ("recoloured", "moved", "removed", "doubled")


def perturb(
    rng: random.Random, scene: Scene, description: Description | None, kinds: Sequence[str] = KINDS
) -> tuple[str, Scene] | None:
    """One of `kinds` and the scene after it; None where none of them makes the scene wrong.

    The kind is uniform among those that do. Without a `description` every change counts as wrong.
    """
    for kind in rng.sample(kinds, len(kinds)):
        for after in _changed(rng, scene, kind):
            if description is None or not accepted(check(description, Reading(after.items))):
                return kind, after
    return None


def _changed(rng: random.Random, scene: Scene, kind: str) -> Iterator[Scene]:
    """Every scene that differs from `scene` by one change of a kind, in random order."""
    for item in rng.sample(scene.items, len(scene.items)):
        rest = tuple(other for other in scene.items if other != item)
        for instead in _instead(rng, item, rest, kind):
            yield Scene((*rest, *instead))


def _instead(rng: random.Random, item: Item, rest: Sequence[Item], kind: str) -> Iterator[tuple[Item, ...]]:
    """What may stand in the place of one item."""
    match kind:
        case "recoloured":
            others = [colour for colour in COLOURS if colour != item.colour]
            yield from ((replace(item, colour=colour),) for colour in rng.sample(others, len(others)))
        case "moved":
            yield from ((moved,) for moved in _elsewhere(rng, item, rest) if moved != item)
        case "removed" if rest:
            yield ()
        case "doubled" if len(rest) + 1 < MOST_OBJECTS:
            yield from ((item, twin) for twin in _elsewhere(rng, item, (*rest, item)))


def _elsewhere(rng: random.Random, item: Item, others: Sequence[Item]) -> Iterator[Item]:
    places = free_places(others)
    yield from (replace(item, column=column, row=row) for column, row in rng.sample(places, len(places)))


def perturbed_codes(rng: random.Random, prompt: str, picture: np.ndarray, codes: Sequence[int]) -> dict[int, int]:
    """The image codes that change by a perturbation in a drawing of `codes`, (H, W, 3) uint8, by raster index. Raises
    ValueError where no object can be read."""
    scene = Scene(read(picture).items)
    shown = {index: PATCHES[cell] for index, cell in enumerate(cells(render(scene)))}
    if not scene.items or any(code and codes[index] != code for index, code in shown.items()):
        raise ValueError("no whole object can be read in this drawing; rub out patches instead")
    try:
        description = parse(normalise(prompt).text)
    except PromptError:
        description = None
    changed = perturb(rng, scene, description)
    if changed is None:
        raise ValueError("no change of one object would make this drawing wrong; rub out patches instead")
    return changed_codes(scene, changed[1])


def changed_codes(before: Scene, after: Scene) -> dict[int, int]:
    """The image codes that differ, by raster index, in the numbering of `patches`."""
    pairs = zip(cells(render(before)), cells(render(after)), strict=True)
    return {index: PATCHES[new] for index, (old, new) in enumerate(pairs) if old != new}
