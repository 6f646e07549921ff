"""A person's wording reaches the embedded network as its lessons were worded."""

import random
from dataclasses import replace

import pytest

from model.backends.janus import Janus
from model.backends.request import Request, Task
from model.decoding.rollout import rollout
from model.events import fold
from model.world.edits import sample_edit, write_edit
from model.world.known_prompts import normalise, normalise_edit
from model.world.language import parse, write
from model.world.random_scenes import sample_scene
from model.world.scene import random_scene, render
from model.world.splits import sample_training
from model.world.verifier import accepted, check, read


def test_what_lessons_say_stays_as_it_is_and_is_no_reason_for_doubt():
    rng = random.Random(0)
    for _ in range(500):
        prompt = write(sample_training(rng))
        assert normalise(prompt) == (prompt, None)
        instruction = write_edit(sample_edit(rng, random_scene(rng, 3)))
        assert normalise_edit(instruction) == (instruction, None)


@pytest.mark.parametrize(
    ("prompt", "taught"),
    [
        ("Two red apples", "two red apples"),
        ("TWO RED APPLES.", "two red apples"),
        ("one cat", "a cat"),
        ("2 dogs", "two dogs"),
        ("an apple\nand a cat", "an apple and a cat"),
        ("Draw a picture of a cat over a dog", "a cat above a dog"),
        ("a cat, a dog below it", "a cat above a dog"),
        ("a cat above a dog above a fish", "a cat above a dog, a fish below it"),
        ("A Zebra  in a\nboat", "a zebra in a boat"),
    ],
)
def test_a_persons_wording_becomes_the_lessons(prompt: str, taught: str):
    assert normalise(prompt).text == taught


@pytest.mark.parametrize(
    ("text", "taught"), [("Make the car blue.", "make the car blue"), ("Polish  the Car", "polish the car")]
)
def test_instructions_too(text: str, taught: str):
    assert normalise_edit(text).text == taught


@pytest.mark.parametrize("prompt", ["a cat, a dog and a fish", "a cat and a dog left of a fish"])
def test_a_kind_of_prompt_that_no_lesson_has_is_doubted(prompt: str):
    parse(prompt)
    assert "about three of which the first and the last stand above" in normalise(prompt).warning


def test_a_relation_that_is_turned_round_says_the_same():
    rng = random.Random(1)
    for prompt in ("a cat above a dog above a fish", "a cat, a dog left of it", "two cats right of a dog below a fish"):
        for _ in range(200):
            image = read(render(sample_scene(rng, replace(parse(prompt), relations=()))))
            said, taught = (accepted(check(parse(words), image)) for words in (prompt, normalise(prompt).text))
            assert said == taught


def test_a_capital_letter_changes_no_drawing(tiny: Janus):
    small, capital = (fold(rollout(tiny, [Request(prompt, 3, 1)])) for prompt in ("two cars", "Two  cars"))
    assert (small.images[0].codes, capital.prompt) == (capital.images[0].codes, "Two  cars")
    assert tiny.prompts.read("Make the Cat blue", Task.EDIT).text == "make the cat blue"
