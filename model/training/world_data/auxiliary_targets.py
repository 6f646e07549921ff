"""Auxiliary per-position targets of the embedded network: on prompt, images, self-check and thought.

Without them a judge of pictures that differ in more than their number of objects stayed at chance: its facts have to be
computed side by side, and nothing trained that (LOG.md). Each lies at a depth of its own, so that what follows from one
has layers left to follow in.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from model.backends.janus import Janus
from model.templates import CHECK, USER
from model.training.training_sequences import AuxiliaryTarget, AuxiliaryTargets, DrawAuxiliary, JudgeAuxiliary
from model.world.language import Description, related, write
from model.world.scene import Item, Scene
from model.world.sprites import CELLS
from model.world.verifier import Fact, Reading, check, read
from model.world.vocabulary import MOST_OF_A_KIND, RELATIONS, named, number, opposite

# Depths of the targets, as a share of the layers: what follows from others lies deeper than they do. No two lie at one
# position and depth: the head reads one word off each.
READ, NAMED, SEEN, COMPARED, SUMMED = 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6

# And of the cell that is about to be drawn: where it is, what stands there, in which colour. Of an object in an earlier
# image the same, at the first of its codes.
COLUMN, ROW, NOUN, COLOUR = 1 / 6, 1 / 3, 1 / 2, 2 / 3

# And of an object in a plan, at its last word.
PLANNED_COLUMN, PLANNED_NOUN, PLANNED_COLOUR, PLANNED_WHICH = 1 / 6, 1 / 3, 1 / 2, 2 / 3

Words = list[tuple[str, float]]  # words at one position, and how deep


def judge_auxiliary(
    janus: Janus, description: Description, image: np.ndarray, prompt: str | None = None
) -> JudgeAuxiliary:
    """Word by word of the prompt what stands in which relation; patch by patch of every shape what it is, what was
    asked of its kind and whether it fits; then, at the words of the self-check, fact by fact whether it holds.

    A `prompt` other than the description's own wording gets no targets.
    """
    reading = read(image)
    turn: list[Words] = []
    if prompt in (None, write(description)):
        related_words = [[(word, READ)] if word else [] for word in _related_words(description)]
        turn = [*[[]] * len(janus.tokenize(f"{USER}:")), *related_words]
    words = _fact_by_fact(description, check(description, reading))
    before = len(janus.tokenize(CHECK)) - 1 - len(words)
    check_words = [*[[]] * before, *words] if before >= 0 else []

    return JudgeAuxiliary(
        *(_encoded(janus, positions) for positions in (turn, _patches(description, reading), check_words))
    )


def object_auxiliary(janus: Janus, shapes: Iterable[Item]) -> AuxiliaryTargets:
    """At the first code of every shape of an image that is to be redrawn or edited: where it stands and what it is,
    which a plan that keeps it has to say."""
    drawn: list[Words] = [[] for _ in range(CELLS**2)]
    for item in shapes:
        where = [(str(item.column), COLUMN), (str(item.row), ROW)]
        drawn[_raster(item)] = [*where, (item.noun, NOUN), (item.colour, COLOUR)]
    return _encoded(janus, drawn)


def draw_auxiliary(janus: Janus, thought: str | None, scene: Scene) -> DrawAuxiliary:
    """What is to be known while a scene is drawn, after a thought or without one."""
    return DrawAuxiliary(_plan_targets(janus, thought or ""), _cell_targets(janus, scene))


def _plan_targets(janus: Janus, thought: str) -> AuxiliaryTargets:
    """At the last word of every place, the row: the column, what stands there, in which colour, and which of its kind
    it is. So the cell that is drawn there finds all of it at one position, and the plan knows what is still missing."""
    words: list[Words] = []
    planned_so_far: Counter[str] = Counter()
    for colour, noun, column in re.findall(r"(\w+) (\w+) at (\d) \d", thought):
        words += [[]] * (len(words) > 0)  # the semicolon
        planned_so_far[noun] += 1
        which = number(min(planned_so_far[noun], MOST_OF_A_KIND + 1))
        planned = [(column, PLANNED_COLUMN), (noun, PLANNED_NOUN), (colour, PLANNED_COLOUR), (which, PLANNED_WHICH)]
        words += [[], [], [], [], planned]
    return _encoded(janus, words)


def _cell_targets(janus: Janus, scene: Scene) -> AuxiliaryTargets:
    """Cell by cell, in raster order, what is about to be drawn there. The place is not in an image code's embedding, it
    has to be counted; and a plan names it in words.
    """
    shown = {(row, column): item for item in scene.items for row, column in _quarters(item)}

    def words(row: int, column: int) -> Words:
        item = shown.get((row, column))
        what = [(item.noun, NOUN), (item.colour, COLOUR)] if item else [("no", NOUN)]
        return [(str(column), COLUMN), (str(row), ROW), *what]

    return _encoded(janus, itertools.starmap(words, itertools.product(range(CELLS), repeat=2)))


def _encoded(janus: Janus, positions: Iterable[Words]) -> AuxiliaryTargets:
    return tuple(
        tuple(AuxiliaryTarget(janus.tokenize(f" {word}")[-1], depth) for word, depth in words) for words in positions
    )


def _quarters(item: Item) -> Iterator[tuple[int, int]]:
    """(row, column) of an object's four cells, in raster order."""
    return itertools.product((item.row, item.row + 1), (item.column, item.column + 1))


def _patches(description: Description, reading: Reading) -> list[Words]:
    """What there is to say at each patch of an image: of a shape's four what it is, which of its kind, in which colour
    and how it was asked to stand (to a second other, beside what it is); and whether that fits."""
    patches: list[Words] = [[] for _ in range(CELLS**2)]
    seen: Counter[str] = Counter()
    groups = {group.noun: group for group in description.groups}
    shapes = sorted(reading.shapes(), key=_raster)
    for item in shapes:
        seen[item.noun] += 1
        which = number(min(seen[item.noun], MOST_OF_A_KIND + 1))
        kind, order, colour, stands = [(item.noun, NAMED)], [(which, SEEN)], [("extra", SEEN)], [("extra", COMPARED)]
        if group := groups.get(item.noun):
            order += [(number(group.count), COMPARED)]
            fits = _whether(group.colour == item.colour, COMPARED)
            colour = [(group.colour, SEEN), fits] if group.colour else []
            stands = []
            for place, (word, fits) in zip((stands, kind), _standings(description, item, shapes), strict=False):
                place += [(word, SEEN)] if fits is None else [(word, SEEN), _whether(fits, COMPARED)]
        for (row, column), words in zip(_quarters(item), (kind, order, colour, stands), strict=True):
            patches[row * CELLS + column] = words
    for column, row in reading.broken:
        patches[row * CELLS + column] = [("broken", SEEN)]
    return patches


def _whether(holds: bool, depth: float) -> tuple[str, float]:
    return "yes" if holds else "no", depth


def _standings(description: Description, item: Item, shapes: Sequence[Item]) -> Iterator[tuple[str, bool | None]]:
    """How an object was asked to stand to each other kind, in one word, and whether it does: None if that shows only
    later, when the other is read."""
    nouns = [group.noun for group in description.groups]
    index = nouns.index(item.noun)
    for relation in description.relations:
        if index in (relation.first, relation.second):
            word = relation.word if index == relation.first else opposite(relation.word)
            other = nouns[relation.first + relation.second - index]
            read_until = _raster(item) + CELLS + 1  # its last patch
            others = [each for each in shapes if each.noun == other and _raster(each) < read_until]
            fits = all(related((item.column, item.row), word, (each.column, each.row)) for each in others)
            yield _side(word), fits if others else None


def _related_words(description: Description) -> list[str | None]:
    """What stands in which relation, word by word of the prompt, each of which is a token: at “left” or “above” the
    noun before it, at the noun after it the opposite relation, at “it” the noun it stands for."""
    nouns = {named(group.noun, group.count): group.noun for group in description.groups}
    named_so_far, relation = [], None
    words: list[str | None] = []
    for word in re.findall(r"[a-z]+|,", write(description)):
        says = None
        if word in _SIDES:
            says, relation = named_so_far[-1], word
        elif word in ("it", "them"):
            says = named_so_far[-2]
        elif word in nouns:
            says = relation and _SIDES[relation]
            named_so_far.append(nouns[word])
            relation = None
        words.append(says)
    return words


def _side(relation: str) -> str:
    """A relation in one word."""
    return relation.removesuffix(" of")


_SIDES = {_side(relation): _side(opposite(relation)) for relation in RELATIONS}


def _raster(item: Item) -> int:
    """Where its first patch is read."""
    return item.row * CELLS + item.column


def _fact_by_fact(description: Description, facts: Sequence[Fact]) -> list[Words]:
    """What each fact is about and whether it holds, so that a reason finds both at one position; in places that every
    description has: three counts, three colours, two relations, nothing extra, nothing broken. Nothing where nothing is
    asked, or nothing is there that could have a colour."""
    by_place = {(fact.kind, fact.noun, fact.other): fact for fact in facts}
    nouns = [group.noun for group in description.groups] + [None] * (3 - len(description.groups))
    pairs = [(nouns[relation.first], nouns[relation.second]) for relation in description.relations]
    pairs += [(None, None)] * (2 - len(pairs))
    ordered = [
        *(by_place.get(("missing", noun, None), by_place.get(("count", noun, None))) for noun in nouns),
        *(by_place.get(("colour", noun, None)) for noun in nouns),
        *(by_place.get(("relation", *pair)) for pair in pairs),
    ]
    kinds = {fact.kind for fact in facts}
    rest = [[_whether(kind not in kinds, SUMMED)] for kind in ("extra", "broken")]
    return [*([] if fact is None else _about(fact) for fact in ordered), *rest]


def _about(fact: Fact) -> Words:
    words = [(fact.noun, NAMED), _whether(fact.holds, SUMMED)]
    match fact.kind:
        case "count":
            words += [(number(min(fact.found, MOST_OF_A_KIND + 1)), COMPARED)]
        case "colour":
            words += [(fact.found, COMPARED)]
        case "relation":
            words += [(fact.other, SEEN), (_side(fact.wanted), COMPARED)]
    return words
