"""One object of a drawing changed behind the model's back: what changes, whose it is, and how often it is noticed."""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from studio_samples import aha

from annotations.store.store import open_store
from model.backends.embedded_world import AT_ONCE_TEMPERATURE, EMBEDDED_WORLD
from model.backends.janus import Janus
from model.backends.request import Request
from model.branches import BranchError, with_perturbation
from model.decoding.janus_backend import JanusBackend
from model.decoding.rollout import rollout
from model.evaluation import aha as aha_command
from model.events import fold
from model.trajectory import Image, Origin, Sampling, StopReason, Thought, Trajectory
from model.world.language import parse
from model.world.perturbations import KINDS, changed_codes, perturb
from model.world.random_scenes import sample_scene
from model.world.scene import Item, Scene, render
from model.world.sprites import patch_codes
from model.world.verifier import accepted, check, read
from studio.draw.reflection_counts import ReflectionCounts, counted, counts

PROMPT = "two red apples above a blue car"


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_object_makes_a_scene_wrong(kind: str):
    rng, description = random.Random(1), parse(PROMPT)
    for _ in range(20):
        before = sample_scene(rng, description)
        said, after = perturb(rng, before, description, (kind,))
        assert said == kind
        assert len(set(before.items) ^ set(after.items)) == (1 if kind in ("removed", "doubled") else 2)
        picture = render(after)
        assert not accepted(check(description, read(picture)))
        codes = list(patch_codes(render(before)))
        for index, code in changed_codes(before, after).items():
            codes[index] = code
        assert tuple(codes) == patch_codes(picture)


def test_a_change_that_leaves_the_prompt_true_is_none():
    one = Scene((Item("cat", "red", 1, 1),))
    assert perturb(random.Random(0), one, parse("a cat"), ("recoloured", "moved", "removed")) is None


def test_a_draft_at_once_is_bold_and_plans_after_a_no():
    own = Sampling(temperature=0.9, thinks=True)
    at_once = EMBEDDED_WORLD.first_draft(own)
    assert at_once == replace(own, thinks=False, thinks_after_no=True, temperature=AT_ONCE_TEMPERATURE)
    assert EMBEDDED_WORLD.first_draft(Sampling()) == Sampling()


def test_a_plan_after_a_no_comes_before_every_image_but_the_first(tiny: Janus):
    sampling = replace(tiny.sampling, thinks=False, thinks_after_no=True)
    for seed in range(20):
        drawn = fold(rollout(tiny, [Request("two cars", seed, 2, sampling)]))
        if len(drawn.images) == 2:
            assert [segment.kind for segment in drawn.segments][:4] == ["image", "reflection", "thought", "image"]
            return
    raise AssertionError("no seed of twenty gave a verdict of no")


def scene_drawn(drawn: Trajectory, scene: Scene) -> Trajectory:
    """The trajectory with its last image replaced by a scene."""
    image = Image(patch_codes(render(scene)), "0" * 64)
    last = max(index for index, segment in enumerate(drawn.segments) if isinstance(segment, Image))
    return replace(drawn, segments=(*drawn.segments[:last], image), prompt=PROMPT)


def test_the_changed_image_is_a_first_draft_whose_changed_codes_are_a_persons(tiny: Janus, drawn: Trajectory):
    scene = sample_scene(random.Random(3), parse(PROMPT))
    parent = scene_drawn(drawn, scene)
    branch = with_perturbation(JanusBackend(tiny), parent, render(scene), random.Random(0))
    thought, image = branch.prefix
    assert isinstance(thought, Thought) and image.sha256 is None
    changed = [index for index, code in enumerate(image.codes) if code != parent.images[-1].codes[index]]
    assert {image.origins[index] for index in changed} == {Origin.PERSON}
    assert image.origins.count(Origin.SAMPLED) == len(image.codes) - len(changed)
    assert branch.parent.segment == len(parent.segments) - 1


def test_a_drawing_without_whole_objects_cannot_be_changed_so(tiny: Janus, drawn: Trajectory):
    with pytest.raises(BranchError, match="rub out patches instead"):
        with_perturbation(JanusBackend(tiny), drawn, np.zeros((64, 64, 3), np.uint8), random.Random(0))
    with pytest.raises(BranchError, match="nothing has been drawn"):
        with_perturbation(
            JanusBackend(tiny), replace(drawn, segments=()), np.zeros((64, 64, 3), np.uint8), random.Random(0)
        )


def test_the_page_counts_what_the_model_sent_back_and_repaired(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        assert counted(store) == ""
    with open_store(tmp_path / "other") as store:
        store.save(*aha(), owner="ada")
        assert counts(store) == ReflectionCounts(1, 1, 1)
        assert counted(store) == "<p>The one drawing so far the model sent back itself; it came right.</p>"
        store.save(*aha(identity="second"), owner="ada")
        assert "one drawing" in counted(store)  # for some seconds
        said = "Of the last 2 drawings the model sent back <b>2</b> itself; <b>2</b> of these came right."
        stopped, pictures = aha(identity="stopped")
        store.save(replace(stopped, stop_reason=StopReason.CANCELLED), pictures, owner="ada")
        assert said in counted(store, anew=True)  # what was stopped is not counted


def test_the_command_prints_shares_as_json(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "prompts.txt").write_text("a cat\n\ntwo cars\n", "utf-8")
    asked = ["aha", "--checkpoint", str(tiny_checkpoint), "--prompts", str(tmp_path / "prompts.txt")]
    monkeypatch.setattr(sys, "argv", [*asked, "--seeds", "1", "--rounds", "1", "--json"])
    aha_command.main()
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ["aha", "sent_back", "noticed", "repaired"]
    assert printed["aha"]["tries"] == printed["sent_back"]["tries"] == 2
