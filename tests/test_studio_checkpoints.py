"""Several checkpoints in one studio: chosen per visitor, loaded when first chosen."""

import shutil
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
import torch
from safetensors.torch import load_file, save_file
from scene_backend import SceneBackend

from annotations.store.store import Store, open_store
from model.backends.contract import CheckpointError
from model.backends.registry import open_backend
from model.backends.request import Task
from model.decoding.janus_backend import JanusBackend
from studio.draw import page as draw
from studio.image.page import offered
from studio.inference.checkpoints import Checkpoints, menu
from studio.inference.draw_request import DrawForm
from studio.inference.generator import Generator
from studio.inference.live_events import PageVisit, Sessions
from studio.main import drawing
from studio.settings import Mode, Settings, settings_from

VISIT = PageVisit("ada", "tab")
HEAD = "lm_head.weight"


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def two(tiny_checkpoint: Path, tmp_path: Path, store: Store) -> Checkpoints:
    """A checkpoint, and another of the same weights."""
    other = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, other)
    return Checkpoints(Generator(open_backend(tiny_checkpoint), store), [str(other)])


def wish(checkpoint: str | None) -> DrawForm:
    return DrawForm("two birds", 1, 1.0, 1.0, 5, new_seed=False, thinks=False, checkpoint=checkpoint)


def test_each_visitor_chooses_who_draws_and_the_drawing_says_so(two: Checkpoints, store: Store):
    assert two.names == [two.first.name, "other"]
    for name in (None, "other"):
        *_, last = draw.ask(wish(name), VISIT, two, Sessions())
        assert store.trajectory(last[0]["trajectory"]["id"]).checkpoint == (name or two.names[0])
    assert two.named("other") is two.named("other")


def test_a_checkpoint_is_offered_for_what_it_can_do_before_it_is_loaded_too(tiny_checkpoint: Path, store: Store):
    first = Generator(open_backend(tiny_checkpoint), store)
    checkpoints = Checkpoints(
        first, ["painter", "diffusion:elsewhere"], opener=lambda source: SceneBackend("elsewhere")
    )
    for _ in range(2):
        assert checkpoints.names_for(Task.DRAW) == [first.name, "painter+embedded", "elsewhere"]
        assert checkpoints.names_for(Task.EDIT) == [first.name]
        assert offered(checkpoints, Task.EDIT, "painter+embedded")["value"] == first.name
        kept = "elsewhere" if checkpoints.loaded("elsewhere") else "painter+embedded"  # the open one has a critic
        assert offered(checkpoints, Task.JUDGE, kept)["value"] == kept
        checkpoints.named("elsewhere")


def test_a_change_goes_on_with_the_checkpoint_that_drew(two: Checkpoints, store: Store):
    *_, last = draw.ask(wish("other"), VISIT, two, Sessions())
    *_, last = draw.go_on({"run": last[0]["trajectory"]["id"], "segment": 0, "what": "seed"}, VISIT, two, Sessions())
    assert store.trajectory(last[0]["trajectory"]["id"]).checkpoint == "other"


def test_a_checkpoint_that_does_not_draw_here_is_refused_with_those_that_do(two: Checkpoints):
    (value, *_), *_ = draw.ask(wish("seven"), VISIT, two, Sessions())
    assert value["notice"] == f"seven does not draw here; there are: {two.names[0]}, other"


def test_what_cannot_be_opened_is_said_when_it_is_chosen(tiny_checkpoint: Path, tmp_path: Path, store: Store):
    (tmp_path / "empty").mkdir()
    checkpoints = Checkpoints(Generator(open_backend(tiny_checkpoint), store), [str(tmp_path / "empty")])
    (value, *_), *_ = draw.ask(wish("empty"), VISIT, checkpoints, Sessions())
    assert "holds no config.json" in value["notice"]


def test_visitors_never_learn_where_a_checkpoint_lies(tiny_checkpoint: Path, tmp_path: Path, store: Store, caplog):
    (tmp_path / "empty").mkdir()
    generator = Generator(open_backend(tiny_checkpoint), store)
    checkpoints = Checkpoints(generator, [str(tmp_path / "empty")], Mode.PUBLIC)
    (value, *_), *_ = draw.ask(wish("empty"), VISIT, checkpoints, Sessions())
    assert value["notice"] == "empty cannot be opened at the moment; choose another checkpoint"
    assert str(tmp_path / "empty") in caplog.text  # who keeps the server does
    (value, *_), *_ = draw.ask(wish(str(tmp_path)), VISIT, checkpoints, Sessions())
    assert value["notice"].endswith(f"does not draw here; there are: {tiny_checkpoint.name}, empty")


def test_nobody_waits_for_a_checkpoint_that_another_is_loading(two: Checkpoints):
    with two._loading:  # as while it is being read
        assert two.named(two.names[0]) is two.first


def test_a_checkpoint_without_room_for_its_cache_is_said(two: Checkpoints, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room for a cache")

    monkeypatch.setattr(JanusBackend, "_new_engine", full)
    with pytest.raises(CheckpointError, match="no room for a cache"):
        two.named("other")


def test_where_and_as_what_networks_are_opened_is_a_setting(tiny_checkpoint: Path, store: Store):
    settings = settings_from({"checkpoint": str(tiny_checkpoint), "device": "cpu", "dtype": "bfloat16"})
    opened = drawing(settings, store, on_loan=False).first.backend.janus
    assert (opened.device.type, opened.dtype) == ("cpu", torch.bfloat16)
    with pytest.raises(CheckpointError, match="weights cannot be int3; choose float32, bfloat16, float16"):
        drawing(replace(settings, dtype="int3"), store, on_loan=False)
    with pytest.raises(CheckpointError, match="could not be opened"):
        drawing(replace(settings, device="gpu"), store, on_loan=False)


def test_two_checkpoints_of_one_name_are_refused(tiny_checkpoint: Path, store: Store):
    with pytest.raises(CheckpointError, match="two have one name"):
        Checkpoints(Generator(open_backend(tiny_checkpoint), store), [str(tiny_checkpoint)])


def test_settings_name_one_checkpoint_or_several():
    assert Settings().checkpoints == ["embedded", "sft", "painter"]
    assert Settings(checkpoint="rl, sft,").checkpoints == ["rl", "sft"]


def test_a_menu_is_sent_where_other_checkpoints_draw_than_when_the_pages_were_built(two, tmp_path: Path):
    shutil.copytree(tmp_path / "other", tmp_path / "run")
    two.add(str(tmp_path / "run"))
    two.in_menus = two.names
    assert menu(two) == gr.skip()
    two.remove(str(tmp_path / "run"))
    assert menu(two)["choices"] == two.names == [two.first.name, "other"]


def test_a_run_that_saves_again_is_drawn_with_as_it_was_saved_last(two: Checkpoints, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(tmp_path / "other", run)
    two.add(str(run))
    before = two.named("run")
    assert two.named("run") is before

    saved = tmp_path / "saved"
    shutil.copytree(run, saved)
    [shard] = [file for file in saved.glob("*.safetensors") if HEAD in load_file(file)]  # of one or several
    weights = load_file(shard)
    save_file(weights | {HEAD: 2 * weights[HEAD]}, shard, {"format": "pt"})
    shutil.rmtree(run)
    saved.rename(run)
    with two._loading:  # as while somebody else's is being loaded: nobody waits
        assert two.named("run") is before
    after = two.named("run")
    assert after is not before and two.named("run") is after
    heads = [each.backend.janus.network.lm_head.weight for each in (before, after)]
    assert torch.equal(heads[0] * 2, heads[1])


def test_a_run_whose_folder_cannot_be_read_is_drawn_with_as_before(two: Checkpoints, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(tmp_path / "other", run)
    two.add(str(run))
    before = two.named("run")
    (run / "config.json").unlink()
    assert two.named("run") is before
