"""Vocabulary: numbers, plurals, articles, and the message about unknown words.

Knows single words and the message that names the nearest one. Knows no sentences.
"""

import difflib
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType

from model.world.sprites import COLOURS, NOUNS

RELATIONS: tuple[str, ...] = ("above", "below", "left of", "right of")
MOST_OF_A_KIND = 4
MOST_OBJECTS = 6

NUMBERS: tuple[str, ...] = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight",
    "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen",
)  # fmt: skip

# What people say for a word of ours; only ever a suggestion.
_KIN = {
    "kitten": "cat", "kitty": "cat", "puppy": "dog", "hound": "dog", "pine": "tree", "fir": "tree",
    "oak": "tree", "home": "house", "building": "house", "hut": "house", "fruit": "apple", "pear": "apple",
    "automobile": "car", "truck": "car", "bus": "car", "bicycle": "car", "bike": "car", "van": "car",
    "shark": "fish", "rose": "flower", "tulip": "flower",
    "daisy": "flower", "lock": "key", "crescent": "moon", "sun": "star", "ship": "boat", "sailboat": "boat",
    "robin": "bird", "duck": "bird", "toadstool": "mushroom", "parasol": "umbrella", "love": "heart",
    "crimson": "red", "scarlet": "red", "gold": "yellow", "golden": "yellow", "lime": "green", "cyan": "blue",
    "navy": "blue", "violet": "purple", "magenta": "pink", "grey": "black", "gray": "black", "dark": "black",
    "several": "three", "pair": "two", "couple": "two", "beside": "left of",
}  # fmt: skip


class PromptError(ValueError):
    """A prompt the embedded world cannot draw.

    PromptError
    └── UnknownWordError    a word outside the vocabulary
    """


class UnknownWordError(PromptError):
    """`nearest`: every word that is not in the world, with the vocabulary's closest, None if nothing is close. It is
    looked for when somebody asks: of many prompts it is only asked whether they are of the world.
    """

    def __init__(self, words: Iterable[str], known: Mapping[str, str] = MappingProxyType({})) -> None:
        """`known`: the closest of words of which it need not be looked for."""
        self.words, self.known = tuple(dict.fromkeys(words)), dict(known)
        super().__init__(self.words, self.known)

    @cached_property
    def nearest(self) -> dict[str, str | None]:
        return {word: self.known.get(word) or nearest(word) for word in self.words}

    def __str__(self) -> str:
        words = [f"“{word}”" for word in self.nearest]
        subject = " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) + (
            " is" if len(words) == 1 else " are"
        )
        close = {word: known for word, known in self.nearest.items() if known}
        each = [known if len(words) == 1 else f"{known} for “{word}”" for word, known in close.items()]
        hint = f"; nearest word{'s' * (len(each) > 1)}: {', '.join(each)}" if each else ""
        return f"{subject} not in the embedded world{hint}; it can draw {what_it_draws()}"


def what_it_draws() -> str:
    """The vocabulary in one clause, for messages."""
    return (
        f"one to four of: {', '.join(NOUNS)}; in {', '.join(COLOURS)}; "
        f"joined by “and”, {', '.join(f'“{word}”' for word in RELATIONS)}"
    )


def opposite(relation: str) -> str:
    """The relation the other way round: “above” for “below”."""
    return RELATIONS[RELATIONS.index(relation) ^ 1]  # they come in pairs


def plural(noun: str) -> str:
    return noun if noun == "fish" else noun + "s"


def named(noun: str, count: int) -> str:
    """The noun in the number that `count` calls for."""
    return noun if count == 1 else plural(noun)


def number(count: int) -> str:
    """A count in words, as far as there are words."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


@lru_cache(4096)
def nearest(word: str) -> str | None:
    """The vocabulary's word that is nearest by meaning, or else by spelling."""
    known = [*NOUNS, *COLOURS, *NUMBERS[1 : MOST_OF_A_KIND + 1], *RELATIONS, "and"]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return _KIN.get(word) or _KIN.get(word.removesuffix("s")) or next(iter(close or _misspelt_kin(word)), None)


def _misspelt_kin(word: str) -> list[str]:
    """The word of ours for a long one with its letters in another order, as “bycicle”."""
    return [ours for kin, ours in _KIN.items() if len(kin) >= 7 and sorted(kin) == sorted(word)]
