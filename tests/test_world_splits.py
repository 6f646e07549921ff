"""What is held out is never trained on, and the test prompts are the same for everybody."""

import itertools
import random

import pytest

from model.world.language import CATEGORIES, category_of, parse
from model.world.splits import GENEVAL, HARD, HELD_OUT, SEEN, held_out, held_out_prompts, sample_test, sample_training
from model.world.sprites import NOUNS


def test_a_fifth_of_all_pairs_of_nouns_is_held_out_and_every_noun_is_in_some():
    pairs = {frozenset(pair) for pair in itertools.combinations(NOUNS, 2)}
    assert pairs >= HELD_OUT
    assert len(HELD_OUT) >= 0.2 * len(pairs)
    assert set().union(*HELD_OUT) == set(NOUNS)


@pytest.mark.parametrize(
    ("prompt", "out"),
    [
        ("a cat and a dog", True),
        ("a dog above a cat", True),
        ("three red dogs left of a blue cat", True),
        ("a cat and a tree, a dog below it", True),
        ("a cat and a tree", False),
        ("four cats", False),
    ],
)
def test_a_prompt_is_held_out_by_its_nouns_alone(prompt, out):
    assert held_out(parse(prompt)) is out


@pytest.mark.parametrize("category", CATEGORIES)
def test_training_and_test_prompts_do_not_meet(category):
    rng = random.Random(0)
    for _ in range(200):
        assert not held_out(sample_training(rng, category))
        assert category in SEEN or held_out(sample_test(rng, category))


def test_the_test_prompts_take_the_categories_in_turn_and_repeat_none():
    wanted = held_out_prompts(120, GENEVAL)
    assert wanted == held_out_prompts(120, GENEVAL)
    assert [category_of(d) for d in wanted[:6]] == list(GENEVAL)
    others = [d for d in wanted if category_of(d) not in SEEN]
    assert len(set(others)) == len(others)
    assert all(held_out(d) for d in held_out_prompts(50, HARD))
