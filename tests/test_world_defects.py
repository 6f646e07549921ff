"""A spoiled drawing is never accepted, and every kind of defect happens."""

import random
from collections import Counter

import numpy as np
import pytest

from model.world.defects import DEFECTS, RESPECTS, has, mistake, otherwise, spoil, spoil_as
from model.world.language import CATEGORIES, parse
from model.world.plan import read_plan
from model.world.random_scenes import sample_description, sample_scene
from model.world.scene import render
from model.world.verifier import accepted, check, read


def spoiled(count):
    rng = random.Random(0)
    for number in range(count):
        description = sample_description(rng, CATEGORIES[number % len(CATEGORIES)])
        scene = sample_scene(rng, description)
        kind, image = spoil(rng, description, scene)
        yield description, scene, kind, image


def test_a_spoiled_drawing_is_never_accepted_and_its_one_defect_makes_one_false_fact():
    kinds = Counter()
    for description, scene, kind, image in spoiled(840):
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert (image != render(scene)).any()
        facts = check(description, read(image))
        assert not accepted(facts)
        false = [fact for fact in facts if not fact.holds]
        assert len(false) == (2 if kind == "swapped colours" else 1), (kind, false)
        kinds[kind] += 1
    assert set(kinds) == set(DEFECTS)


def test_the_same_seed_spoils_alike():
    description = parse("two red apples above a blue car")
    scene = sample_scene(random.Random(0), description)
    one, other = (spoil(random.Random(5), description, scene) for _ in range(2))
    assert one[0] == other[0] and (one[1] == other[1]).all()


def test_a_colour_nobody_asked_for_is_not_spoiled():
    description = parse("a cat and a dog")
    for seed in range(300):
        rng = random.Random(seed)
        kind, _ = spoil(rng, description, sample_scene(rng, description))
        assert kind not in ("wrong colour", "swapped colours", "wrong relation", "one moved", "one fewer")


def test_one_object_is_moved_against_a_relation_and_nothing_else():
    rng, description = random.Random(0), parse("a red apple above a blue car")
    scene = read_plan("red apple at 2 0; blue car at 5 5")
    for _ in range(20):
        found = read(spoil_as(rng, "one moved", description, scene))
        assert len(set(found.items) & set(scene.items)) == 1
        assert [fact.kind for fact in check(description, found) if not fact.holds] == ["relation"]
    assert spoil_as(rng, "one moved", parse("a red apple and a blue car"), scene) is None


def test_a_mistake_is_wrong_throughout_in_one_respect_and_every_respect_comes():
    rng = random.Random(0)
    seen: Counter[str] = Counter()
    for number in range(400):
        description = sample_description(rng, CATEGORIES[number % len(CATEGORIES)])
        facts = check(description, read(mistake(rng, description)))
        wrong = {fact.kind for fact in facts if not fact.holds}
        if "broken" not in wrong:
            [respect] = wrong
            assert respect in ("count", "relation") or all(not fact.holds for fact in facts if fact.kind == respect)
        seen.update(wrong)
    assert all(seen[kind] >= 20 for kind in ("missing", "colour", "count", "relation", "broken"))


@pytest.mark.parametrize("respect", RESPECTS)
def test_a_mistake_asked_for_is_wrong_in_that_respect(respect: str):
    kinds = {"nouns": "missing", "colours": "colour", "counts": "count", "relations": "relation", "smeared": "broken"}
    rng = random.Random(1)
    for _ in range(40):
        while not has(description := sample_description(rng, "hard"), respect):
            pass
        facts = check(description, read(mistake(rng, description, respect)))
        assert kinds[respect] in {fact.kind for fact in facts if not fact.holds}


def test_only_what_is_asked_for_can_be_wrong():
    assert not has(parse("a cat"), "colours")
    assert not has(parse("two cats"), "relations")
    assert has(parse("a red cat above a dog"), "colours")


def test_another_description_differs_in_one_fact_that_can_be_drawn():
    rng, kinds = random.Random(0), Counter()
    for number in range(300):
        description = sample_description(rng, CATEGORIES[number % len(CATEGORIES)])
        other = otherwise(rng, description)
        assert accepted(check(other, read(render(sample_scene(rng, other)))))
        groups = [pair for pair in zip(description.groups, other.groups, strict=True) if pair[0] != pair[1]]
        relations = set(description.relations) ^ set(other.relations)
        assert (len(groups), len(relations)) in ((1, 0), (0, 2))
        for one, another in groups:
            assert (one.count == another.count) != (one.colour == another.colour)
            kinds["count" if one.colour == another.colour else "colour"] += 1
        kinds["relation"] += not groups
    assert min(kinds.values()) > 20
