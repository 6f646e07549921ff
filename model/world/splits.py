"""Training and held-out prompts.

What is held out is combinations of nouns: a prompt that names two of a held-out pair together is for the test alone,
whatever its colours, counts and relations. Prompts with one noun are few, and seen in training.
"""

import itertools
import random

from model.world.language import CATEGORIES, Description
from model.world.random_scenes import sample_description

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
    rng, prompts = random.Random(f"test {seed}"), []
    known: set[Description] = set()
    for index in range(count):
        category = categories[index % len(categories)]
        for _ in range(100):
            description = sample_test(rng, category)
            if description not in known:
                break
        known.add(description)
        prompts.append(description)
    return prompts
