"""Runs of the trainer: what they may replace, how they go on, when they stop."""

import argparse
import json
import math
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests_support import UNGUARDED
from thoroughness import few
from training_rows import row, save

from model.backends.checkpoint import saving as folders
from model.backends.checkpoint.saving import CheckpointError, check_replaceable, replacing, restore
from model.decoding.load_for_inference import open_checkpoint
from model.training import sft
from model.training.diffusion.dpo import DiffusionDpoSettings
from model.training.dpo import DpoSettings
from model.training.grpo import GrpoSettings
from model.training.kto import KtoSettings
from model.training.optimization import TrainingError
from model.training.policy import write_checkpoint
from model.training.reward import RewardSettings
from model.training.runs.command import add_settings
from model.training.runs.folder import RunStart, RunStopped
from model.training.runs.state import read_state
from model.training.sft import SftSettings, train
from model.training.training_sequences import TrainingSequence
from model.training.world_data import drafts
from model.training.world_data.curriculum import MIXTURES
from model.training.world_data.world_sequences import world_sequences

SETTINGS = SftSettings(steps=4, batch=2, warmup=1, save_every=2)


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and last message of `python -m model.training.sft`."""
    monkeypatch.setattr(sys, "argv", ["sft", *map(str, arguments), *UNGUARDED])
    try:
        sft.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        return code, str(ended.code) if code == 1 else capsys.readouterr().err
    return 0, capsys.readouterr().err


def learn(
    checkpoint: Path, out: Path, settings: SftSettings = SETTINGS, at_step=lambda step: None, **begins: bool
) -> None:
    """A run on two sequences of the world; `at_step` is called where sequences of a step are made."""
    janus = open_checkpoint(checkpoint, dtype=torch.float32)

    def sequences(step: int, which: slice) -> list[TrainingSequence]:
        at_step(step)
        stream = world_sequences(janus, random.Random(step), MIXTURES["judge"])
        return [replace(next(stream)[1], name=f"sequence {step}.{n}") for n in range(2)]

    train(janus, sequences, settings, out, {"parent": str(checkpoint), "recipe": "sft"}, RunStart(**begins))


def rows_of(out: Path) -> list[dict]:
    def constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    lines = Path(f"{out}.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=constant) for line in lines]


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "settings", [SftSettings, DpoSettings, DiffusionDpoSettings, KtoSettings, RewardSettings, GrpoSettings]
)
def test_the_defaults_of_every_method_can_be_given_as_options(settings: type):
    parser = argparse.ArgumentParser()
    add_settings(parser, settings())
    numbers = {name: value for name, value in vars(settings()).items() if type(value) in (int, float)}
    given = [word for name, value in numbers.items() for word in (f"--{name.replace('_', '-')}", f"{value}")]
    assert vars(settings()).items() <= vars(parser.parse_args(given)).items()


@pytest.mark.parametrize("what", ["folder", "file", "parent", "data", "checkpoint", "note", "log", "state", "here"])
def test_out_never_replaces_what_no_run_has_written(
    what: str, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    data, parent = save(tmp_path / "work" / "data", [row()]), tmp_path / "parent"
    out, place = tmp_path / "work" / "out", tmp_path / "work"
    monkeypatch.chdir(place)
    parent.symlink_to(tiny_checkpoint)
    match what:
        case "folder":
            out.mkdir()
            (out / "thesis.tex").write_text("years")
        case "file":
            out.write_text("years")
        case "parent":
            out = place
        case "data":
            out = data
        case "checkpoint":
            out = tiny_checkpoint
        case "note":  # beside a checkpoint of ours
            folders.shutil.copytree(tiny_checkpoint, out)
            (out / "notes.md").write_text("good")
        case "log":
            Path(f"{out}.jsonl").write_text('{"text": "a data set"}\n')
        case "state":
            Path(f"{out}.state").write_text("of mind")
        case "here":
            (place / "empty").mkdir()
            monkeypatch.chdir(place / "empty")
            out = Path()
    before = contents(place)
    code, said = command(
        monkeypatch, capsys, "--data", data, "--checkpoint", parent, "--out", out, "--steps", 1, "--batch", 1
    )
    assert code == 1 and said.startswith("sft: ") and "\n" not in said
    assert contents(place) == before


def test_an_empty_folder_and_an_earlier_run_s_own_are_replaced(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    learn(tiny_checkpoint, out, replace(SETTINGS, steps=1))
    first = contents(out)
    learn(tiny_checkpoint, out, replace(SETTINGS, steps=1, seed=1, learning_rate=1e-2))
    assert contents(out).keys() == first.keys() and contents(out) != first
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.state", "out.jsonl"}


def test_a_kill_between_two_renames_hides_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a system that cannot exchange two folders in one step."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "provenance.json").write_text('{"recipe": "first"}')
    monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    real = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target) == out:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(folders.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt), replacing(out) as scratch:
        (scratch / "provenance.json").write_text('{"recipe": "second"}')
    assert not out.exists()
    monkeypatch.setattr(folders.os, "replace", real)
    restore(out)
    assert json.loads((out / "provenance.json").read_text()) == {"recipe": "first"}
    with replacing(out) as scratch:
        (scratch / "provenance.json").write_text('{"recipe": "third"}')
    assert json.loads((out / "provenance.json").read_text()) == {"recipe": "third"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_checkpoint_is_exchanged_in_one_step_where_the_system_can(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        place.mkdir()
        (place / "name").write_text(place.name)
    if folders.exchange(one, other):
        assert [(place / "name").read_text() for place in (one, other)] == ["other", "one"]
    else:
        assert sys.platform != "linux"


def test_a_loss_that_is_no_number_stops_the_run_before_its_step_and_names_the_rows(
    tiny_checkpoint: Path, tmp_path: Path
):
    out = tmp_path / "out"
    learn(tiny_checkpoint, out, replace(SETTINGS, steps=2))
    before = contents(tmp_path)
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)

    def sequences(step: int, which: slice) -> list[TrainingSequence]:
        stream = world_sequences(janus, random.Random(step), MIXTURES["judge"])
        weight = math.nan if step == 3 else 1.0
        return [replace(next(stream)[1], name=f"sequence {step}", weight=weight)]

    provenance = {"parent": str(tiny_checkpoint), "recipe": "sft"}
    with pytest.raises(TrainingError, match=r"step 3: .* is nan; .*Learnt from: sequence 3"):
        train(janus, sequences, SETTINGS, out, provenance, RunStart(resume=True))
    after = contents(tmp_path)
    log = str(tmp_path / "out.jsonl")
    assert {**after, log: b""} == {**before, log: b""}
    *learnt, last = rows_of(out)
    assert [line["step"] for line in learnt] == [0, 1, 2] and not any("alarms" in line for line in learnt)
    assert last["step"] == 3 and "codes" not in last and last["alarms"][0].startswith("not finite: step 3")
    assert all(p.isfinite().all() for p in janus.network.parameters())


def test_weights_that_are_not_finite_are_never_saved(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "out"
    learn(tiny_checkpoint, out, replace(SETTINGS, steps=1))
    before = contents(tmp_path)
    janus = open_checkpoint(out, dtype=torch.float32)
    for value in (math.nan, 1e6):  # which float16 has no number for
        janus.network.lm_head.weight.data[0, 0] = value
        with pytest.raises(CheckpointError, match=r"not finite as float16, first lm_head\.weight"):
            write_checkpoint(janus, out, {"parent": str(tiny_checkpoint)})
    assert contents(tmp_path) == before


def test_a_run_goes_on_only_as_what_it_was(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match=r"there is no .*out\.state to go on from; leave out --resume"):
        learn(tiny_checkpoint, out, resume=True)

    def cut(step: int) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(tiny_checkpoint, out, SETTINGS, cut)
    other = replace(SETTINGS, learning_rate=1e-3, batch=3, seed=5)
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    definition = {"parent": str(tiny_checkpoint), "recipe": "sft", "settings": {"batch": 2, "learning_rate": 1e-3}}
    with pytest.raises(CheckpointError, match="learning_rate: None then, 0.001 now"):
        train(janus, lambda step, which: [], other, out, definition, RunStart(resume=True))
    janus.network.lm_head.weight.data += 1
    with pytest.raises(CheckpointError, match="parent_weights: .* then"):
        train(janus, lambda step, which: [], SETTINGS, out, {**definition, "settings": {}}, RunStart(resume=True))
    with pytest.raises(CheckpointError, match="stands at step 2 of 4; go on with it by --resume"):
        learn(tiny_checkpoint, out)
    learn(tiny_checkpoint, out, resume=True)
    assert [line["step"] for line in rows_of(out)] == [0, 1, 2, 3]


def test_changes_that_are_accepted_take_effect_and_are_written_down(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    out, data = tmp_path / "out", save(tmp_path / "data", [row(), row()])
    given = ("--data", data, "--checkpoint", tiny_checkpoint, "--out", out, "--batch", 1, "--warmup", 1, "--decay", 0)
    assert command(monkeypatch, capsys, *given, "--steps", 2, "--learning-rate", 1e-4)[0] == 0
    changed = (*given, "--steps", 4, "--learning-rate", 1e-3, "--muon", 0)
    code, said = command(monkeypatch, capsys, *changed, "--resume")
    assert code == 1 and "learning_rate: 0.0001 then, 0.001 now" in said and "--accept-changes" in said
    save(data, [row(), row(weight=0.5)])
    code, said = command(monkeypatch, capsys, *given, "--learning-rate", 1e-4, "--steps", 4, "--resume")
    assert code == 1 and "data_sha256" in said
    code, said = command(monkeypatch, capsys, *given, "--muon", 0.01, "--resume", "--accept-changes")
    assert code == 1 and "does not fit this network and these optimizers" in said
    assert command(monkeypatch, capsys, *changed, "--resume", "--accept-changes")[0] == 0
    assert [line["learning_rate"] for line in rows_of(out)] == [1e-4, 1e-4, 1e-3, 1e-3]
    [resumed] = json.loads((out / "provenance.json").read_text())["resumed"]
    assert resumed["step"] == 2
    assert resumed["changed"]["learning_rate"] == [1e-4, 1e-3] and resumed["changed"]["steps"] == [2, 4]
    assert command(monkeypatch, capsys, *changed, "--resume", "--accept-changes", "--steps", 3)[0] == 1


@pytest.mark.parametrize("keep", few([0, 10, 0.5, 0.99], 2))
def test_a_damaged_state_is_named_and_left_alone(tiny_checkpoint: Path, tmp_path: Path, keep: float):
    out, state = tmp_path / "out", tmp_path / "out.state"
    learn(tiny_checkpoint, out, replace(SETTINGS, steps=1))
    content = state.read_bytes()
    state.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    before = contents(tmp_path)
    for begins in ({"resume": True}, {}, {"restart": True}):
        with pytest.raises(CheckpointError, match=r"out\.state is damaged, or no run's state"):
            learn(tiny_checkpoint, out, **begins)
    assert contents(tmp_path) == before


def test_rows_of_a_log_are_there_once_after_a_kill(tiny_checkpoint: Path, tmp_path: Path):
    out = tmp_path / "out"

    def cut(step: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    settings = replace(SETTINGS, steps=6, save_every=2)
    with pytest.raises(KeyboardInterrupt):
        learn(tiny_checkpoint, out, settings, cut)
    log = tmp_path / "out.jsonl"
    with log.open("a") as opened:
        opened.write('{"step": 4, "rows": 1}\n{"step": 5, "se')
    learn(tiny_checkpoint, out, settings, resume=True)
    assert [line["step"] for line in rows_of(out)] == list(range(6))


@pytest.mark.parametrize("number", few([signal.SIGTERM, signal.SIGINT], 0))
def test_a_signal_ends_the_run_after_its_step_and_saves_it(tiny_checkpoint: Path, tmp_path: Path, number: int):
    out, handler = tmp_path / "out", signal.getsignal(number)

    def told(step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), number)

    settings = replace(SETTINGS, steps=50, save_every=0)
    with pytest.raises(RunStopped) as stopped:
        learn(tiny_checkpoint, out, settings, told)
    step = read_state(tmp_path / "out.state")["step"]
    assert stopped.value.code == 128 + number and f"after {step} of 50 steps" in str(stopped.value)
    assert json.loads((out / "provenance.json").read_text())["step"] == step == len(rows_of(out))
    assert signal.getsignal(number) == handler
    learn(tiny_checkpoint, out, replace(settings, steps=step + 1), resume=True)
    assert json.loads((out / "provenance.json").read_text())["step"] == step + 1


def test_readme_s_two_hundred_steps_save_before_their_end():
    assert 0 < SftSettings().save_every < 200


@pytest.mark.parametrize("settings", [DpoSettings, GrpoSettings, KtoSettings, RewardSettings, SftSettings])
def test_every_option_of_a_method_is_explained_with_its_default(settings: type):
    parser = argparse.ArgumentParser()
    add_settings(parser, settings())
    options = [action for action in parser._actions if action.dest != "help"]
    assert [action.dest for action in options if not (action.help or "").split("(default")[0].strip()] == []
    assert all(f"(default: {action.default})" in action.help for action in options if action.default not in ("", False))
    former = {option: action.help for action in options for option in action.option_strings[1:]}
    assert all(f"[formerly {option}]" in about for option, about in former.items())


@pytest.mark.parametrize(
    "given",
    [
        ("--world", "--batch", 1, "--data", "DATA"),
        (),
        ("--world", "--resume", "--restart"),
        ("--world", "--accept-changes"),
        ("--world", "--steps", 0),
        ("--world", "--learning-rate", "nan"),
        ("--world", "--learning-rate", -1),
        ("--world", "--clip", 0),
        ("--world", "--max-grad-norm", 0),
        ("--world", "--batch", "many"),
    ],
)
def test_settings_that_make_no_run_are_refused(
    given: tuple, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    data = save(tmp_path / "data", [row()])
    given = [data if each == "DATA" else each for each in given]
    code, _ = command(monkeypatch, capsys, *given, "--checkpoint", tiny_checkpoint, "--out", tmp_path / "out")
    assert code in (1, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_a_bad_row_ends_the_command_with_its_number_before_anything_is_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    data = save(tmp_path / "data", [row(), row(weight=math.nan)])
    code, said = command(
        monkeypatch, capsys, "--data", data, "--checkpoint", tiny_checkpoint, "--out", tmp_path / "out"
    )
    assert code == 1 and said.startswith("sft: 1 of 2 rows") and "row 2 of train.parquet: the weight is nan" in said
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_drafts_replace_no_file_that_is_none(tmp_path: Path):
    file = tmp_path / "thesis.tex"
    file.write_text("years")
    with pytest.raises(drafts.DataError, match="holds no drafts"):
        drafts.write_drafts([], file)
    assert file.read_text() == "years"
    drafts.write_drafts([], tmp_path / "drafts.parquet")
    drafts.write_drafts([], tmp_path / "drafts.parquet")
    assert drafts.read_drafts(tmp_path / "drafts.parquet") == []


def test_a_folder_of_ours_is_told_from_others(tiny_checkpoint: Path, tmp_path: Path):
    check_replaceable(tiny_checkpoint)
    check_replaceable(tmp_path / "new")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no checkpoint of ours"):
        check_replaceable(tmp_path)
