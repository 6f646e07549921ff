"""Training and held-out prompts.

What is held out is combinations of nouns: a prompt that names two of a held-out pair together is for the test alone,
whatever its colours, counts and relations. Prompts with one noun are few, and seen in training.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial

from model.world.language import CATEGORIES, Description, Group, Relation
from model.world.random_scenes import sample_description
from model.world.sprites import COLOURS, NOUNS
from model.world.vocabulary import MOST_OBJECTS, RELATIONS

# 24 of the 120 pairs of nouns; every noun is in three. Fixed for good: a noun that is added brings pairs of its own.
HELD_OUT: frozenset[frozenset[str]] = frozenset(
    frozenset(pair.split())
    for pair in (
        "cat dog", "cat boat", "cat car", "dog tree", "dog mushroom", "tree star", "tree bird", "house star",
        "house umbrella", "house heart", "star key", "heart apple", "heart moon", "apple fish", "apple key",
        "car flower", "car umbrella", "fish bird", "fish mushroom", "flower key", "flower boat", "moon umbrella",
        "moon mushroom", "boat bird",
    )
)  # fmt: skip

GENEVAL: tuple[str, ...] = CATEGORIES[:6]
SEEN: tuple[str, ...] = ("single object", "counting", "colours")  # too few combinations to hold any out
HARD: tuple[str, ...] = ("hard",)

FACTS = range(2, 11)  # numbers of facts of the test's curve
NEVER_TRAINED = 4  # kinds of objects of prompts that no training prompt is like: those have three at most

# How often each category is taught, in the order of CATEGORIES: prompts with one noun are learnt from the others.
_SHARES = (1, 2, 2, 1, 3, 3, 4, 14)


def held_out(description: Description) -> bool:
    """Whether a description names a held-out pair of nouns."""
    nouns = sorted({group.noun for group in description.groups})
    return any(frozenset(pair) in HELD_OUT for pair in itertools.combinations(nouns, 2))


def sample_training(rng: random.Random, category: str | None = None) -> Description:
    """A description that is not held out, of one category or of all by their shares."""
    if category is None:
        [category] = rng.choices(CATEGORIES, _SHARES)
    while held_out(description := sample_description(rng, category)):
        pass
    return description


def sample_test(rng: random.Random, category: str) -> Description:
    """A held-out description; of the categories SEEN any."""
    while True:
        description = sample_description(rng, category)
        if category in SEEN or held_out(description):
            return description


def held_out_prompts(count: int, categories: tuple[str, ...], seed: int = 0) -> list[Description]:
    """The same test prompts for every checkpoint: categories in turn, no prompt twice while there are others."""
    rng = random.Random(f"test {seed}")
    return _different([partial(sample_test, rng, categories[index % len(categories)]) for index in range(count)])


def _different(samplers: Sequence[Callable[[], Description]]) -> list[Description]:
    """A description of each sampler, none twice unless a hundred tries find no other."""
    prompts: list[Description] = []
    known: set[Description] = set()
    for sampler in samplers:
        for _ in range(100):
            if (description := sampler()) not in known:
                break
        known.add(description)
        prompts.append(description)
    return prompts


def fact_count(description: Description) -> int:
    """Facts that a description asks for, as the verifier counts them in a right drawing: a number for every kind of
    object, its colour where one is named, and the relations."""
    coloured = sum(group.colour is not None for group in description.groups)
    return len(description.groups) + coloured + len(description.relations)


def sample_facts(rng: random.Random, facts: int) -> Description:
    """A held-out description of 2 to 10 facts: up to eight of two or three kinds of objects, related as in training
    prompts, more of four kinds. Raises ValueError for other numbers."""
    shapes = [shape for kinds in (2, 3) for shape in _shapes(kinds) if sum(shape) == facts]
    shapes = shapes or [shape for shape in _shapes(NEVER_TRAINED) if sum(shape) == facts]
    if not shapes:
        raise ValueError(f"no description has {facts} facts; give a number from {FACTS[0]} to {FACTS[-1]}")
    return _sample_shape(rng, shapes)


def sample_never_trained(rng: random.Random) -> Description:
    """A held-out description of four kinds of objects, each related to the one before it."""
    return _sample_shape(rng, list(_shapes(NEVER_TRAINED)))


def _shapes(kinds: int) -> list[tuple[int, int, int]]:
    """(kinds, colours, relations): two kinds may be unrelated, more are a chain."""
    relations = (0, 1) if kinds == 2 else (kinds - 1,)
    return [(kinds, coloured, related) for coloured in range(kinds + 1) for related in relations]


def _sample_shape(rng: random.Random, shapes: list[tuple[int, int, int]]) -> Description:
    while True:
        kinds, coloured, related = rng.choice(shapes)
        counts = [rng.choice((1, 1, 2, 2, 3)) for _ in range(kinds)]
        with_colour = rng.sample(range(kinds), coloured)
        groups = tuple(
            Group(count, noun, colour if index in with_colour else None)
            for index, (count, noun, colour) in enumerate(
                zip(counts, rng.sample(NOUNS, kinds), rng.sample(tuple(COLOURS), kinds), strict=True)
            )
        )
        pairs = ((0, 1), *((index + 1, index) for index in range(1, kinds - 1)))[:related]
        description = Description(groups, tuple(Relation(first, rng.choice(RELATIONS), two) for first, two in pairs))
        if sum(counts) <= MOST_OBJECTS and held_out(description):
            return description


def prompts_by_facts(each: int, seed: int = 0) -> list[Description]:
    """`each` test prompts of every number of FACTS."""
    rng = random.Random(f"facts {seed}")
    return [description for facts in FACTS for description in _different([partial(sample_facts, rng, facts)] * each)]


def never_trained_prompts(count: int, seed: int = 0) -> list[Description]:
    """The same test prompts of four kinds of objects for every checkpoint."""
    rng = random.Random(f"four kinds {seed}")
    return _different([partial(sample_never_trained, rng)] * count)
