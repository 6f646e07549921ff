"""The drawings keep the promises the verifier and the codec rely on."""

import itertools

import numpy as np

from model.world.sprites import BACKGROUND, CELL, COLOURS, NOUNS, SPRITE, TONES, sprite


def quadrants():
    for noun in NOUNS:
        for row, column in itertools.product(range(2), repeat=2):
            top, left = row * CELL, column * CELL
            yield (noun, row, column), TONES[noun][top : top + CELL, left : left + CELL]


def test_there_are_sixteen_nouns_and_eight_colours():
    assert len(set(NOUNS)) == 16 and len(COLOURS) == 8


def test_every_sprite_has_two_tones_of_its_colour_on_the_background():
    for noun in NOUNS:
        for colour, tones in COLOURS.items():
            picture = sprite(noun, colour)
            assert picture.shape == (SPRITE, SPRITE, 3) and picture.dtype == np.uint8
            assert {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()} == {BACKGROUND, *tones}


def test_no_quadrant_is_empty():
    for name, quadrant in quadrants():
        assert (quadrant > 0).sum() >= 10, name


def test_no_two_quadrants_are_alike():
    for (name, one), (other_name, other) in itertools.combinations(quadrants(), 2):
        assert (one != other).sum() >= 5, (name, other_name)


def test_no_two_colours_are_close():
    tones = {colour: np.array(pair) for colour, pair in COLOURS.items()}
    for one, other in itertools.combinations(tones, 2):
        assert np.linalg.norm(tones[one][0] - tones[other][0]) > 60, (one, other)
    for colour, pair in tones.items():
        assert np.linalg.norm(pair - np.array(BACKGROUND), axis=1).min() > 100, colour
        assert np.linalg.norm(pair[0] - pair[1]) > 60, colour
