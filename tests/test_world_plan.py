"""A plan in words and a scene are the same thing."""

import random

import pytest

from model.world.plan import read_plan, write_items, write_plan
from model.world.scene import Item, Scene, random_scene

APPLE, CAR = Item("apple", "red", 2, 3), Item("car", "blue", 5, 5)


def test_a_plan_reads_as_documented():
    assert write_plan(Scene((CAR, APPLE))) == "red apple at 2 3; blue car at 5 5"
    assert write_items((CAR, APPLE)) == "blue car at 5 5; red apple at 2 3"


def test_every_scene_survives_its_plan():
    rng = random.Random(0)
    for _ in range(500):
        scene = random_scene(rng, rng.randint(1, 6))
        assert read_plan(write_plan(scene)) == scene
        assert read_plan(write_items(rng.sample(scene.items, len(scene.items)))) == scene


def test_a_careless_hand_is_read():
    assert read_plan("  Red apple  at 2 3 ;blue car at 5 5; ") == Scene((APPLE, CAR))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "should read like"),
        ("red apple", "cannot read 'red apple'"),
        ("red apple at 9 9", "outside the picture"),
        ("red apple at 2 3; blue car at 3 3", "overlaps"),
        ("red politician at 2 3", "no sprite for noun"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_reason(text, message):
    with pytest.raises(ValueError, match=message):
        read_plan(text)
