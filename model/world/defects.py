"""Synthetic defects: wrong scenes made from a right one, by kind.

Knows how a scene goes wrong for a given description, and lets the verifier confirm that it did. Knows no
network: it is the source of bad drafts before there is one.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.world.language import Description, Relation
from model.world.random_scenes import sample_places, sample_scene
from model.world.scene import Item, Scene, free_places, render
from model.world.sprites import CELL, COLOURS, NOUNS
from model.world.verifier import Reading, accepted, check, read
from model.world.vocabulary import MOST_OBJECTS, MOST_OF_A_KIND, RELATIONS, opposite


@dataclass(frozen=True)
class _Task:
    """What there is to spoil."""

    rng: random.Random
    description: Description
    scene: Scene

    def strange_nouns(self) -> list[str]:
        asked = {group.noun for group in self.description.groups}
        return [noun for noun in NOUNS if noun not in asked]

    def of_noun(self, noun: str) -> list[Item]:
        return [item for item in self.scene.items if item.noun == noun]


Defect = Callable[[_Task], Scene | np.ndarray | None]


def _with(task: _Task, item: Item) -> Scene:
    return Scene((*task.scene.items, item))


def _without(task: _Task, item: Item, *instead: Item) -> Scene:
    return Scene(tuple(other for other in task.scene.items if other != item) + instead)


def _one_more(task: _Task) -> Scene | None:
    places = free_places(task.scene.items)
    if not places:
        return None
    column, row = task.rng.choice(places)
    return _with(task, replace(task.rng.choice(task.scene.items), column=column, row=row))


def _one_fewer(task: _Task) -> Scene | None:
    items = [item for item in task.scene.items if len(task.of_noun(item.noun)) > 1]
    return _without(task, task.rng.choice(items)) if items else None


def _missing(task: _Task) -> Scene | None:
    noun = task.rng.choice(task.description.groups).noun
    rest = tuple(item for item in task.scene.items if item.noun != noun)
    return Scene(rest)


def _extra(task: _Task) -> Scene | None:
    places = free_places(task.scene.items)
    if not places:
        return None
    colour = task.rng.choice(tuple(COLOURS))
    return _with(task, Item(task.rng.choice(task.strange_nouns()), colour, *task.rng.choice(places)))


def _wrong_noun(task: _Task) -> Scene | None:
    item = task.rng.choice(task.scene.items)
    return _without(task, item, replace(item, noun=task.rng.choice(task.strange_nouns())))


def _wrong_colour(task: _Task) -> Scene | None:
    coloured = [group for group in task.description.groups if group.colour]
    if not coloured:
        return None
    group = task.rng.choice(coloured)
    item = task.rng.choice(task.of_noun(group.noun))
    return _without(task, item, replace(item, colour=_another(task.rng, group.colour)))


def _swapped_colours(task: _Task) -> Scene | None:
    coloured = [group for group in task.description.groups if group.colour]
    if len(coloured) < 2:
        return None
    first, other = task.rng.sample(coloured, 2)
    swap = {first.noun: other.colour, other.noun: first.colour}
    return Scene(tuple(replace(item, colour=swap.get(item.noun, item.colour)) for item in task.scene.items))


def _wrong_relation(task: _Task) -> Scene | None:
    if not task.description.relations:
        return None
    relation = task.rng.choice(task.description.relations)
    word = task.rng.choice([word for word in RELATIONS if word != relation.word])
    others = tuple(candidate for candidate in task.description.relations if candidate != relation)
    other = replace(task.description, relations=(*others, Relation(relation.first, word, relation.second)))
    items: list[Item] = []
    for group, places in zip(other.groups, sample_places(task.rng, other), strict=True):
        pairs = zip(task.of_noun(group.noun), places, strict=True)
        items += [replace(item, column=column, row=row) for item, (column, row) in pairs]
    return Scene(tuple(items))


def _one_moved(task: _Task) -> Scene | None:
    """One object on the wrong side of a relation, all others where they stood."""
    if not task.description.relations:
        return None
    relation = task.rng.choice(task.description.relations)
    noun = task.description.groups[task.rng.choice((relation.first, relation.second))].noun
    item = task.rng.choice(task.of_noun(noun))
    rest = tuple(other for other in task.scene.items if other != item)
    places = free_places(rest)
    for column, row in task.rng.sample(places, len(places)):
        scene = Scene((*rest, replace(item, column=column, row=row)))
        if sum(not fact.holds for fact in check(task.description, Reading(scene.items))) == 1:
            return scene
    return None


def _smeared(task: _Task) -> np.ndarray:
    image = render(task.scene)
    _smear(task.rng, image, task.rng.choice(task.scene.items))
    return image


def _smear(rng: random.Random, image: np.ndarray, item: Item) -> None:
    """In place: one cell of a sprite becomes another sprite's, or its pixels are shuffled."""
    quadrant = rng.randrange(4)
    top, left = (item.row + quadrant // 2) * CELL, (item.column + quadrant % 2) * CELL
    cell = image[top : top + CELL, left : left + CELL]
    if rng.random() < 0.7:
        other = Item(rng.choice(NOUNS), rng.choice(tuple(COLOURS)), 0, 0)
        y, x = rng.choice(((0, 0), (0, CELL), (CELL, 0), (CELL, CELL)))
        cell[:] = render(Scene((other,)))[y : y + CELL, x : x + CELL]
    else:
        order = rng.sample(range(CELL * CELL), CELL * CELL)
        cell[:] = cell.reshape(-1, 3)[order].reshape(cell.shape)


DEFECTS: dict[str, Defect] = {
    "one more": _one_more,
    "one fewer": _one_fewer,
    "wrong colour": _wrong_colour,
    "swapped colours": _swapped_colours,
    "wrong relation": _wrong_relation,
    "one moved": _one_moved,
    "missing object": _missing,
    "extra object": _extra,
    "wrong noun": _wrong_noun,
    "smeared sprite": _smeared,
}


# What a model that plans gets wrong of hard prompts, nearly alone.
RELATION_DEFECTS: tuple[str, ...] = ("wrong relation", "one moved")


def spoil(
    rng: random.Random, description: Description, scene: Scene, kinds: Sequence[str] = tuple(DEFECTS)
) -> tuple[str, np.ndarray]:
    """A defect and the picture that has it, uint8 (64, 64, 3); the verifier does not accept it.

    The defect is uniform among `kinds`, as far as `description` allows them; one of them it has to.
    """
    while True:
        kind = rng.choice(kinds)
        image = spoil_as(rng, kind, description, scene)
        if image is not None:
            return kind, image


def spoil_as(rng: random.Random, kind: str, description: Description, scene: Scene) -> np.ndarray | None:
    """The picture with one defect of DEFECTS, or None where the description does not allow it, or it would be none."""
    wrong = DEFECTS[kind](_Task(rng, description, scene))
    if wrong is None:
        return None
    image = render(wrong) if isinstance(wrong, Scene) else wrong
    return None if accepted(check(description, read(image))) else image


def mistake(rng: random.Random, description: Description, respect: str | None = None) -> np.ndarray:
    """A picture that is wrong throughout in one respect, uint8 (64, 64, 3); the verifier does not accept it.

    Every noun another, every colour that was asked for, every number, every relation the opposite, or every second
    sprite smeared; all else as asked. What one respect means is learnt from these: of a single defect in a picture
    full of right facts a judge learns next to nothing at first (training/LOG.md). `respect` is one of RESPECTS that
    `description` has, or any that it has.
    """
    while True:
        chosen = respect or rng.choice(RESPECTS)
        if chosen == "smeared":
            image = smeared(rng, sample_scene(rng, description))
        else:
            image = render(sample_scene(rng, _OTHERWISE[chosen](rng, description)))
        if not accepted(check(description, read(image))):
            return image


def has(description: Description, respect: str) -> bool:
    """Whether a picture can be wrong in this respect."""
    if respect == "colours":
        return any(group.colour for group in description.groups)
    return respect != "relations" or bool(description.relations)


def _nouns(rng: random.Random, description: Description) -> Description:
    asked = {group.noun for group in description.groups}
    strangers = rng.sample([noun for noun in NOUNS if noun not in asked], len(description.groups))
    pairs = zip(description.groups, strangers, strict=True)
    return replace(description, groups=tuple(replace(group, noun=noun) for group, noun in pairs))


def _colours(rng: random.Random, description: Description) -> Description:
    groups = (replace(group, colour=group.colour and _another(rng, group.colour)) for group in description.groups)
    return replace(description, groups=tuple(groups))


def _counts(rng: random.Random, description: Description) -> Description:
    groups, room = [], MOST_OBJECTS - len(description.groups)
    for group in description.groups:
        wrong = [count for count in range(1, min(MOST_OF_A_KIND, room + 1) + 1) if count != group.count]
        groups.append(replace(group, count=rng.choice(wrong or [group.count])))
        room -= groups[-1].count - 1
    return replace(description, groups=tuple(groups))


def _relations(rng: random.Random, description: Description) -> Description:
    def turned(relation: Relation) -> Relation:
        return replace(relation, word=opposite(relation.word))

    return replace(description, relations=tuple(map(turned, description.relations)))


_OTHERWISE = {"nouns": _nouns, "colours": _colours, "counts": _counts, "relations": _relations}
RESPECTS: tuple[str, ...] = (*_OTHERWISE, "smeared")


def smeared(rng: random.Random, scene: Scene) -> np.ndarray:
    """The picture of a scene, uint8 (64, 64, 3), in which every second sprite has a wrong cell."""
    image = render(scene)
    for item in scene.items:
        if rng.random() < 0.5:
            _smear(rng, image, item)
    return image


def otherwise(rng: random.Random, description: Description) -> Description:
    """Another description that differs in one count, one colour (also one that was free) or one relation."""
    at, relations = rng.randrange(len(description.groups)), description.relations
    group = description.groups[at]
    room = MOST_OBJECTS - sum(each.count for each in description.groups) + group.count
    counts = [count for count in range(1, min(MOST_OF_A_KIND, room) + 1) if count != group.count]
    match rng.choice(["counts"] * bool(counts) + ["colours"] + ["relations"] * bool(relations)):
        case "counts":
            group = replace(group, count=rng.choice(counts))
        case "colours":
            group = replace(group, colour=_another(rng, group.colour))
        case "relations":
            turned = rng.choice(relations)
            word = rng.choice([word for word in RELATIONS if word != turned.word])
            relations = tuple(
                replace(relation, word=word) if relation == turned else relation for relation in relations
            )
    return Description((*description.groups[:at], group, *description.groups[at + 1 :]), relations)


def _another(rng: random.Random, colour: str | None) -> str:
    return rng.choice([other for other in COLOURS if other != colour])
