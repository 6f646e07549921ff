"""The verifier: reads an image back into sprites and evaluates each fact of a prompt.

Knows sprites, scenes and descriptions. Knows nothing of who drew the picture, and writes no sentences.
Reading tolerates a codec's noise; judging is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.world.language import Description, Group, Relation, related
from model.world.scene import Item
from model.world.sprites import BACKGROUND, CELL, CELLS, COLOURS, NOUNS, SPRITE, sprite

# A cell further than this from every template is smeared: mean absolute difference per channel, of 255.
# Noise of sigma 12 alone gives 9.6.
SMEARED = 28.0

KINDS: tuple[str, ...] = ("missing", "count", "colour", "relation", "extra", "broken")

_NOTHING, _SMEAR, _UNKNOWN = -1, -2, -3  # labels of cells that are no quadrant
_WINDOWS = CELLS - 1


@dataclass(frozen=True)
class Reading:
    """What a picture shows.

    `items`: the whole sprites in canonical order. `broken`: (column, row) of every cell that is neither
    background nor part of one. `fragments`: what the broken shapes were probably meant to be (at least two
    right quadrants of four).
    """

    items: tuple[Item, ...]
    broken: tuple[tuple[int, int], ...] = ()
    fragments: tuple[Item, ...] = ()

    def shapes(self) -> tuple[Item, ...]:
        """Whole sprites and recognisable broken ones."""
        return self.items + self.fragments


@dataclass(frozen=True)
class Fact:
    """One thing that a description asks for, or that a picture shows unasked.

    `wanted` and `found` are counts ("count", "missing", "extra"; cells for "broken"), colours ("colour"), or
    a relation's word (`wanted`; `other` is its second noun). "missing", "extra", "broken" are always false.
    """

    kind: str
    noun: str | None
    wanted: int | str | None
    found: int | str | None
    holds: bool
    other: str | None = None


def _make_templates() -> np.ndarray:
    """All quadrants and, last, the background: float32 (513, 192). A quadrant's label is its index."""
    cells = []
    for noun in NOUNS:
        for colour in COLOURS:
            picture = sprite(noun, colour)
            for top in range(0, SPRITE, CELL):
                cells += [picture[top : top + CELL, left : left + CELL] for left in range(0, SPRITE, CELL)]
    cells.append(np.broadcast_to(np.array(BACKGROUND, dtype=np.uint8), (CELL, CELL, 3)))
    return np.stack(cells).reshape(len(cells), -1).astype(np.float32)


_TEMPLATES = _make_templates()
_HALF_NORMS = (_TEMPLATES**2).sum(1) / 2
_BLANK = len(_TEMPLATES) - 1
_EXACT = {cell.astype(np.uint8).tobytes(): label for label, cell in enumerate(_TEMPLATES[:_BLANK])}
_EXACT[_TEMPLATES[_BLANK].astype(np.uint8).tobytes()] = _NOTHING


def label_cells(images: np.ndarray) -> np.ndarray:
    """uint8 (N, 64, 64, 3) to int (N, 8, 8): sprite * 4 + quadrant, or -1 background, or -2 smeared."""
    count = len(images)
    cells = images.reshape(count, CELLS, CELL, CELLS, CELL, 3).swapaxes(2, 3).reshape(-1, CELL * CELL * 3)
    labels = np.array([_EXACT.get(cell.tobytes(), _UNKNOWN) for cell in cells])  # for speed alone
    unknown = labels == _UNKNOWN
    labels[unknown] = _nearest(cells[unknown].astype(np.float32))
    return labels.reshape(count, CELLS, CELLS)


def smeared_share(image: np.ndarray) -> float:
    """How much of a picture, uint8 (64, 64, 3), is neither background nor a part of a sprite: 0 to 1."""
    return float((label_cells(image[None]) == _SMEAR).mean())


def _nearest(cells: np.ndarray) -> np.ndarray:
    """The labels of float32 cells (N, 192)."""
    labels = (cells @ _TEMPLATES.T - _HALF_NORMS).argmax(1)
    smeared = np.abs(cells - _TEMPLATES[labels]).mean(1) > SMEARED
    labels[labels == _BLANK] = _NOTHING
    labels[smeared] = _SMEAR
    return labels


def read(image: np.ndarray) -> Reading:
    """What one picture, uint8 (64, 64, 3), shows."""
    return read_many(image[None])[0]


def read_many(images: np.ndarray) -> list[Reading]:
    """What each picture of uint8 (N, 64, 64, 3) shows."""
    labels = label_cells(np.asarray(images))
    windows = np.stack(
        [labels[:, top : top + _WINDOWS, left : left + _WINDOWS] for top in (0, 1) for left in (0, 1)], axis=-1
    )  # (N, 7, 7, 4): the four cells of every place for a sprite
    fits = (windows >= 0) & (windows % 4 == np.arange(4))
    sprites = np.where(fits, windows // 4, -1)
    whole = fits.all(-1) & (sprites == sprites[..., :1]).all(-1)
    return [_assemble(*parts) for parts in zip(labels, sprites, whole, strict=True)]


def _assemble(labels: np.ndarray, sprites: np.ndarray, whole: np.ndarray) -> Reading:
    """One reading from labels (8, 8), the sprites that windows vote for (7, 7, 4), whole windows (7, 7)."""
    left_over = labels != _NOTHING
    items = []
    for row, column in np.argwhere(whole):
        items.append(_item(int(sprites[row, column, 0]), int(column), int(row)))
        left_over[row : row + 2, column : column + 2] = False
    broken = tuple((int(column), int(row)) for row, column in np.argwhere(left_over))
    return Reading(tuple(items), broken, _fragments(sprites, left_over) if broken else ())


def _item(number: int, column: int, row: int) -> Item:
    noun, colour = divmod(number, len(COLOURS))
    return Item(NOUNS[noun], tuple(COLOURS)[colour], column, row)


def _fragments(sprites: np.ndarray, left_over: np.ndarray) -> tuple[Item, ...]:
    """Sprites of which two or three quadrants stand in their place, the most complete first."""
    found = []
    for row, column in np.argwhere((sprites >= 0).sum(-1) >= 2):
        votes = sprites[row, column]
        best = max(set(votes[votes >= 0].tolist()), key=lambda number: int((votes == number).sum()))
        if (votes == best).sum() >= 2:
            found.append((-int((votes == best).sum()), int(row), int(column), best))
    fragments, free = [], left_over.copy()
    for _, row, column, number in sorted(found):
        cells = free[row : row + 2, column : column + 2]
        mine = (sprites[row, column] == number).reshape(2, 2)
        if cells[mine].all():
            fragments.append(_item(number, column, row))
            cells[:] = False
    return tuple(sorted(fragments, key=lambda item: (item.row, item.column)))


def check(description: Description, reading: Reading) -> tuple[Fact, ...]:
    """What holds of the drawing and what does not; one defect makes one false fact.

    So a broken shape still counts as what it was meant to be, an unasked object in place of a missing one is
    not told twice, and colours and relations are asked only of objects that are there.
    """
    asked = {group.noun for group in description.groups}
    pools = [_pool(group, reading.shapes()) for group in description.groups]
    facts: list[Fact] = []
    for group, pool in zip(description.groups, pools, strict=True):
        facts += _group_facts(group, pool)
    for relation in description.relations:
        if pools[relation.first] and pools[relation.second]:
            facts.append(_relation_fact(description, relation, pools))
    short = sum(max(0, group.count - len(pool)) for group, pool in zip(description.groups, pools, strict=True))
    strangers = [item.noun for item in reading.shapes() if item.noun not in asked]
    for noun in dict.fromkeys(strangers[short:]):
        facts.append(Fact("extra", noun, 0, strangers.count(noun), holds=False))
    if reading.broken:
        facts.append(Fact("broken", None, 0, len(reading.broken), holds=False))
    return tuple(facts)


def _pool(group: Group, shapes: Sequence[Item]) -> list[Item]:
    """All objects of the group's noun, those in its colour first."""
    pool = [item for item in shapes if item.noun == group.noun]
    return sorted(pool, key=lambda item: item.colour != group.colour)


def _group_facts(group: Group, pool: list[Item]) -> list[Fact]:
    if not pool:
        return [Fact("missing", group.noun, group.count, 0, holds=False)]
    facts = [Fact("count", group.noun, group.count, len(pool), len(pool) == group.count)]
    if group.colour:
        last = pool[: group.count][-1].colour
        facts.append(Fact("colour", group.noun, group.colour, last, last == group.colour))
    return facts


def _relation_fact(description: Description, relation: Relation, pools: list[list[Item]]) -> Fact:
    """Whether every object of the first group stands so to every object of the second.

    Of too many objects of one noun the best placed are taken: the surplus is the count's fault.
    """
    first, second = description.groups[relation.first], description.groups[relation.second]

    def place(item: Item) -> int:
        return item.row if relation.word in ("above", "below") else item.column

    ahead = relation.word in ("below", "right of")
    firsts = sorted(pools[relation.first], key=place, reverse=ahead)[: first.count]
    seconds = sorted(pools[relation.second], key=place, reverse=not ahead)[: second.count]
    holds = all(
        related((one.column, one.row), relation.word, (other.column, other.row)) for one in firsts for other in seconds
    )
    return Fact("relation", first.noun, relation.word, None, holds, second.noun)


def accepted(facts: Sequence[Fact]) -> bool:
    """Whether everything holds."""
    return all(fact.holds for fact in facts)


def score(facts: Sequence[Fact]) -> float:
    """The share of facts that hold, 0 to 1."""
    return sum(fact.holds for fact in facts) / len(facts) if facts else 0.0
