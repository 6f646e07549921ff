"""Prompts are read as people write them, and scenes do what prompts say."""

import random

import pytest

from annotations.store import trajectory_columns
from model.world.language import (
    CATEGORIES,
    Description,
    Group,
    PromptError,
    Relation,
    UnknownWordError,
    category_of,
    parse,
    reword,
    write,
)
from model.world.random_scenes import sample_description, sample_scene
from model.world.scene import render
from model.world.verifier import accepted, check, read

CAT, DOG = Group(1, "cat"), Group(1, "dog")


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("a cat", "single object"),
        ("a cat and a dog", "two objects"),
        ("three stars", "counting"),
        ("a blue car", "colours"),
        ("a dog above a car", "position"),
        ("a red apple and a blue car", "colour attribution"),
        ("two red apples above a blue car", "hard"),
        ("three green stars and a moon", "mixed"),
        ("a pink house below two birds", "hard"),
        ("an orange umbrella left of a fish", "mixed"),
        ("a cat, a dog and two fish", "mixed"),
        ("two red apples above a blue car, a moon left of it", "hard"),
        ("a cat and two dogs, three stars below them", "hard"),
        ("two keys right of a boat and a pink fish", "hard"),
    ],
)
def test_every_form_is_written_as_it_is_read(prompt, category):
    assert write(parse(prompt)) == prompt
    assert category_of(parse(prompt)) == category


def test_sampled_descriptions_survive_their_prompts():
    rng = random.Random(0)
    for category in CATEGORIES:
        for _ in range(300):
            description = sample_description(rng, category)
            assert category_of(description) == category
            assert parse(write(description)) == description
            assert sum(group.count for group in description.groups) <= 6


@pytest.mark.parametrize(
    ("prompt", "description"),
    [
        ("A photo of a CAT.", Description((CAT,))),
        ("cat", Description((CAT,))),
        ("one cat and one dog!", Description((CAT, DOG))),
        ("3 Stars", Description((Group(3, "star"),))),
        ("two fish", Description((Group(2, "fish"),))),
        ("a cat left of a dog", Description((CAT, DOG), (Relation(0, "left of", 1),))),
        ("a cat on the right of the dog", Description((CAT, DOG), (Relation(0, "right of", 1),))),
        ("please draw a picture of a cat under a dog", Description((CAT, DOG), (Relation(0, "below", 1),))),
        ("a cat, and a dog", Description((CAT, DOG))),
        ("  “a cat”  ", Description((CAT,))),
        (
            "a cat over a dog, and two fish on the left of it",
            Description((CAT, DOG, Group(2, "fish")), (Relation(0, "above", 1), Relation(2, "left of", 1))),
        ),
    ],
)
def test_a_persons_wording_is_understood(prompt, description):
    assert parse(prompt) == description


@pytest.mark.parametrize(
    ("prompt", "word", "nearest"),
    [
        ("a politician", "politician", None),
        ("two kittens", "kittens", "cat"),
        ("a gren apple", "gren", "green"),
        ("a red aple", "aple", "apple"),
        ("five cats", "five", "four"),
        ("a cat flying", "flying", None),
    ],
)
def test_an_unknown_word_is_named_with_the_nearest_and_what_can_be_drawn(prompt, word, nearest):
    with pytest.raises(UnknownWordError) as caught:
        parse(prompt)
    assert caught.value.nearest == {word: nearest}
    assert f"“{word}” is not in the embedded world" in str(caught.value)
    assert "it can draw one to four of: cat, dog" in str(caught.value)
    assert ("nearest word" in str(caught.value)) == (nearest is not None)


def test_all_unknown_words_are_told_at_once():
    with pytest.raises(UnknownWordError) as caught:
        parse("a shiny zebra near three puppys, a crimson castle left of it and five cats")
    assert caught.value.nearest == {
        "shiny": None,
        "zebra": None,
        "near": None,
        "puppys": "dog",
        "crimson": "red",
        "castle": None,
        "five": "four",
    }
    assert "“castle” and “five” are not in the embedded world" in str(caught.value)
    assert "nearest words: dog for “puppys”, red for “crimson”, four for “five”;" in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "the prompt is empty"),
        ("hello!", "“hello!” names no object"),
        ("a red", "names no object"),
        ("a cat red", "cannot be read as one kind"),
        ("a cat dog", "cannot be read as one kind"),
        ("a cat and", "an object is missing"),
        ("stars", "how many stars"),
        ("a red cat and a blue cat", "named twice"),
        ("four cats and four dogs", "eight objects do not fit"),
    ],
)
def test_a_prompt_that_cannot_be_drawn_is_refused_with_its_reason(prompt, message):
    with pytest.raises(PromptError, match=message):
        parse(prompt)


def test_sampled_scenes_satisfy_their_description_and_repeat_by_seed():
    for category in CATEGORIES:
        for seed in range(60):
            description = sample_description(random.Random(seed), category)
            scene = sample_scene(random.Random(seed), description)
            assert accepted(check(description, read(render(scene)))), write(description)
            assert scene == sample_scene(random.Random(seed), description)


def test_the_hardest_description_still_finds_its_places():
    description = parse("four cats left of two dogs")
    scene = sample_scene(random.Random(0), description)
    assert accepted(check(description, read(render(scene))))


def test_places_are_uniform():
    rng, counts = random.Random(0), {}
    for _ in range(4900):
        (item,) = sample_scene(rng, Description((CAT,))).items
        counts[item.column, item.row] = counts.get((item.column, item.row), 0) + 1
    assert len(counts) == 49 and min(counts.values()) > 60 and max(counts.values()) < 145


def test_a_prompt_in_a_person_s_words_asks_for_the_same():
    rng, worded = random.Random(0), set()
    for category in CATEGORIES * 20:
        description = sample_description(rng, category)
        prompt = reword(rng, write(description))
        assert parse(prompt) == description
        worded |= {word for word in ("to the left of", "under ", "over ", "picture", "the ") if word in prompt}
    assert len(worded) == 5


def test_whether_a_prompt_is_of_the_world_is_found_without_looking_for_the_nearest_words(monkeypatch):
    def look(*_: object, **__: object) -> list[str]:
        raise AssertionError("the nearest words were looked for")

    monkeypatch.setattr("model.world.vocabulary.difflib.get_close_matches", look)
    assert trajectory_columns.category("a red cat above a qwzrt") is None
    with pytest.raises(UnknownWordError) as caught:
        parse("a red cat above a qwzrt")
    assert caught.value.words == ("qwzrt",)
    with pytest.raises(AssertionError, match="looked for"):
        str(caught.value)
