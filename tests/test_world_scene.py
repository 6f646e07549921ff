"""Scenes are equal by content and never overlap."""

import random

import numpy as np
import pytest

from model.world.scene import Item, Scene, free_places, overlaps, random_scene, render
from model.world.sprites import BACKGROUND, sprite


def test_the_order_of_items_does_not_matter():
    cat, dog = Item("cat", "red", 4, 0), Item("dog", "blue", 0, 2)
    assert Scene((dog, cat)) == Scene((cat, dog))
    assert Scene((dog, cat)).items == (cat, dog)


def test_a_sprite_is_drawn_where_it_stands():
    image = render(Scene((Item("house", "green", 3, 5),)))
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert (image[40:56, 24:40] == sprite("house", "green")).all()
    image[40:56, 24:40] = BACKGROUND
    assert (image == np.array(BACKGROUND)).all()


def test_random_scenes_never_overlap_and_repeat_by_seed():
    for seed in range(300):
        count = 1 + seed % 6
        scene = random_scene(random.Random(seed), count)
        assert len(scene.items) == count and scene == random_scene(random.Random(seed), count)
        assert not any(overlaps(one, other) for one in scene.items for other in scene.items if one != other)


def test_a_free_place_takes_one_more_sprite():
    rng = random.Random(1)
    for _ in range(100):
        scene = random_scene(rng, 4)
        for column, row in free_places(scene.items):
            assert len(Scene((*scene.items, Item("key", "black", column, row))).items) == 5


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((Item("cat", "red", 0, 0), Item("dog", "red", 1, 1)), "overlaps"),
        ((Item("cat", "red", 7, 0),), "outside the picture"),
        ((Item("yak", "red", 0, 0),), "no sprite for noun 'yak'"),
        ((Item("cat", "mauve", 0, 0),), "no colour 'mauve'"),
    ],
)
def test_an_impossible_scene_is_refused_with_its_reason(items, message):
    with pytest.raises(ValueError, match=message):
        Scene(items)
