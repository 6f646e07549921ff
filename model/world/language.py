"""Prompts of the embedded world: parsed values and their words.

Knows GenEval's six categories and their combinations, how a description is written and how a person's wording is read.
Knows no pixels.
"""

import itertools
import random
import re
from dataclasses import dataclass, replace

import numpy as np

from model.world.sprites import COLOURS, NOUNS
from model.world.vocabulary import (
    MOST_OBJECTS,
    MOST_OF_A_KIND,
    NUMBERS,
    RELATIONS,
    PromptError,
    UnknownWordError,
    named,
    number,
    plural,
    what_it_draws,
    with_article,
)

Place = tuple[int, int]  # column, row

CATEGORIES: tuple[str, ...] = (
    "single object",
    "two objects",
    "counting",
    "colours",
    "position",
    "colour attribution",
    "mixed",
    "hard",
)
_POLITE = re.compile(
    r"^(?:(?:please|hi|hello|hey|now|just|(?:can|could|would|will) you|i (?:want|need|would like|d like)|let us see|"
    r"show|give|draw|paint|sketch|make|create|generate|render|me|us|to see)\b,? ?)+"
    r"|,? (?:please|thanks|thank you|for me)$"
)
_LEAD = re.compile(
    r"^(?:(?:an?|the|some) )?(?:(?:nice|beautiful|cute|simple|pixel|little|small) )*"
    r"(?:photo|photograph|picture|pic|image|drawing|painting|sketch|illustration)s? (?:of|with|showing) "
)
_PAIR = re.compile(r"\ba (?:pair|couple) of ")
JOINS = re.compile(
    r"\s*(?:, and\b|,|\band\b)\s*"
    r"|\s+(above|over|below|under|underneath|beneath|(?:(?:to|on) the |on )?(?:left|right) (?:side )?of)\s+"
)
_ARTICLES = ("a", "an", "the")
_NOUN_OF = {word: noun for noun in NOUNS for word in (noun, plural(noun))}
_OTHER_WORDS = {*COLOURS, *NUMBERS, *_ARTICLES}
_PRONOUNS = ("it", "them")
_SYNONYMS = {"over": "above", "under": "below", "underneath": "below", "beneath": "below"}


@dataclass(frozen=True)
class Group:
    """`count` objects of one noun; `colour` None leaves the colour free."""

    count: int
    noun: str
    colour: str | None = None


_UNKNOWN = Group(1, "")  # stands for one that could not be read, to read on


@dataclass(frozen=True)
class Relation:
    """Every object of group `first` stands `word` every object of group `second`; both are indices."""

    first: int
    word: str
    second: int


@dataclass(frozen=True)
class Description:
    """What a prompt asks for, and, by implication, nothing else."""

    groups: tuple[Group, ...]
    relations: tuple[Relation, ...] = ()


def write_group(group: Group) -> str:
    """One group in words: "a blue car", "three stars"."""
    words = " ".join(filter(None, (group.colour, named(group.noun, group.count))))
    return with_article(words) if group.count == 1 else f"{number(group.count)} {words}"


def write(description: Description) -> str:
    """The prompt: "two red apples above a blue car, a moon left of it"."""
    words = {(relation.first, relation.second): relation.word for relation in description.relations}
    groups = description.groups
    prompt = write_group(groups[0])
    for index, (before, group) in enumerate(itertools.pairwise(groups), 1):
        onward, back = words.get((index - 1, index)), words.get((index, index - 1))
        if back:
            prompt += f", {write_group(group)} {back} {'it' if before.count == 1 else 'them'}"
        else:
            more = index + 1 < len(groups) and (index + 1, index) not in words
            prompt += f" {onward} " if onward else ", " if more else " and "
            prompt += write_group(group)
    return prompt


def facts_of(description: Description) -> tuple[str, ...]:
    """What holds of a picture of it, in words: “two apples”, “the apples are red”, “the apples are above the car”."""
    told = []
    for group in description.groups:
        told.append(write_group(replace(group, colour=None)))
        if group.colour:
            told.append(f"the {named(group.noun, group.count)} {_are(group)} {group.colour}")
    for relation in description.relations:
        first, second = description.groups[relation.first], description.groups[relation.second]
        names = named(first.noun, first.count), named(second.noun, second.count)
        told.append(f"the {names[0]} {_are(first)} {relation.word} the {names[1]}")
    return (*dict.fromkeys(told), "nothing else is in the picture")


def _are(group: Group) -> str:
    return "is" if group.count == 1 else "are"


def reword(rng: random.Random, prompt: str) -> str:
    """A written prompt as a person might put it; it parses to the same description."""

    def side(match: re.Match) -> str:
        return rng.choice(("{} of", "to the {} of", "on the {} of", "to the {} side of")).format(match.group(1))

    words = re.sub(r"\b(left|right) of", side, prompt)
    for word in _SYNONYMS:
        words = re.sub(rf"\b{_SYNONYMS[word]}\b", word, words) if rng.random() < 0.3 else words
    words = re.sub(r"^an? ", "the ", words) if rng.random() < 0.1 else words
    return rng.choice(("", "", "", "draw a picture of ", "a picture of ")) + words


def parse(prompt: str) -> Description:
    """The description of a prompt in a person's wording; PromptError says what cannot be drawn."""
    text = stripped(prompt)
    if not text:
        told = f"“{prompt.strip()}” names no object" if prompt.strip() else "the prompt is empty"
        raise PromptError(f"{told}; the embedded world can draw {what_it_draws()}")
    groups, relations, start, word = [], [], 0, None
    strange: dict[str, str | None] = {}  # with the nearest, where that is known
    for join in [*JOINS.finditer(text), None]:
        words = text[start : join.start() if join else len(text)]
        if word and words in _PRONOUNS:
            relations.append(_looking_back(words, word, groups))
        else:
            try:
                groups.append(_parse_group(words))
            except UnknownWordError as error:  # go on: all of them are to be told at once
                strange |= dict.fromkeys(error.words) | error.known
                groups.append(_UNKNOWN)
            if word:
                relations.append(Relation(len(groups) - 2, word, len(groups) - 1))
        if join:
            start, word = join.end(), relation_of(join.group(1))
    if strange:
        raise UnknownWordError(strange, {word: near for word, near in strange.items() if near})
    return _possible(Description(tuple(groups), tuple(relations)))


def stripped(prompt: str) -> str:
    """A prompt in small letters, without punctuation, politeness, and words that say that it is a picture."""
    text = " ".join(re.sub(r"[.!?;:\"'“”()]", " ", prompt.lower()).split()).rstrip(" ,")
    for _ in range(2):  # at its beginning, and at its end
        text = _POLITE.sub("", text)
    return _PAIR.sub("two ", _LEAD.sub("", text))


def relation_of(word: str | None) -> str | None:
    """A person's word for a relation in the world's own, None for a mere "and"."""
    if word is None:
        return None
    side = re.search(r"left|right", word)
    return f"{side.group()} of" if side else _SYNONYMS.get(word, word)


def _looking_back(pronoun: str, word: str, groups: list[Group]) -> Relation:
    """The relation of the last object to the one before it: "…, a moon left of it"."""
    if len(groups) < 2:
        raise PromptError(f"“{pronoun}” has nothing to stand for; name the object, as in “a moon {word} a car”")
    return Relation(len(groups) - 1, word, len(groups) - 2)


def _parse_group(text: str) -> Group:
    words = text.split()
    if not words:
        raise PromptError("an object is missing beside “and”, a comma or a relation; write “a cat and a dog”")
    count = _count(words[0])
    rest = words if count is None else words[1:]
    colour = rest[0] if rest and rest[0] in COLOURS else None
    if colour:
        rest = rest[1:]
    if not rest:
        raise PromptError(f"“{text}” names no object; the embedded world can draw {what_it_draws()}")
    if strange := [word for word in rest if not _known(word)]:
        raise UnknownWordError(strange)
    noun = _NOUN_OF.get(rest[0])
    if noun is None or len(rest) > 1:
        raise PromptError(
            f"“{text}” cannot be read as one kind of object; write for example “two red apples and a cat”"
        )
    if count is None and noun != rest[0]:
        raise PromptError(f"how many {rest[0]}? write for example “two {rest[0]}”")
    return Group(count or 1, noun, colour)


def _count(word: str) -> int | None:
    if word in _ARTICLES:
        return 1
    if word.isdecimal():
        count = int(word)
    elif word in NUMBERS:
        count = NUMBERS.index(word)
    else:
        return None
    if not 1 <= count <= MOST_OF_A_KIND:
        raise UnknownWordError([word], {word: number(min(max(count, 1), MOST_OF_A_KIND))})
    return count


def _known(word: str) -> bool:
    return word in _NOUN_OF or word in _OTHER_WORDS or word.isdecimal()


def _possible(description: Description) -> Description:
    nouns = [group.noun for group in description.groups]
    twice = next((noun for noun in nouns if nouns.count(noun) > 1), None)
    if twice:
        raise PromptError(f"“{twice}” is named twice; each noun may be named once, as in “two {plural(twice)}”")
    total = sum(group.count for group in description.groups)
    if total > MOST_OBJECTS:
        raise PromptError(f"{number(total)} objects do not fit; at most {number(MOST_OBJECTS)} do")
    return description


def category_of(description: Description) -> str:
    """The category of CATEGORIES a description belongs to."""
    groups = description.groups
    coloured = [group.colour is not None for group in groups]
    counted = any(group.count > 1 for group in groups)
    if description.relations and sum(group.count for group in groups) > 2:
        return "hard"
    if len(groups) == 1 and not (counted and coloured[0]):
        return "counting" if counted else "colours" if coloured[0] else "single object"
    if len(groups) == 2 and not counted:
        if not any(coloured):
            return "position" if description.relations else "two objects"
        if all(coloured) and not description.relations:
            return "colour attribution"
    return "mixed"


def related(first: Place | np.ndarray, word: str, second: Place | np.ndarray) -> bool | np.ndarray:
    """Whether a sprite at `first` stands `word` one at `second`, clear of it in that direction.

    Both are (column, row), or arrays of shape (2, N) for N answers.
    """
    match word:
        case "above":
            return first[1] + 2 <= second[1]
        case "below":
            return second[1] + 2 <= first[1]
        case "left of":
            return first[0] + 2 <= second[0]
        case "right of":
            return second[0] + 2 <= first[0]
    raise ValueError(f"no relation {word!r}; there are: {', '.join(RELATIONS)}")
