"""The referee reads every scene exactly, through noise, and blames one defect once."""

import random
import time

import numpy as np
import pytest

from model.world.language import parse
from model.world.scene import Item, Scene, random_scene, render
from model.world.sprites import BACKGROUND
from model.world.verifier import Reading, accepted, check, read, read_many, score


def scenes(count, seed=0):
    rng = random.Random(seed)
    return [random_scene(rng, rng.randint(1, 6)) for _ in range(count)]


def pictures(wanted):
    return np.stack([render(scene) for scene in wanted])


def blurred(images):
    """Each pixel keeps three quarters of itself and takes the rest from its four neighbours."""
    images = images.astype(np.float32)
    around = sum(np.roll(images, shift, axis) for shift in (-1, 1) for axis in (1, 2))
    return images * 0.75 + around / 16


def false_facts(prompt, *items):
    facts = check(parse(prompt), Reading(items))
    assert accepted(facts) == all(fact.holds for fact in facts)
    return [(fact.kind, fact.noun, fact.wanted, fact.found) for fact in facts if not fact.holds]


def test_every_scene_is_read_exactly():
    wanted = scenes(1000)
    assert read_many(pictures(wanted)) == [Reading(scene.items) for scene in wanted]


def test_every_scene_is_read_exactly_through_noise_and_slight_blur():
    wanted = scenes(300, seed=1)
    noise = np.random.default_rng(0).normal(0, 12, (300, 64, 64, 3))
    for images in (pictures(wanted) + noise, blurred(pictures(wanted)) + noise):
        images = np.clip(images, 0, 255).astype(np.uint8)
        assert read_many(images) == [Reading(scene.items) for scene in wanted]


def test_one_picture_and_many_are_read_alike():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    images = np.concatenate([images, pictures(scenes(20))])
    assert [read(image) for image in images] == read_many(images)


def test_nothing_is_seen_on_an_empty_background_and_everything_is_broken_in_static():
    assert read(np.full((64, 64, 3), BACKGROUND, dtype=np.uint8)) == Reading(())
    static = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert read(static).items == () and len(read(static).broken) == 64


def test_a_sprite_with_a_foreign_cell_is_broken_but_recognised():
    cat, dog = Item("cat", "red", 0, 0), Item("dog", "blue", 4, 4)
    image = render(Scene((cat, dog)))
    image[0:8, 0:8] = image[32:40, 32:40]
    assert read(image) == Reading((dog,), ((0, 0), (1, 0), (0, 1), (1, 1)), (cat,))
    assert [(fact.kind, fact.holds) for fact in check(parse("a cat and a dog"), read(image))] == [
        ("count", True),
        ("count", True),
        ("broken", False),
    ]


def test_a_lone_cell_is_broken_and_belongs_to_nothing():
    image = np.full((64, 64, 3), BACKGROUND, dtype=np.uint8)
    image[8:16, 16:24] = 0
    assert read(image) == Reading((), ((2, 1),))


def test_reading_is_fast():
    images = pictures(scenes(500))
    start = time.perf_counter()
    read_many(images)
    assert len(images) / (time.perf_counter() - start) > 200  # 1,500 on two idle cores; room for a busy machine


CAT = Item("cat", "red", 0, 0)
BLUE_CAT = Item("cat", "blue", 3, 0)
DOG = Item("dog", "blue", 0, 4)
RED_DOG = Item("dog", "red", 0, 4)
STAR = Item("star", "pink", 4, 4)


@pytest.mark.parametrize(
    ("prompt", "items", "expected"),
    [
        ("a red cat above a blue dog", (CAT, DOG), []),
        ("a cat", (DOG,), [("missing", "cat", 1, 0)]),
        ("a cat", (), [("missing", "cat", 1, 0)]),
        ("a cat", (CAT, STAR), [("extra", "star", 0, 1)]),
        ("two cats", (CAT,), [("count", "cat", 2, 1)]),
        ("a red cat", (CAT, BLUE_CAT), [("count", "cat", 1, 2)]),
        ("two cats", (CAT, STAR), [("count", "cat", 2, 1)]),
        ("a blue cat", (CAT,), [("colour", "cat", "blue", "red")]),
        ("two red cats", (CAT, BLUE_CAT), [("colour", "cat", "red", "blue")]),
        (
            "a red cat and a blue dog",
            (BLUE_CAT, RED_DOG),
            [("colour", "cat", "red", "blue"), ("colour", "dog", "blue", "red")],
        ),
        ("a cat below a dog", (CAT, DOG), [("relation", "cat", "below", None)]),
        ("a cat left of a dog", (CAT, DOG), [("relation", "cat", "left of", None)]),
        ("a cat left of a star", (CAT, STAR), []),
        ("a star right of a cat", (CAT, STAR), []),
        ("a dog below a cat", (CAT, DOG), []),
        ("a cat above a dog", (CAT, Item("cat", "red", 4, 6), DOG), [("count", "cat", 1, 2)]),
    ],
)
def test_one_defect_makes_one_false_fact(prompt, items, expected):
    assert false_facts(prompt, *items) == expected


def test_the_score_is_the_share_of_facts_that_hold():
    facts = check(parse("a red cat and a blue dog"), Reading((CAT, RED_DOG)))
    assert score(facts) == 0.75
    assert score(check(parse("a cat"), Reading(()))) == 0
