"""Every reason that is written can be read back, and is true."""

import random

import pytest

from model.world.defects import spoil
from model.world.language import CATEGORIES, parse, write
from model.world.random_scenes import sample_description, sample_scene
from model.world.reasons import (
    Claim,
    blamed_items,
    claim_holds,
    main_defect,
    read_reason,
    stock_reasons,
    write_reason,
)
from model.world.scene import Item, render
from model.world.verifier import KINDS, Reading, check, read

CAT, DOG = Item("cat", "red", 0, 0), Item("dog", "blue", 0, 4)


def wordings(prompt, *items, reading=None):
    description = parse(prompt)
    facts = check(description, reading or Reading(items))
    return {write_reason(description, facts, random.Random(seed)) for seed in range(60)}


def test_reasons_for_right_and_wrong_drawings_are_read_back_and_true():
    rng, kinds = random.Random(0), set()
    for number in range(700):
        description = sample_description(rng, CATEGORIES[number % len(CATEGORIES)])
        scene = sample_scene(rng, description)
        for image in (render(scene), spoil(rng, description, scene)[1]):
            reading = read(image)
            facts = check(description, reading)
            claim = read_reason(write_reason(description, facts, rng))
            defect = main_defect(facts)
            assert claim is not None and claim_holds(claim, description, reading)
            assert claim.kind == (defect.kind if defect else "match")
            kinds.add(claim.kind)
    assert kinds == {"match", *KINDS}


def test_stock_reasons_are_what_could_be_wrong_and_can_be_read_back():
    offered = stock_reasons(parse("two red cats left of a dog"))
    assert offered[0] == "the cats are missing." and "the cats should be left of the dog." in offered
    assert all(read_reason(f", {reason}") is not None for reason in offered)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("the cat is red, not blue.", (CAT,)),
        ("the cat is not below the dog.", (CAT, DOG)),
        ("there is one dog instead of two.", (DOG,)),
        ("there is no apple.", ()),
        ("there is a red cat above a blue dog.", ()),
        ("it looks strange.", ()),
    ],
)
def test_the_objects_that_a_reason_is_about_are_found_in_the_drawing(reason, expected):
    assert blamed_items(reason, Reading((CAT, DOG))) == expected


@pytest.mark.parametrize(
    ("prompt", "items", "expected"),
    [
        ("two apples", (CAT,), ", there are no apples."),
        ("a cat and a dog", (CAT,), ", there is no dog."),
        ("two cats", (CAT,), ", there is one cat instead of two."),
        ("a cat", (CAT, Item("cat", "red", 3, 3)), ", there are two cats instead of one."),
        ("a blue cat", (CAT,), ", the cat is red, not blue."),
        ("two red cats", (CAT, Item("cat", "pink", 3, 3)), ", one of the cats is pink, not red."),
        ("a cat below a dog", (CAT, DOG), ", the cat is not below the dog."),
        ("two cats below a dog", (CAT, Item("cat", "red", 4, 0), DOG), ", the cats are not below the dog."),
        ("a dog", (DOG, CAT), ", a cat was not asked for."),
        ("a dog", (DOG, Item("umbrella", "red", 4, 4)), ", there is an umbrella that was not asked for."),
        ("a red cat above a blue dog", (CAT, DOG), ", there is a red cat above a blue dog."),
        ("two fish", (Item("fish", "red", 0, 0), Item("fish", "red", 4, 0)), ", there are two fish."),
    ],
)
def test_a_reason_is_plain_english_in_at_least_three_wordings(prompt, items, expected):
    written = wordings(prompt, *items)
    assert expected in written and len(written) >= 3


def test_a_broken_shape_is_named():
    reading = Reading((CAT,), ((5, 5),))
    written = wordings("a cat", reading=reading)
    assert ", one shape is broken." in written and len(written) == 3
    assert {read_reason(text) for text in written} == {Claim("broken")}


def test_what_is_in_no_wording_of_ours_is_not_guessed():
    for text in ("", "No.", ", the colours are nice.", ", there is a politician.", ", the cat is red"):
        assert read_reason(text) is None


@pytest.mark.parametrize(
    ("reason", "prompt", "items"),
    [
        (", there is no cat.", "a cat", (CAT,)),
        (", there are three cats instead of two.", "two cats", (CAT,)),
        (", there are two cats instead of one.", "two cats", (CAT,)),
        (", the cat is blue, not red.", "a red cat", (CAT,)),
        (", the cat is red, not blue.", "a cat", (CAT,)),
        (", the cat is not above the dog.", "a cat above a dog", (CAT, DOG)),
        (", the cat is not below the dog.", "a cat above a dog", (CAT, DOG)),
        (", a dog was not asked for.", "a cat", (CAT,)),
        (", a dog was not asked for.", "a cat and a dog", (CAT, DOG)),
        (", one shape is broken.", "a cat", (CAT,)),
        (", there is a cat.", "a cat", (DOG,)),
        (", there is a red cat.", "a cat", (CAT,)),
    ],
)
def test_a_false_reason_does_not_hold(reason, prompt, items):
    claim = read_reason(reason)
    assert claim is not None
    assert not claim_holds(claim, parse(prompt), Reading(items))


def test_an_affirmation_repeats_the_prompt():
    rng = random.Random(3)
    for category in CATEGORIES:
        description = sample_description(rng, category)
        facts = check(description, read(render(sample_scene(rng, description))))
        assert write(description) in write_reason(description, facts, rng)
