"""A few corrections learnt by an adapter: the network says them, keeps its base, and draws."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image as Picture
from training_rows import row, save

from model.backends.checkpoint.saving import PROVENANCE
from model.backends.embedded_world import EMBEDDED_WORLD
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.janus_backend import JanusBackend
from model.decoding.load_for_inference import open_checkpoint
from model.events import fold
from model.examples import JudgeExample
from model.images import encode_png
from model.training.adapters.teaching import SCALES, TeachingSettings, distill_prompts, teach, verdict_probabilities
from model.training.batch import collate
from model.training.dataset import SFT_ROWS, DataError, rows_from
from model.training.policy import Policy
from model.world.scene import random_scene, render

FEW = TeachingSettings(steps=16, batch=4, replay=2, learning_rate=1e-2, distill=4, distill_rollouts=2, distill_batch=2)
NO, YES = "No, there is no cat.", "Yes, I see a cat."


def corrections(count: int, said: str = NO) -> list[JudgeExample]:
    pngs = [encode_png(Picture.fromarray(render(random_scene(random.Random(seed), 2)))) for seed in range(count)]
    return [JudgeExample("a cat", (png,), (), said, trajectory_id=f"t{n}") for n, png in enumerate(pngs)]


def right(janus: Janus, examples: list[JudgeExample]) -> float:
    rows = rows_from(janus, examples, SFT_ROWS)
    with torch.no_grad():
        scores = Policy(janus)(collate(janus, [rows[at] for at in range(len(rows))]))
    return float(scores.verdicts_right) / len(rows)


def test_what_is_taught_is_said_by_a_network_that_draws(tiny_checkpoint: Path, tmp_path: Path):
    base, steps = open_checkpoint(tiny_checkpoint), []
    examples = next(each for each in (corrections(4, NO), corrections(4, YES)) if right(base, each) < 1)
    taught = teach(tiny_checkpoint, examples, tmp_path / "taught", FEW, steps.append)
    assert right(taught, examples) == 1
    assert taught.name == "taught" and steps == list(range(FEW.steps))
    about = json.loads((tmp_path / "taught" / PROVENANCE).read_text())
    assert (about["recipe"], about["parent"], about["examples"]) == ("teach", str(tiny_checkpoint), 4)
    assert about["trajectories"] == ["t0", "t1", "t2", "t3"]
    drawn = fold(JanusBackend(taught).events(Request("a cat", 0, 1)))
    assert drawn.checkpoint == "taught" and drawn.images


def test_a_lesson_is_the_same_each_time(tiny_checkpoint: Path, tmp_path: Path):
    few = replace(FEW, steps=3)
    one, other = (teach(tiny_checkpoint, corrections(4), tmp_path / name, few) for name in ("one", "other"))
    for mine, same in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, same)


def test_an_adapter_is_scaled_down_as_far_as_what_it_learnt_stays_learnt(tiny_checkpoint: Path, tmp_path: Path):
    base = open_checkpoint(tiny_checkpoint)
    examples = next(each for each in (corrections(4, NO), corrections(4, YES)) if right(base, each) < 1)
    sure = TeachingSettings(steps=30, batch=4, distill=0, verdict_threshold=1, learning_rate=2e-2)
    whole = teach(tiny_checkpoint, examples, tmp_path / "whole", replace(sure, scaled_to=1.1))
    less = teach(tiny_checkpoint, examples, tmp_path / "less", replace(sure, scaled_to=0.65))
    scales = [json.loads((tmp_path / name / PROVENANCE).read_text()).get("adapter_scale") for name in ("whole", "less")]
    assert scales[0] is None and scales[1] in SCALES
    rows = rows_from(less, examples, SFT_ROWS)
    assert min(verdict_probabilities(less, [rows[at] for at in range(len(rows))])) >= 0.65
    weights = (dict(janus.network.named_parameters()) for janus in (base, whole, less))
    changes = [(w - b, s - b) for b, w, s in zip(*(each.values() for each in weights), strict=True)]
    assert any(change.abs().max() > 0.01 for change, _ in changes)
    for change, scaled in changes:
        torch.testing.assert_close(scaled, scales[1] * change, atol=1e-4, rtol=1e-3)


def test_the_pull_is_on_what_was_corrected_and_on_the_world_for_who_knows_it(tiny: Janus, tmp_path: Path):
    settings = TeachingSettings(distill_rollouts=6)
    own = [*corrections(3), JudgeExample("a red dog", (b"",), (), YES)]
    kept = distill_prompts(tiny, own, settings)
    known = tiny.domain is EMBEDDED_WORLD
    assert len(kept) == 6 and kept[: 3 if known else 6] == (["a cat", "a red dog"] * 3)[: 3 if known else 6]
    assert distill_prompts(tiny, own, TeachingSettings(distill=0)) == []
    data = save(tmp_path / "data", [row(), row()])
    assert len(distill_prompts(tiny, data, settings)) == 6


def test_a_folder_teaches_as_well_and_what_cannot_be_learnt_is_named(tiny_checkpoint: Path, tmp_path: Path):
    data = save(tmp_path / "data", [row(), row()])
    settings = TeachingSettings(steps=1, batch=2, replay=0, distill=0)
    teach(tiny_checkpoint, data, tmp_path / "out", settings)
    assert json.loads((tmp_path / "out" / PROVENANCE).read_text())["examples"] == 2
    broken = [*corrections(1), JudgeExample("a cat", (b"no picture",), (), "Yes, I see a cat.")]
    with pytest.raises(DataError, match="example 2 of 2 cannot be learnt"):
        teach(tiny_checkpoint, broken, tmp_path / "out", settings)
    with pytest.raises(DataError, match="nothing to learn from in 0 examples"):
        teach(tiny_checkpoint, [], tmp_path / "out", settings)
    assert open_checkpoint(tmp_path / "out").name == "out"


def test_a_run_that_is_ended_leaves_what_was_there(tiny_checkpoint: Path, tmp_path: Path):
    def end(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    teach(tiny_checkpoint, corrections(2), tmp_path / "out", TeachingSettings(steps=1, batch=2, replay=0, distill=0))
    before = (tmp_path / "out" / PROVENANCE).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        teach(tiny_checkpoint, corrections(2), tmp_path / "out", FEW, end)
    assert (tmp_path / "out" / PROVENANCE).read_bytes() == before
