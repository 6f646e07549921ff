"""Prompts of the embedded world in a visitor's words: understood, or answered with the nearest that it can draw."""

import pytest

from model.world.known_prompts import is_taught, normalise, towards_the_second
from model.world.language import parse
from model.world.nearest import nearest_notice, nearest_prompt, unknown_words


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("Draw me a photo of a CAT, please!", "a cat"),
        ("could you please draw two kittens", "two cats"),
        ("a picture of a pair of dogs for me", "two dogs"),
        ("I'd like a green rose left of a ship", "a green flower left of a boat"),
        ("A crimson automobile.", "a red car"),
    ],
)
def test_politeness_filler_and_synonyms_are_understood(said: str, understood: str):
    assert normalise(said) == (understood, None)


@pytest.mark.parametrize(
    ("said", "nearest", "stand_in"),
    [
        ("a zebra", "a cat", "cat"),
        ("a happy zebra and two kittens", "a dog and two cats", "dog"),
        ("five apples", "four apples", None),
        ("a black cat and a yellow cat", "a black cat and a yellow dog", "dog"),
        ("seven red cars and a violet house", "four red cars and a purple house", None),
        ("an elephant in the rain", "a cat", "cat"),
        ("a cat with a dog", "a cat and a dog", None),
        ("a cat, a dog, a fish and a bird", "a cat and a dog", None),
        ("🐈", "a cat", "cat"),
    ],
)
def test_the_nearest_prompt_can_be_drawn(said: str, nearest: str, stand_in: str | None):
    assert normalise(said).warning is not None
    found = nearest_prompt(said)
    assert (found.prompt, found.stand_in) == (nearest, stand_in)
    for prompt in [found.prompt, *(prompt for _, prompt in found.choices())]:
        assert is_taught(towards_the_second(parse(prompt)))


def test_what_has_not_been_learnt_is_named_in_plain_words():
    said = "a shiny zebra"
    assert nearest_notice(said, nearest_prompt(said)) == (
        "It has not learnt “shiny” and “zebra”. The nearest it can draw is a cat."
    )


def test_words_of_place_and_words_that_another_stands_in_for_are_named_as_they_were_written():
    said = "please a unicorn on the Eiffel tower"
    assert unknown_words(said) == ["unicorn", "on", "Eiffel", "tower"]
    assert nearest_prompt(said).stood_for == "unicorn"
    assert unknown_words("a cat on the left of a kitten") == []
    assert unknown_words("a b c d e f g, a puppy") == ["b", "c", "d", "e", "f", "g"]
    assert nearest_notice("b c d e f g", nearest_prompt("b c d e f g")).startswith(
        "It has not learnt “b”, “c”, “d”, “e”, “f” and others."
    )


def test_a_misspelt_thing_is_answered_with_one_of_its_kind():
    said = "two red aples next to a blue bycicle"
    assert nearest_notice(said, nearest_prompt(said)) == (
        "It has not learnt “aples”, “next to” and “bycicle”. The nearest it can draw is two red apples and a blue car."
    )


@pytest.mark.parametrize("said", ["", "  ", "please", "draw me"])
def test_nothing_said_has_no_nearest_prompt(said: str):
    assert nearest_prompt(said) is None
