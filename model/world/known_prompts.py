"""Normalisation of prompts to the wording that was trained, and detection of unknown ones.

A person writes “Two red apples” or “one cat”; lessons say “two red apples” and “a cat”.
"""

import re
from typing import NamedTuple

from model.world.edits import read_edit, write_edit
from model.world.language import Description, Relation, parse, stripped, write
from model.world.nearest import Nearest, nearest_prompt
from model.world.sprites import NOUNS
from model.world.vocabulary import PromptError, opposite, plural

PAIRS = {(1, 0): (0, 1), (1, 2): (2, 1)}  # of groups, how a relation is turned: towards the second
TAUGHT = (
    "The embedded network has learnt prompts about one or two kinds of objects, or about three of which the first and "
    "the last stand above, below, left of or right of the second, as in “two cats above a red car, a moon below it”"
)


class NormalisedPrompt(NamedTuple):
    """A prompt in the trained wording, and why it lies outside of what was trained; None where it does not."""

    text: str
    warning: str | None = None


def normalise(prompt: str) -> NormalisedPrompt:
    """What the world cannot read stays, in small letters and without line breaks."""
    try:
        description = towards_the_second(parse(prompt))
    except PromptError as error:
        nearest = nearest_prompt(prompt)
        if nearest is not None and nearest.is_same and nearest.instead and _says_all(prompt, nearest):
            return NormalisedPrompt(nearest.prompt)
        return NormalisedPrompt(plain(prompt), str(error))
    return NormalisedPrompt(write(description), None if is_taught(description) else TAUGHT)


def _says_all(prompt: str, nearest: Nearest) -> bool:
    """Whether the nearest prompt is this one word for word, but for synonyms."""
    words = stripped(prompt)
    for word, ours in nearest.instead.items():
        named = plural(ours) if word.endswith("s") and ours in NOUNS else ours
        words = re.sub(rf"\b{re.escape(word)}\b", named, words)
    try:
        return parse(words) == nearest.description
    except PromptError:
        return False


def normalise_edit(text: str) -> NormalisedPrompt:
    """The same of an instruction to edit."""
    try:
        return NormalisedPrompt(write_edit(read_edit(text)))
    except PromptError as error:
        return NormalisedPrompt(plain(text), str(error))


def plain(text: str) -> str:
    return " ".join(text.lower().split())


def towards_the_second(description: Description) -> Description:
    """The same relations, told of the first and third group: “a cat above a dog above a fish” becomes “a cat above a
    dog, a fish below it”."""

    def turned(relation: Relation) -> Relation:
        if (pair := PAIRS.get((relation.first, relation.second))) is None:
            return relation
        return Relation(pair[0], opposite(relation.word), pair[1])

    return Description(description.groups, tuple(map(turned, description.relations)))


def is_taught(description: Description) -> bool:
    """Whether lessons have prompts of this kind; its relations must point to the second group."""
    related = {(relation.first, relation.second) for relation in description.relations}
    kinds = len(description.groups)
    return kinds <= 2 or (kinds, related) == (3, {(0, 1), (2, 1)})
