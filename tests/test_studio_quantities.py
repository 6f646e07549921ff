"""Sizes, durations and numbers of people in words."""

import pytest

from studio.components.quantities import duration, people, size


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (4_200_000, "4.2 MB"),
        (999_940, "999.9 kB"),
        (999_960, "1.0 MB"),
        (5e15, "5000.0 TB"),
    ],
)
def test_sizes_are_said_in_round_units(count: float, words: str):
    assert size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-40, "0 s"),
        (-0.2, "0 s"),
        (0, "0 s"),
        (40, "40 s"),
        (89.4, "89 s"),
        (89.6, "1.5 min"),
        (90, "1.5 min"),
        (100, "1.7 min"),
        (130, "2.2 min"),
        (596, "9.9 min"),
        (597.5, "10 min"),
        (600, "10 min"),
        (725, "12 min"),
        (89.4 * 60, "89 min"),
        (89.6 * 60, "1.5 h"),
        (90 * 60, "1.5 h"),
        (3.5 * 3600, "3.5 h"),
        (47.94 * 3600, "47.9 h"),
        (172_799, "2 days"),
        (172_800, "2 days"),
        (2.14 * 86400, "2.1 days"),
        (400 * 86400, "400 days"),
    ],
)
def test_durations_are_said_in_the_unit_of_the_rounded_number(seconds: float, words: str):
    assert duration(seconds) == words


def test_people_are_counted():
    assert [people(count) for count in (0, 1, 2, 1234)] == ["0 people", "1 person", "2 people", "1,234 people"]
