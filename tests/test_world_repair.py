"""A mended drawing is what was asked for, and whatever could stay has stayed."""

import itertools
import random
import time
from collections import Counter

import pytest

from model.world.defects import DEFECTS, spoil
from model.world.language import CATEGORIES, parse, related, write
from model.world.random_scenes import sample_description, sample_scene
from model.world.repair import repair_scene
from model.world.scene import Item, Scene, free_places, overlaps, random_scene, render
from model.world.sprites import CELL
from model.world.verifier import Reading, accepted, check, read

CAT, DOG = Item("cat", "red", 2, 2), Item("dog", "blue", 2, 5)


def rejected(count, seed=0):
    """(description, right scene, defect, reading of the spoiled drawing), categories in turn."""
    rng = random.Random(seed)
    for number in range(count):
        description = sample_description(rng, CATEGORIES[number % len(CATEGORIES)])
        scene = sample_scene(rng, description)
        kind, image = spoil(rng, description, scene)
        yield description, scene, kind, read(image)


def objects(items):
    """Nouns in their places."""
    return {(item.noun, item.column, item.row) for item in items}


def test_a_mended_scene_is_accepted_and_keeps_what_each_defect_leaves():
    rng, kinds = random.Random(0), Counter()
    for description, scene, kind, reading in rejected(1200):
        mended = repair_scene(rng, description, reading)
        assert accepted(check(description, read(render(mended)))), (write(description), reading)
        drawn, kept = set(reading.items), set(mended.items)
        match kind:
            case "wrong colour" | "swapped colours" | "extra object" | "smeared sprite":
                assert mended == scene
            case "one more":
                assert kept < drawn
            case "one fewer" | "missing object":
                assert drawn < kept
            case "wrong noun":
                assert drawn & set(scene.items) < kept
            case "wrong relation":
                nouns = Counter((item.noun, item.colour) for item in mended.items)
                assert not kept & drawn or nouns == Counter((item.noun, item.colour) for item in reading.items)
        kinds[kind] += 1
    assert set(kinds) == set(DEFECTS)


def test_any_drawing_at_all_is_mended():
    rng = random.Random(1)
    for number in range(400):
        description = sample_description(rng, CATEGORIES[number % len(CATEGORIES)])
        image = render(random_scene(rng, rng.randint(1, 6)))
        for _ in range(rng.randrange(12)):
            (x, y), (there_x, there_y) = ((rng.randrange(8) * CELL, rng.randrange(8) * CELL) for _ in range(2))
            image[y : y + CELL, x : x + CELL] = image[there_y : there_y + CELL, there_x : there_x + CELL]
        assert accepted(check(description, Reading(repair_scene(rng, description, read(image)).items)))


def most_kept(description, shapes):
    """The slow, obvious way: how many of the drawn objects can stay, if one or two find new places."""
    places = [(item.column, item.row) for item in shapes]
    owners = [next(i for i, group in enumerate(description.groups) if group.noun == item.noun) for item in shapes]
    numbers = range(len(shapes))
    for moved in range(3):
        for moving in itertools.combinations(numbers, moved):
            for goals in itertools.product(free_places(()), repeat=moved):
                at = [goals[moving.index(number)] if number in moving else places[number] for number in numbers]
                if stands(description, owners, at):
                    return len(shapes) - moved
    return 0


def stands(description, owners, at):
    items = [Item("cat", "red", *place) for place in at]
    if any(overlaps(one, other) for one, other in itertools.combinations(items, 2)):
        return False
    words = {(relation.first, relation.second): relation.word for relation in description.relations}
    return all(
        related(at[one], words[owners[one], owners[other]], at[other])
        for one, other in itertools.permutations(range(len(at)), 2)
        if (owners[one], owners[other]) in words
    )


def test_no_object_moves_that_could_have_stayed():
    rng, kept = random.Random(2), Counter()
    while kept.total() < 60:
        description = sample_description(rng, rng.choice(("position", "mixed", "hard")))
        wanted = sample_scene(rng, description).items
        if not description.relations or len(wanted) > 3:
            continue
        shuffled = rng.sample(wanted, len(wanted))
        drawn = [Item(item.noun, item.colour, at.column, at.row) for item, at in zip(wanted, shuffled, strict=True)]
        mended = repair_scene(rng, description, Reading(tuple(drawn)))
        stay = len(objects(drawn) & objects(mended.items))
        assert stay == most_kept(description, drawn), (write(description), drawn, mended)
        kept[len(drawn) - stay] += 1
    assert set(kept) >= {0, 1, 2}


@pytest.mark.parametrize(
    ("prompt", "drawn", "kept"),
    [
        ("a red cat and a blue dog", (CAT, DOG), {CAT, DOG}),
        ("a blue cat", (CAT,), {Item("cat", "blue", 2, 2)}),
        ("a cat", (CAT, DOG), {CAT}),
        ("a red cat", (Item("cat", "pink", 5, 5), CAT), {CAT}),
        ("two cats above a dog", (CAT, Item("cat", "red", 5, 6), Item("cat", "pink", 6, 1), DOG), {CAT, DOG}),
        ("two cats left of a dog", (CAT, Item("dog", "blue", 5, 5)), {CAT, Item("dog", "blue", 5, 5)}),
        ("three stars", (CAT, Item("star", "pink", 5, 5)), {Item("star", "pink", 5, 5)}),
        ("a cat right of a dog", (Item("cat", "red", 1, 0), DOG), {DOG}),  # a dog has no room left of the cat
    ],
)
def test_what_can_stay_stays(prompt, drawn, kept):
    for seed in range(40):
        mended = repair_scene(random.Random(seed), parse(prompt), Reading(drawn))
        assert kept <= set(mended.items)
        assert accepted(check(parse(prompt), Reading(mended.items)))


def test_of_two_objects_in_a_wrong_relation_either_may_move():
    description, drawn = parse("a cat left of a dog"), (CAT, DOG)
    stayed = Counter()
    for seed in range(200):
        (stays,) = set(repair_scene(random.Random(seed), description, Reading(drawn)).items) & set(drawn)
        stayed[stays.noun] += 1
    assert min(stayed["cat"], stayed["dog"]) > 70


@pytest.mark.parametrize(
    ("prompt", "drawn", "mended"),
    [
        ("a red cat and a blue dog", (CAT,), {CAT, Item("dog", "blue", 0, 0)}),
        ("a cat left of a dog", (CAT, DOG), {CAT, Item("dog", "blue", 4, 0)}),
        ("a cat below a dog", (CAT, Item("dog", "blue", 4, 5)), {CAT, Item("dog", "blue", 0, 0)}),
        ("two cats", (CAT,), {CAT, Item("cat", "red", 0, 0)}),
    ],
)
def test_in_order_what_is_missing_or_has_to_move_goes_to_the_first_valid_place(prompt, drawn, mended):
    for seed in range(5):
        scene = repair_scene(random.Random(seed), parse(prompt), Reading(drawn), first=True)
        assert set(scene.items) == mended
    rng = random.Random(0)
    for description, _, _, reading in rejected(100):
        assert accepted(check(description, read(render(repair_scene(rng, description, reading, first=True)))))


def test_a_broken_shape_is_completed_in_its_place():
    image = render(Scene((CAT, DOG)))
    image[2 * CELL : 3 * CELL, 2 * CELL : 3 * CELL] = 0
    reading = read(image)
    assert reading.fragments == (CAT,)
    assert repair_scene(random.Random(0), parse("a cat and a dog"), reading) == Scene((CAT, DOG))
    assert repair_scene(random.Random(0), parse("a blue cat"), reading) == Scene((Item("cat", "blue", 2, 2),))
    assert repair_scene(random.Random(0), parse("a dog"), reading) == Scene((DOG,))


def test_a_whole_shape_is_kept_before_a_broken_one():
    pink = Item("cat", "pink", 5, 5)
    reading = Reading((pink,), ((2, 2), (3, 2)), (CAT,))
    assert repair_scene(random.Random(0), parse("a red cat"), reading) == Scene((Item("cat", "red", 5, 5),))


def test_a_moved_object_keeps_its_free_colour_and_a_new_one_is_like_the_others():
    for seed in range(40):
        rng = random.Random(seed)
        mended = repair_scene(rng, parse("a cat below a dog"), Reading((CAT, DOG)))
        assert {(item.noun, item.colour) for item in mended.items} == {("cat", "red"), ("dog", "blue")}
        assert {item.colour for item in repair_scene(rng, parse("three cats"), Reading((CAT,))).items} == {"red"}


def test_a_missing_object_is_placed_uniformly():
    rng, counts = random.Random(0), Counter()
    places = free_places((CAT,))
    for _ in range(60 * len(places)):
        (dog,) = set(repair_scene(rng, parse("a cat and a dog"), Reading((CAT,))).items) - {CAT}
        counts[dog.column, dog.row] += 1
    assert set(counts) == set(places) and min(counts.values()) > 30 and max(counts.values()) < 95


def test_where_nothing_can_stay_the_scene_is_a_new_one():
    description = parse("a red cat above a dog")
    for reading in (Reading(()), Reading((Item("key", "red", 0, 0),), ((5, 5),)), Reading((Item("cat", "red", 0, 6),))):
        for seed in range(20):
            new = repair_scene(random.Random(seed), description, reading)
            assert accepted(check(description, Reading(new.items)))
    assert repair_scene(random.Random(3), description, Reading(())) == sample_scene(random.Random(3), description)


def test_the_same_seed_mends_alike():
    for number, (description, _, _, reading) in enumerate(rejected(100, seed=3)):
        one, other = (repair_scene(random.Random(number), description, reading) for _ in range(2))
        assert one == other


def test_mending_is_fast():
    cases = list(rejected(400, seed=4))
    start = time.process_time()
    for number, (description, _, _, reading) in enumerate(cases):
        repair_scene(random.Random(number), description, reading)
    assert (time.process_time() - start) / len(cases) < 0.001  # seconds; 0.0001 on an idle machine
