"""Random prompts of each category, and random scenes that satisfy a prompt.

Knows which combinations are asked for and where objects can stand. A random generator is always an argument.
"""

import itertools
import random

import numpy as np

from model.world.language import CATEGORIES, Description, Group, Place, Relation, category_of, related
from model.world.scene import LAST, Item, Scene
from model.world.sprites import COLOURS, NOUNS
from model.world.vocabulary import MOST_OBJECTS, RELATIONS


def sample_description(rng: random.Random, category: str) -> Description:
    """A random description of one category."""
    first, other = rng.sample(NOUNS, 2)
    red, blue = rng.sample(tuple(COLOURS), 2)
    match category:
        case "single object":
            return Description((Group(1, first),))
        case "two objects":
            return Description((Group(1, first), Group(1, other)))
        case "counting":
            return Description((Group(rng.randint(2, 4), first),))
        case "colours":
            return Description((Group(1, first, red),))
        case "position":
            return Description((Group(1, first), Group(1, other)), (Relation(0, rng.choice(RELATIONS), 1),))
        case "colour attribution":
            return Description((Group(1, first, red), Group(1, other, blue)))
        case "mixed":
            return _sample_mixed(rng)
        case "hard":
            return _sample_hard(rng)
    raise ValueError(f"no category {category!r}; there are: {', '.join(CATEGORIES)}")


def _sample_mixed(rng: random.Random) -> Description:
    while True:
        nouns = rng.sample(NOUNS, 1 if rng.random() < 0.2 else 2)
        colours = rng.sample(tuple(COLOURS), 2)
        groups = tuple(
            Group(rng.choice((1, 1, 2, 2, 3, 4)), noun, colour if rng.random() < 0.6 else None)
            for noun, colour in zip(nouns, colours, strict=False)
        )
        relations = (Relation(0, rng.choice(RELATIONS), 1),) if len(nouns) == 2 and rng.random() < 0.6 else ()
        description = Description(groups, relations)
        if category_of(description) == "mixed" and sum(group.count for group in groups) <= MOST_OBJECTS:
            return description


def _sample_hard(rng: random.Random) -> Description:
    """Three to six objects, mostly of three kinds, each kind related to the second: "two cats above a red car, a moon
    below it"."""
    while True:
        kinds = rng.choice((2, 3, 3, 3))
        groups = tuple(
            Group(rng.choice((1, 1, 2, 2, 3)), noun, colour if rng.random() < 0.7 else None)
            for noun, colour in zip(rng.sample(NOUNS, kinds), rng.sample(tuple(COLOURS), kinds), strict=True)
        )
        pairs = ((0, 1), (2, 1))[: kinds - 1]
        description = Description(groups, tuple(Relation(first, rng.choice(RELATIONS), two) for first, two in pairs))
        if category_of(description) == "hard" and sum(group.count for group in groups) <= MOST_OBJECTS:
            return description


def sample_scene(rng: random.Random, description: Description, spacing: int = 1) -> Scene:
    """A scene that satisfies the description exactly and shows nothing else.

    Places are uniform among the valid ones, columns and rows multiples of `spacing` cells. A group whose colour is free
    gets one random colour for all its objects.
    """
    items = []
    for group, places in zip(description.groups, sample_places(rng, description, spacing), strict=True):
        colour = group.colour or rng.choice(tuple(COLOURS))
        items += [Item(group.noun, colour, column, row) for column, row in places]
    return Scene(tuple(items))


def sample_places(rng: random.Random, description: Description, spacing: int = 1) -> list[list[Place]]:
    """A place for every object of every group, uniform among the valid arrangements of multiples of `spacing`.

    Whole arrangements are drawn at random until one is valid: that is what keeps the choice uniform.
    """
    owners = [index for index, group in enumerate(description.groups) for _ in range(group.count)]
    draws = np.random.default_rng(rng.getrandbits(64))
    while True:
        shape = (min(2048, 8 * 4 ** len(owners)), len(owners), 2)  # column, row
        tries = spacing * draws.integers(0, LAST // spacing + 1, shape)
        valid = np.flatnonzero(_valid(tries, owners, description.relations))
        if valid.size:
            break
    placed = [(column, row) for column, row in tries[valid[0]].tolist()]
    groups = range(len(description.groups))
    return [[place for place, owner in zip(placed, owners, strict=True) if owner == index] for index in groups]


def _valid(tries: np.ndarray, owners: list[int], relations: tuple[Relation, ...]) -> np.ndarray:
    """Which arrangements of int (tries, objects, 2) have no overlap and every relation: bool (tries,)."""
    valid = np.ones(len(tries), dtype=bool)
    for first, other in itertools.combinations(range(len(owners)), 2):
        valid &= (np.abs(tries[:, first] - tries[:, other]) >= 2).any(-1)
    for relation in relations:
        for first, other in itertools.product(range(len(owners)), repeat=2):
            if (owners[first], owners[other]) == (relation.first, relation.second):
                valid &= related(tries[:, first].T, relation.word, tries[:, other].T)
    return valid
