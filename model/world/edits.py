"""Image edits by instruction: the instruction in words and as a value, and the resulting scene.

Knows five kinds of edits, how they are written, how a person's wording is read, what they do to a scene, and
whether a picture shows exactly that. Knows no pixels and no network. A random generator is always an argument.
"""

import random
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from model.world.language import Group, Place, Relation, parse, related, write_group
from model.world.scene import Item, Scene, free_places
from model.world.sprites import COLOURS, NOUNS
from model.world.vocabulary import MOST_OBJECTS, MOST_OF_A_KIND, RELATIONS, PromptError, named, number

if TYPE_CHECKING:  # nothing that reads an instruction may need the verifier
    from model.world.verifier import Reading


@dataclass(frozen=True)
class Where:
    """`word`, of RELATIONS, the one `noun` of the scene."""

    word: str
    noun: str


@dataclass(frozen=True)
class Recolour:
    noun: str
    colour: str
    kind = "recolour"


@dataclass(frozen=True)
class Remove:
    noun: str
    kind = "remove"


@dataclass(frozen=True)
class Add:
    """One more object; `colour` None leaves the colour free, `where` None the place."""

    noun: str
    colour: str | None = None
    where: Where | None = None
    kind = "add"


@dataclass(frozen=True)
class Move:
    noun: str
    where: Where
    kind = "move"


@dataclass(frozen=True)
class Replace:
    """`other` stands where `noun` stood; `colour` None keeps the old colour."""

    noun: str
    other: str
    colour: str | None = None
    kind = "replace"


Edit = Recolour | Remove | Add | Move | Replace

_EXAMPLES: dict[str, str] = {
    "recolour": "make the cat blue",
    "remove": "remove the star",
    "add": "add a moon above the house",
    "move": "move the car left of the tree",
    "replace": "replace the cat with a blue dog",
}
KINDS: tuple[str, ...] = tuple(_EXAMPLES)

# Verbs by kind, and what must follow them; tried in this order, so “put the …” moves and “put a …” adds.
_VERBS: tuple[tuple[str, str, str], ...] = (
    ("remove", "remove|delete|erase|take away|get rid of", r"(?P<noun>.+)"),
    ("remove", "take", r"(?P<noun>.+) (?:away|out)"),
    ("replace", "replace|swap|exchange|substitute", r"(?P<noun>.+?) (?:with|for|by) (?P<result>.+)"),
    ("move", "move|shift|bring|(?:put|place|set)(?= the )", r"(?P<objects>.+)"),
    ("add", "add|insert|draw|put|place|set", r"(?P<objects>.+)"),
    (
        "recolour",
        "make|paint|colou?r|recolou?r|dye|turn|change",
        rf"(?:the colou?r of )?(?!(?:the|an?) \S+$)(?P<noun>(?:(?:the|an?) )?(?:(?:{'|'.join(COLOURS)}) )?\S+)"
        r" (?:(?:in|into|to) )?(?P<result>.+)",
    ),
)
_POLITE = re.compile(r"^(?:(?:please|now|then|(?:can|could|would) you),? )+|,? please$")
_NO_GOAL = re.compile(r"\b(?:left|right|side|up|down)$")


def write_edit(edit: Edit) -> str:
    """The instruction: "make the cat blue", "add a moon above the house"."""
    match edit:
        case Recolour():
            return f"make the {edit.noun} {edit.colour}"
        case Remove():
            return f"remove the {edit.noun}"
        case Add():
            return f"add {write_group(Group(1, edit.noun, edit.colour))}{_write_where(edit.where)}"
        case Move():
            return f"move the {edit.noun}{_write_where(edit.where)}"
        case Replace():
            return f"replace the {edit.noun} with {write_group(Group(1, edit.other, edit.colour))}"


def _write_where(where: Where | None) -> str:
    return f" {where.word} the {where.noun}" if where else ""


def read_edit(text: str) -> Edit:
    """The edit that a person's wording asks for; PromptError says what cannot be understood."""
    words = " ".join(re.sub(r"[.!?;:\"'“”()]", " ", text.lower()).split()).rstrip(" ,")
    words = _POLITE.sub("", words)
    if not words:
        raise PromptError(f"the instruction is empty; write for example “{_EXAMPLES['recolour']}”")
    begun = None
    for kind, verbs, rest in _VERBS:
        if re.match(rf"(?:{verbs})\b", words):
            begun = kind
            match = re.fullmatch(rf"(?:{verbs}) {rest}", words)
            if match:
                return _read_as(kind, **match.groupdict())
    if begun:
        raise PromptError(f"“{words}” is not a whole instruction; write for example “{_EXAMPLES[begun]}”")
    examples = ", ".join(f"“{example}”" for example in _EXAMPLES.values())
    raise PromptError(f"“{words}” is no instruction that the embedded world knows; write for example {examples}")


def _read_as(kind: str, noun: str = "", result: str = "", objects: str = "") -> Edit:
    match kind:
        case "add":
            new, where = _read_placed(objects)
            return Add(new.noun, new.colour, where)
        case "move":
            new, where = _read_placed(objects)
            if where is None:
                raise PromptError(f"“{objects}” does not say where to; write for example “{_EXAMPLES[kind]}”")
            return Move(_standing(new), where)
        case "remove":
            return Remove(_standing(_single(parse(noun).groups)))
    old = _standing(_single(parse(noun).groups))
    if kind == "recolour" and result in COLOURS:
        return Recolour(old, result)
    new = _single(parse(result).groups)
    return Replace(old, new.noun, new.colour)


def _read_placed(words: str) -> tuple[Group, Where | None]:
    """An object and where it shall stand: "a moon above the house"."""
    if _NO_GOAL.search(words):
        raise PromptError(f"“{words}” does not say of what; write for example “above the house”")
    description = parse(words)
    first, *others = description.groups
    match description.relations:
        case (Relation(0, word, 1),):
            return _single([first]), Where(word, _standing(_single(others)))
    return _single(description.groups), None


def _single(groups: Sequence[Group]) -> Group:
    if len(groups) > 1 or groups[0].count > 1:
        objects = " and ".join(map(write_group, groups))
        raise PromptError(f"“{objects}” is more than one object; an instruction changes one at a time")
    return groups[0]


def _standing(group: Group) -> str:
    """The noun of an object that is in the picture already."""
    if group.colour:
        raise PromptError(f"an object in the picture goes by its noun alone: “the {group.noun}”")
    return group.noun


def sample_edit(rng: random.Random, scene: Scene) -> Edit:
    """A random edit that is possible and changes the scene; the kind is uniform among those it allows.

    It removes no last object and adds none beyond MOST_OBJECTS. ValueError if the scene allows no edit.
    """
    if not scene.items:
        raise ValueError("an empty scene cannot be edited")
    for kind in rng.sample(KINDS, len(KINDS)):
        edits = _some(rng, scene, kind)
        for edit in rng.sample(edits, len(edits)):
            with suppress(ValueError):
                if _results(edit, scene) or isinstance(edit, Remove):
                    return edit
    raise ValueError("this scene allows no edit: no noun stands alone, and there is no room for one object more")


def _some(rng: random.Random, scene: Scene, kind: str) -> list[Edit]:
    """Edits of one kind, among them all that are possible but for colours and nouns drawn here."""
    nouns = [item.noun for item in scene.items]
    alone = [noun for noun in nouns if nouns.count(noun) == 1]
    spare = [noun for noun in NOUNS if nouns.count(noun) < MOST_OF_A_KIND]
    colour = rng.choice(tuple(COLOURS)) if rng.random() < 0.5 else None
    wheres = [Where(word, noun) for word in RELATIONS for noun in alone]
    match kind:
        case "recolour":
            return [Recolour(noun, other) for noun in alone for other in COLOURS]
        case "remove":
            return [Remove(noun) for noun in alone if len(nouns) > 1]
        case "move":
            return [Move(noun, where) for noun in alone for where in wheres]
        case "replace":
            return [Replace(noun, other, colour) for noun in alone for other in spare if other != noun]
    if len(nouns) >= MOST_OBJECTS:
        return []
    new = rng.choice(spare)
    beside = [Add(new, colour, where) for where in wheres if where.noun != new]
    return beside if beside and rng.random() < 0.5 else [Add(new, colour)]


def apply_edit(rng: random.Random, scene: Scene, edit: Edit) -> Scene:
    """The scene afterwards: nothing else moves, what the instruction leaves free is uniform.

    ValueError says why an edit cannot be done.
    """
    stay = tuple(item for item in scene.items if item != _subject(edit, scene))
    if isinstance(edit, Remove):
        return Scene(stay)
    results = _results(edit, scene)
    if not results:
        raise ValueError(f"there is no free place{_write_where(edit.where)} for the {edit.noun}")
    return Scene((*stay, rng.choice(results)))


def edited(edit: Edit, before: Scene, reading: "Reading") -> bool:
    """Whether a picture shows `before` with the edit done, nothing else changed and nothing broken.

    ValueError if the edit is none for `before`.
    """
    stay = {item for item in before.items if item != _subject(edit, before)}
    results = _results(edit, before)
    shown = set(reading.items)
    if reading.broken or not stay <= shown:
        return False
    new = shown - stay
    return not new if isinstance(edit, Remove) else len(new) == 1 and new <= set(results)


def touched(edit: Edit, before: Scene, after: Scene) -> set[tuple[int, int]]:
    """The cells (column, row) that may change: where the edit's object stood, and where it stands in `after`.

    An object of the right noun is the edit's, even if its colour or place is wrong; everything else in `after`
    ought to be as it was. ValueError if the edit is none for `before`.
    """
    subject, results = _subject(edit, before), _results(edit, before)
    new = [
        item for item in after.items if item not in before.items and item.noun in {result.noun for result in results}
    ]
    its = [subject] if subject else []
    its += sorted(new, key=lambda item: item not in results)[:1]
    return {(item.column + right, item.row + down) for item in its for right in (0, 1) for down in (0, 1)}


def _subject(edit: Edit, scene: Scene) -> Item | None:
    """The object that an edit changes, None if it is yet to come."""
    return None if isinstance(edit, Add) else _the(edit.noun, scene)


def _the(noun: str, scene: Scene) -> Item:
    items = [item for item in scene.items if item.noun == noun]
    if not items:
        shown = ", ".join(dict.fromkeys(item.noun for item in scene.items)) or "nothing"
        raise ValueError(f"there is no {noun} in the picture; it shows: {shown}")
    if len(items) > 1:
        raise ValueError(f"there are {number(len(items))} {named(noun, 2)}; “the {noun}” must name one object alone")
    return items[0]


def _results(edit: Edit, scene: Scene) -> list[Item]:
    """The objects of which any one carries the edit out; none for a removal, or where there is no room."""
    subject = _subject(edit, scene)
    match edit:
        case Remove():
            return []
        case Recolour():
            results = [replace(subject, colour=edit.colour)]
        case Replace():
            results = [replace(subject, noun=edit.other, colour=edit.colour or subject.colour)]
        case Move():
            return [replace(subject, column=column, row=row) for column, row in _goals(edit, subject, scene)]
        case Add():
            colours = [edit.colour] if edit.colour else list(COLOURS)
            places = _at(edit.where, free_places(scene.items), scene)
            return [Item(edit.noun, colour, *place) for place in places for colour in colours]
    if subject in results:
        raise ValueError(f"the {edit.noun} is {subject.colour} already")
    return results


def _goals(edit: Move, subject: Item, scene: Scene) -> list[Place]:
    """All places to which a move may lead."""
    word, noun = edit.where.word, edit.where.noun
    if noun == edit.noun:
        raise ValueError(f"the {noun} cannot stand {word} itself")
    if _at(edit.where, [(subject.column, subject.row)], scene):
        raise ValueError(f"the {edit.noun} stands {word} the {noun} already")
    others = [item for item in scene.items if item != subject]
    return _at(edit.where, free_places(others), scene)


def _at(where: Where | None, places: list[Place], scene: Scene) -> list[Place]:
    """Those of `places` that are where an object shall stand."""
    if where is None:
        return places
    goal = _the(where.noun, scene)
    return [place for place in places if related(place, where.word, (goal.column, goal.row))]
