"""The drawable prompt nearest to a person's wording, for words that the world does not have.

Knows which words mean the same as one of ours, and what may stand in for a thing that has no sprite. Knows no pixels.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from model.world.language import JOINS, Description, Group, Relation, relation_of, stripped, write
from model.world.sprites import COLOURS, NOUNS
from model.world.vocabulary import MOST_OBJECTS, MOST_OF_A_KIND, NUMBERS, nearest, plural

SYNONYMS = frozenset(
    (
        "kitten",
        "kitty",
        "puppy",
        "hound",
        "pine",
        "fir",
        "oak",
        "home",
        "hut",
        "automobile",
        "rose",
        "tulip",
        "daisy",
        "crescent",
        "ship",
        "sailboat",
        "robin",
        "toadstool",
        "parasol",
        "crimson",
        "scarlet",
        "gold",
        "golden",
        "lime",
        "navy",
        "violet",
        "magenta",
    )
)  # words of which nobody is asked whether ours will do
SMALL = frozenset(("a", "an", "the", "it", "them", "and", "of", "to", "on", "in", "at", "by", "above", "below", "left",
                   "right", "side"))  # fmt: skip
UNKNOWN_PLACES = ("on", "in", "at", "by")  # small words that say where; those of a known relation are none of them
_ON = re.compile(r"\b(?:on top of|onto|on(?! (?:the )?(?:left|right)\b))\b")
_BESIDE = re.compile(r"\b(?:with|near|beside|next to|behind|in front of)\b")
_WORD = re.compile(r"\bon top of\b|\bnext to\b|\bin front of\b|\w+")
MOST_NAMED = 5  # unknown words that are named
MOST_CHOICES = 6  # things that are offered in the place of one


@dataclass(frozen=True)
class Nearest:
    """A prompt of the world, and what it says in place of which words; `stand_in` is a noun for a thing unheard of, and
    `stood_for` the word that it stands for."""

    description: Description
    instead: Mapping[str, str] = field(default_factory=dict)
    stand_in: str | None = None
    stood_for: str = ""

    @property
    def prompt(self) -> str:
        return write(self.description)

    @property
    def is_same(self) -> bool:
        """Whether it only says the same in other words."""
        return self.stand_in is None and all(
            word in SYNONYMS or word.removesuffix("s") in SYNONYMS for word in self.instead
        )

    def choices(self) -> list[tuple[str, str]]:
        """(noun, prompt): other things in the place of the one that stands in."""
        if self.stand_in is None:
            return []
        taken = {group.noun for group in self.description.groups}
        others = [noun for noun in NOUNS if noun not in taken]
        return [(noun, write(_exchanged(self.description, self.stand_in, noun))) for noun in others[:MOST_CHOICES]]


def _exchanged(description: Description, old: str, new: str) -> Description:
    groups = (Group(g.count, new, g.colour) if g.noun == old else g for g in description.groups)
    return Description(tuple(groups), description.relations)


def nearest_prompt(text: str) -> Nearest | None:
    """What comes nearest of what lessons had: at most two kinds of things; None where nothing is said."""
    words = _BESIDE.sub("and", _ON.sub("above", stripped(text)))
    if not words:
        return None
    groups: list[Group] = []
    relations: list[Relation] = []
    instead: dict[str, str] = {}
    stand_in, stood_for = None, ""
    named = {noun for word in words.split() if (noun := _singular(nearest(word) or word)) is not None}
    for relation, part in _parts(words):
        if len(groups) == 2 or not part:
            break
        taken = {group.noun for group in groups}
        group, said, known = _group(part, taken, named, MOST_OBJECTS - _count(groups))
        instead |= said
        if stand_in is None and not known:
            unknown = [word for word in part if word not in SMALL and not _is_ours(word) and word not in said]
            stand_in, stood_for = group.noun, unknown[-1] if unknown else ""
        if groups and relation:
            relations.append(Relation(0, relation, 1))
        groups.append(group)
    if not groups:
        return None
    return Nearest(Description(tuple(groups), tuple(relations)), instead, stand_in, as_written(text, stood_for))


def _count(groups: Sequence[Group]) -> int:
    return sum(group.count for group in groups)


def _parts(words: str) -> Iterator[tuple[str | None, list[str]]]:
    """The relation before each part, and the part's words."""
    start, relation = 0, None
    for join in JOINS.finditer(words):
        yield relation, words[start : join.start()].split()
        start, relation = join.end(), relation_of(join.group(1))
    yield relation, words[start:].split()


def _group(words: Sequence[str], taken: set[str], named: set[str], room: int) -> tuple[Group, dict[str, str], bool]:
    """The group nearest to some words, what it says in place of which, and whether its thing was named."""
    count, colour, noun, instead = 1, None, None, {}
    for word in words:
        near = word if _is_ours(word) else None if word in SMALL else nearest(word)
        if near is None:
            continue
        if near in COLOURS:
            colour = near
        elif near in NUMBERS or near.isdecimal():
            count = int(near) if near.isdecimal() else NUMBERS.index(near)
        elif (singular := _singular(near)) is not None:
            noun = singular
        else:
            continue
        if near != word:
            instead[word] = near
    known = noun is not None and noun not in taken
    noun = noun if known else next(other for other in NOUNS if other not in taken | named)
    return Group(min(max(count, 1), MOST_OF_A_KIND, max(room, 1)), noun, colour), instead, known


def _is_ours(word: str) -> bool:
    return word in COLOURS or word in NUMBERS or word.isdecimal() or _singular(word) is not None


def _singular(word: str) -> str | None:
    return next((noun for noun in NOUNS if word in (noun, plural(noun))), None)


def unknown_words(text: str) -> list[str]:
    """The words of a prompt that are not the world's, spelt as in the prompt; synonyms are known."""
    words = _WORD.findall(JOINS.sub(" ", stripped(text)))
    unknown = [word for word in words if not _is_ours(word) and (word not in SMALL or word in UNKNOWN_PLACES)]
    unknown = [word for word in unknown if not {word, word.removesuffix("s")} & SYNONYMS]
    return [as_written(text, word) for word in dict.fromkeys(unknown)]


def as_written(text: str, word: str) -> str:
    """A word in the capitals that `text` has it in."""
    found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
    return found.group() if found and word else word


def in_quotes(words: Sequence[str]) -> str:
    """“a”, “b” and “c”; of many words the first."""
    quoted = [f"“{word}”" for word in words[:MOST_NAMED]] + ["others"] * (len(words) > MOST_NAMED)
    return " and ".join(filter(None, (", ".join(quoted[:-1]), *quoted[-1:])))


def nearest_notice(text: str, found: Nearest) -> str:
    """The message to a visitor: which words it has not learnt, and the nearest that it can draw."""
    named = in_quotes(unknown_words(text)) or "to draw just that"
    return f"It has not learnt {named}. The nearest it can draw is {found.prompt}."
