"""The scene nearest to a rejected drawing that satisfies the prompt.

Knows descriptions and readings: which drawn objects can stand together, and where the missing ones find room.
Knows no pixels, and nothing of what was said about the drawing. A random generator is always an argument.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model.world.language import Description, Group, Place, related
from model.world.random_scenes import sample_scene
from model.world.scene import LAST, Item, Scene, free_places
from model.world.sprites import COLOURS
from model.world.verifier import Reading
from model.world.vocabulary import RELATIONS

_PLACES: tuple[Place, ...] = tuple((column, row) for row in range(LAST + 1) for column in range(LAST + 1))
_CHOICES = 64  # most choices of what to keep that are tried
_TRIES = 16  # most attempts to find places for all that is missing


def _number(place: Place) -> int:
    return place[1] * (LAST + 1) + place[0]


def _as_bits(places: Iterable[Place]) -> int:
    """A set of places as an int, which is fast: bit i stands for _PLACES[i]."""
    return sum(1 << _number(place) for place in places)


_ALL = _as_bits(_PLACES)
# For every place: where another object does not overlap one there; where a relation's first object may stand if the
# second is there; where the second may stand if the first is there.
_CLEAR = [_as_bits(free_places([Item("cat", "red", *place)])) for place in _PLACES]
_FIRST = {word: [_as_bits(p for p in _PLACES if related(p, word, there)) for there in _PLACES] for word in RELATIONS}
_SECOND = {word: [_as_bits(p for p in _PLACES if related(there, word, p)) for there in _PLACES] for word in RELATIONS}


@dataclass(frozen=True)
class _Choice:
    """Drawn objects that stay: by group, and for every group the places left for more of its objects."""

    kept: tuple[tuple[Item, ...], ...]
    room: tuple[int, ...]
    worth: int = 0


def repair_scene(rng: random.Random, description: Description, reading: Reading, *, first: bool = False) -> Scene:
    """A scene that satisfies the description and keeps as many of the drawn objects in their places as can be.

    Whole shapes are kept before broken ones, right colours before wrong ones, which are corrected. What is missing
    or has to move gets places drawn one after another, each uniform among the valid free ones. If nothing can be
    kept, the scene is a new one.

    With `first` nothing that can be kept is left to chance: of equal choices objects of earlier groups stay, and each
    missing one gets the first valid free place in reading order, wherever all find room so.
    """
    drawn = [[item for item in reading.shapes() if item.noun == group.noun] for group in description.groups]
    choices = _choices(None if first else rng, description, reading, drawn)
    for choice in sorted(choices, key=lambda choice: choice.worth, reverse=True)[:_CHOICES]:
        scene = _completed(rng, description, choice, drawn, first) if choice.worth else None
        if scene:
            return scene
    return sample_scene(rng, description)


def _choices(
    rng: random.Random | None, description: Description, reading: Reading, drawn: Sequence[Sequence[Item]]
) -> list[_Choice]:
    """Every choice of drawn objects that can stay together, in random order; without `rng` those that keep objects of
    earlier groups before others of as many."""
    groups = description.groups
    shapes = [(index, item) for index, items in enumerate(drawn) for item in items]
    choices = [_Choice(((),) * len(groups), (_ALL,) * len(groups))]
    for index, item in rng.sample(shapes, len(shapes)) if rng else shapes:
        place = _number((item.column, item.row))
        right = groups[index].colour in (None, item.colour)
        worth = 100 + 10 * (item in reading.items) + right  # at most six objects: a count goes before a quality
        for choice in tuple(choices):
            if len(choice.kept[index]) < groups[index].count and choice.room[index] >> place & 1:
                kept = (*choice.kept[:index], (*choice.kept[index], item), *choice.kept[index + 1 :])
                room = _narrowed(description, choice.room, index, place)
                choices.append(_Choice(kept, room, choice.worth + worth))
    return choices


def _narrowed(description: Description, room: Sequence[int], index: int, place: int) -> tuple[int, ...]:
    """The places left for every group once an object of group `index` stands at `place`."""
    left = [places & _CLEAR[place] for places in room]
    for relation in description.relations:
        if relation.second == index:
            left[relation.first] &= _FIRST[relation.word][place]
        if relation.first == index:
            left[relation.second] &= _SECOND[relation.word][place]
    return tuple(left)


def _completed(
    rng: random.Random, description: Description, choice: _Choice, drawn: Sequence[Sequence[Item]], first: bool
) -> Scene | None:
    """The kept objects in the right colours and all that is missing, None if no room is found for it. With `first` the
    first try takes groups, colours and places in order."""
    kept, missing = [], []
    for index, group in enumerate(description.groups):
        stay = choice.kept[index]
        kept += [Item(item.noun, group.colour or item.colour, item.column, item.row) for item in stay]
        missing += [(index, colour) for colour in _colours(None if first else rng, group, stay, drawn[index])]
    if not all(choice.room[index] for index, _ in missing):
        return None
    for number_of_try in range(_TRIES):
        in_order = first and not number_of_try
        items, room = list(kept), choice.room
        for index, colour in missing if in_order else rng.sample(missing, len(missing)):
            free = [number for number in range(len(_PLACES)) if room[index] >> number & 1]
            if not free:
                break
            number = free[0] if in_order else rng.choice(free)
            items.append(Item(description.groups[index].noun, colour, *_PLACES[number]))
            room = _narrowed(description, room, index, number)
        else:
            return Scene(tuple(items))
    return None


def _colours(rng: random.Random | None, group: Group, kept: Sequence[Item], drawn: Sequence[Item]) -> list[str]:
    """A colour for every object of a group that is not kept.

    Where the description leaves it free, a moved object keeps its own, and a new one is like those drawn, or any;
    without `rng` like the first drawn, or the first of all.
    """
    count = group.count - len(kept)
    if group.colour:
        return [group.colour] * count
    moved = [item.colour for item in drawn if item not in kept]
    known = [item.colour for item in drawn] or tuple(COLOURS)
    new = rng.choice(known) if rng else known[0]
    return (moved + [new] * count)[:count]
