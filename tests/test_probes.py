"""The interventions: what is changed, and against what it is held."""

import random

import pytest

from model.decoding.janus_backend import JanusBackend
from model.decoding.load_for_inference import open_checkpoint
from model.evaluation.figures import judge_all
from model.evaluation.probes import (
    change_plan,
    changed_pictures,
    edited_reasons,
    edited_thoughts,
    redraws,
    repaired,
    verdicts,
)
from model.world.language import parse
from model.world.plan import read_items, read_plan
from model.world.reasons import main_defect
from model.world.scene import Scene, free_places
from model.world.verifier import Reading, check


@pytest.mark.parametrize(("kind", "more"), [("moved", 0), ("recoloured", 0), ("removed", -1), ("added", 1)])
def test_a_plan_is_changed_in_one_object(kind: str, more: int):
    rng, plan = random.Random(0), read_items("red apple at 2 3; blue car at 5 5; red apple at 0 0")
    for _ in range(50):
        changed = change_plan(rng, plan, kind)
        assert len(Scene(tuple(changed)).items) == 3 + more
        kept = [item for item in changed if item in plan]
        assert kept == [item for item in plan if item in changed]
        assert len(kept) == (3 if kind == "added" else 2)
        if kind == "moved":
            [new], [old] = set(changed) - set(plan), set(plan) - set(changed)
            assert (new.noun, new.colour) == (old.noun, old.colour)


def test_the_last_object_is_not_removed_and_a_full_picture_gets_no_other():
    assert change_plan(random.Random(0), read_items("red apple at 2 3"), "removed") is None
    crowd = "; ".join(f"red cat at {x} {y}" for x in (1, 3, 5) for y in (1, 3, 5))
    assert free_places(read_items(crowd)) == []
    assert change_plan(random.Random(0), read_items(crowd), "added") is None


@pytest.mark.parametrize(
    ("prompt", "draft", "revision"),
    [
        ("a blue cat and a dog", "red cat at 0 0; pink dog at 4 4", "blue cat at 0 0; pink dog at 4 4"),
        ("two cats and a dog", "red cat at 0 0; pink dog at 4 4", "red cat at 0 0; red cat at 2 2; pink dog at 4 4"),
        ("a cat below a dog", "red cat at 0 0; pink dog at 4 4", "red cat at 0 6; pink dog at 4 4"),
    ],
)
def test_a_fact_is_mended_where_the_revision_shows_it(prompt: str, draft: str, revision: str):
    description, wrong, right = parse(prompt), Reading(read_plan(draft).items), Reading(read_plan(revision).items)
    fact = main_defect(check(description, wrong))
    assert repaired(description, fact, right)
    assert not repaired(description, fact, wrong)
    assert not repaired(description, fact, Reading(read_plan("pink dog at 4 4").items))


def test_the_same_picture_gets_the_same_verdict_however_it_is_given(tiny_checkpoint):
    backend = JanusBackend(open_checkpoint(tiny_checkpoint))
    [one] = judge_all(backend, [parse("a cat")], backend.sampling, 1, 1, 0)
    assert verdicts(backend, [(one, None)], backend.sampling) == verdicts(backend, [(one, None)], backend.sampling)


def test_an_untrained_network_fails_every_probe_and_none_breaks(tiny_checkpoint):
    backend = JanusBackend(open_checkpoint(tiny_checkpoint))
    found = redraws(backend, 6, backend.sampling)
    assert all(figure.value == 0.0 for figure in found.values())
    assert edited_thoughts(backend, 4, backend.sampling)["all"].value is None  # its thoughts are no plans
    assert edited_reasons(backend, 2, backend.sampling)["all"].value is None  # nothing right that could be rejected
    assert changed_pictures(backend, 2, backend.sampling)["recoloured"].value is None  # it drew nothing right
