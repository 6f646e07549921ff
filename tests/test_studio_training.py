"""The Training page's handlers, without a browser: real store, real exports, real runs in processes of their own."""

import json
import os
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from test_annotations_samples import aha, judged, png

from annotations.export.exporter import export
from annotations.export.jobs import folder_of
from annotations.store.store import Store, open_store
from model.training import sft
from model.training.runs.estimate import config_of, estimate
from model.training.runs.load_for_training import LoadOptions
from model.training.runs.metric_descriptions import metric_description
from studio.inference.checkpoints import Checkpoints
from studio.settings import Mode, Settings
from studio.training import launch, provenance
from studio.training.curves import curves_of, metric_name, read_metrics, seconds_per_step, thinned
from studio.training.handlers import TrainingHandlers, TrainingView, add_runs
from studio.training.launch import RunError
from studio.training.run_form import Asked, bytes_of, checkpoints_of, request_of, runs_dir
from studio.training.runs import (
    BEGUN,
    ENDED,
    PROCESS,
    RunRequest,
    RunStatus,
    TrainingRun,
    identity,
    killed_words,
    read_run,
    runs_in,
)

VISIT = SimpleNamespace(query_params={}, username=None, session_hash="s")
ROOT = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds


class NoGenerator:
    """The first checkpoint's place, where nothing is drawn."""

    name = "tiny"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as store:
        yield store
        for run in runs_in(runs_dir(store)):
            if run.state.live:
                launch.stop(run)
                until(run, lambda run: not run.state.live)


@pytest.fixture
def exported(store: Store) -> Path:
    """An export with two rows, each made by one annotation."""
    for number in range(2):
        trajectory, pictures = aha(number)
        id = store.save(trajectory, pictures, owner="me")
        store.annotate(judged(id, 2, "ann", verdict_right="no", reason_correction="there are two."))
    folder = folder_of(store) / "judge_sft-1"
    export(store, "judge_sft", folder)
    return folder


@pytest.fixture
def handlers(store: Store, tiny_checkpoint: Path) -> TrainingHandlers:
    return TrainingHandlers(store, Settings(checkpoint=str(tiny_checkpoint)), Checkpoints(NoGenerator()))


def asked(export: Path | None = None, **changes) -> Asked:
    options = "--batch 1 --learning-rate 1e-4 --distill 0 --evaluate-prompts 0"
    data = [export.name] if export else []
    return Asked("sft", data, "", "tiny", 2, False, "", "", options)._replace(**changes)


def until(run: TrainingRun, holds) -> TrainingRun:
    """The run once something holds of it."""
    end = time.monotonic() + PATIENCE
    while not holds(run):
        assert time.monotonic() < end, "\n".join(run.last_lines())
        time.sleep(0.05)
    return run


def by_hand(place: Path, name: str = "run", command: tuple[str, ...] = ("-c", "pass"), **changes) -> TrainingRun:
    """A run of another command, which takes no time."""
    request = RunRequest(name, "sft", command, 2, "tiny", created_at="2026-11-29T20:00:00+00:00", **changes)
    return launch.start(place, request)


def test_a_run_learns_an_export_and_its_checkpoint_knows_the_annotations(handlers, store, exported, tmp_path):
    view = handlers.launch(VISIT, *asked(exported, name="better"))
    assert "goes on when this page is closed" in view.note and view.chosen == "better"
    run = until(read_run(runs_dir(store) / "better"), lambda run: not run.state.live)
    assert run.state is RunStatus.FINISHED, run.last_lines()
    assert [row["step"] for row in read_metrics(run.metrics)] == [0, 1]
    assert [name for name, _ in provenance.ancestors(run.out)] == ["better", "tiny"]
    revisions = [annotation.id for annotation in store.annotations()]
    assert provenance.learners(runs_dir(store), revisions) == {id: ["better"] for id in revisions}
    shown = TrainingView(*handlers.start(SimpleNamespace(**vars(VISIT) | {"query_params": {"run": "better"}}))[7:])
    assert "2 annotations of 2 drawings" in shown.provenance and "there are two." in shown.provenance
    assert shown.command == shlex.join(["python", *run.request.command]) and "<polyline" in shown.curves
    drawing = handlers.draw("better", VISIT)
    assert drawing.take_off["visible"] and handlers.checkpoints.names == ["tiny", "better"]
    again = Checkpoints(NoGenerator())
    add_runs(again, store)
    assert again.names == ["tiny", "better"]
    assert "take it off first" in handlers.delete("better", VISIT).note
    handlers.take_off("better", VISIT)
    handlers.delete("better", VISIT)
    assert handlers.checkpoints.names == ["tiny"] and runs_in(runs_dir(store)) == []


@pytest.mark.thorough
def test_a_stopped_run_saves_and_goes_on_where_it_was(handlers, store, exported):
    handlers.launch(VISIT, *asked(exported, name="long", steps=5000))
    run = until(read_run(runs_dir(store) / "long"), lambda run: len(read_metrics(run.metrics)) > 3)
    assert handlers.look("long", None, VISIT).stop["visible"]
    handlers.stop("long", VISIT)
    until(run, lambda run: run.state is RunStatus.STOPPED)
    done = len(read_metrics(run.metrics))
    assert run.has_checkpoint and handlers.look("long", None, VISIT).resume["visible"]
    handlers.resume("long", VISIT)
    until(run, lambda run: len(read_metrics(run.metrics)) > done)
    assert [row["step"] for row in read_metrics(run.metrics)][: done + 1] == list(range(done + 1))


def test_runs_take_turns(store):
    place = runs_dir(store)
    first = by_hand(place, "first", ("-c", "import time; time.sleep(60)"))
    second = by_hand(place, "second")
    until(first, lambda run: run.state is RunStatus.RUNNING)
    assert second.state is RunStatus.WAITING
    launch.stop(first)
    until(second, lambda run: run.state is RunStatus.FINISHED)
    assert first.state is RunStatus.STOPPED


def test_a_run_that_waits_can_be_stopped(store):
    place = runs_dir(store)
    by_hand(place, "first", ("-c", "import time; time.sleep(60)"))
    second = by_hand(place, "second")
    launch.stop(second)
    until(second, lambda run: run.state is RunStatus.STOPPED)
    assert not (second.folder / BEGUN).exists()


def test_a_run_that_is_resumed_twice_at_once_goes_on_once(store):
    run = by_hand(runs_dir(store), command=("-c", "import time; time.sleep(60)"))
    launch.stop(until(run, lambda run: run.state is RunStatus.RUNNING))
    until(run, lambda run: run.state is RunStatus.STOPPED)
    together, told = threading.Barrier(6), []

    def resume() -> None:
        together.wait()
        try:
            launch.resume(run)
        except RunError as error:
            told.append(str(error))

    pressed = [threading.Thread(target=resume) for _ in range(6)]
    for each in pressed:
        each.start()
    for each in pressed:
        each.join()
    assert len(told) == 5 and all("only what was stopped or has failed can be gone on with" in each for each in told)
    launch.stop(until(run, lambda run: run.state is RunStatus.RUNNING))
    launch.delete(until(run, lambda run: run.state is RunStatus.STOPPED))
    assert list(runs_dir(store).iterdir()) == []


def test_a_run_that_could_not_begin_takes_no_name(store, tmp_path):
    with pytest.raises(OSError):  # its data cannot be read
        launch.start(runs_dir(store), RunRequest("mine", "sft", (), 1, "tiny"), [tmp_path / ("x" * 300)])
    assert list(runs_dir(store).iterdir()) == []


def test_a_failed_run_shows_the_last_lines_of_its_output(handlers, store):
    run = by_hand(runs_dir(store), "bad", ("-c", "import sys; sys.exit('the disk is <full>')"))
    until(run, lambda run: run.state is RunStatus.FAILED)
    assert "the disk is &lt;full&gt;" in handlers.look("bad", None, VISIT).head


def test_a_run_whose_processes_were_killed_has_failed_and_can_go_on(store):
    run = by_hand(runs_dir(store), "killed", ("-c", "import time; time.sleep(60)"))
    until(run, lambda run: run.state is RunStatus.RUNNING)
    for name in (PROCESS, BEGUN):
        os.kill(json.loads((run.folder / name).read_text())["pid"], signal.SIGKILL)
    until(run, lambda run: run.state is RunStatus.FAILED)
    launch.resume(run)
    until(run, lambda run: run.state is RunStatus.RUNNING)


def test_another_process_of_the_same_number_is_not_taken_for_the_run(store):
    run = by_hand(runs_dir(store))
    until(run, lambda run: run.state is RunStatus.FINISHED)
    (run.folder / ENDED).unlink()
    mine = identity(os.getpid())
    (run.folder / BEGUN).write_text(json.dumps(mine))
    assert run.state is RunStatus.RUNNING
    for name in (PROCESS, BEGUN):
        (run.folder / name).write_text(json.dumps(mine | {"started": mine["started"] - 60}))
    assert run.state is RunStatus.FAILED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "magic"}, "is no method"),
        ({"data": []}, "Choose what to learn from"),
        ({"data": ["../../etc"]}, "no export"),
        ({"folder": "relative/rows"}, "whole path"),
        ({"checkpoint": "none"}, "Choose the checkpoint"),
        ({"steps": 0}, "number of steps"),
        ({"adapter": "magic"}, "is no adapter"),
        ({"name": "../up"}, "is no name"),
        ({"name": "tiny"}, "a checkpoint tiny already"),
        ({"options": "--out /etc"}, "is no setting"),
        ({"options": "--batch"}, "needs a value"),
        ({"options": "'"}, "cannot be read"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(handlers, store, exported, changes, words):
    assert words in handlers.launch(VISIT, *asked(exported, **changes)).note
    assert runs_in(runs_dir(store)) == []


def test_a_full_disk_is_said_before_a_run_begins(store, monkeypatch):
    monkeypatch.setattr(launch.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**8))
    with pytest.raises(RunError, match="0.1 GB free"):
        by_hand(runs_dir(store))


def test_two_runs_are_compared_by_settings_and_measures(handlers, store):
    for name, loss in (("one", 0.5), ("two", 0.25)):
        run = by_hand(runs_dir(store), name)
        until(run, lambda run: run.state is RunStatus.FINISHED)
        run.metrics.write_text(json.dumps({"step": 0, "loss": loss, "seconds": 1.0}) + "\n")
        run.out.mkdir()
        (run.out / "provenance.json").write_text(json.dumps({"settings": {"learning_rate": loss, "batch": 8}}))
    view = handlers.compare("one", "two", VISIT)
    assert "learning rate" in view.compared and "<td>0.25</td>" in view.compared and "batch" not in view.compared
    assert view.curves.count("<polyline") == 2
    said = "What this step lowers; lower is better, within one run"
    for shown in (view.curves, view.compared):
        assert f'<abbr title="{said}">loss</abbr><span class="sr-only">: {said}</span>' in shown


def test_an_evaluation_shows_what_got_better_and_its_drawings_step_by_step(handlers, store):
    run = by_hand(runs_dir(store))
    until(run, lambda run: run.state is RunStatus.FINISHED)
    folder = run.evaluation / "samples"
    folder.mkdir(parents=True)
    row = {"setting": "GenEval-like", "row": "first draft", "higher_is_better": True, "before": 0.5, "best": 0.75}
    row |= {"last": 0.7, "best_minus_before": [0.25, 0.1, 0.4], "last_minus_before": None, "change": "better"}
    (run.evaluation / "table.json").write_text(json.dumps({"best": 50, "last": 60, "rows": [row]}))
    (folder / "a.png").write_bytes(png())
    index = {
        step: [
            {"sample": 0, "setting": "x", "prompt": f"<{step}>", "pictures": [name], "said": ["No."], "right": [True]}
        ]
        for step, name in (("000000", "a.png"), ("000050", "../../../secret.png"))
    }
    (folder / "index.json").write_text(json.dumps(index))
    view = handlers.compare("run", None, VISIT)
    assert "75.0 %" in view.evaluated and "+25.0" in view.evaluated and "better" in view.evaluated
    assert view.at["value"] == 1 and "&lt;000050&gt;" in view.samples and "<img" not in view.samples
    assert (
        "before the first step" in (first := handlers.sample("run", 0, VISIT)) and "<img" in first and "right" in first
    )


def test_rates_curves_and_options_are_read_as_they_are(tmp_path):
    log = tmp_path / "log.jsonl"
    rows = [{"step": n, "seconds": 2.0 * n, "loss": 1.0 / (n + 1), "learning_rate": 0.1} for n in range(400)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 400, "lo')
    assert len(read_metrics(log)) == 400 and seconds_per_step(log) == 2.0
    curves = curves_of(read_metrics(log))
    assert list(curves) == ["loss", "learning_rate"] and len(thinned(curves["loss"])) <= 160
    assert read_metrics(tmp_path / "none.jsonl") == () and seconds_per_step(tmp_path / "none.jsonl") is None


def test_every_curve_of_the_shipped_checkpoints_is_explained():
    logs = [ROOT / "model/weights" / name / "log.jsonl" for name in ("sft", "rl", "embedded")]
    names = {name for log in logs for name in curves_of(read_metrics(log))} - {"mended"}
    assert {"codes", "kl", "rehearsed_verdicts_right"} <= names
    assert [name for name in names if metric_description(name) is None] == []
    assert metric_description("reward_verifier_spread") != metric_description("reward_verifier") is not None
    assert metric_description("nothing_of_ours") is None and metric_name("a<b_c") == "a&lt;b c"


def test_the_command_can_be_typed_by_hand(handlers, store, exported, monkeypatch):
    request, _ = request_of(asked(exported, replays=True), store, handlers.settings, "me")
    assert request.command[:2] == ("-m", "model.training.sft") and "--world" in request.command
    assert request.command[request.command.index("--data") + 1] == str(exported)


def test_a_visitor_is_refused_by_every_handler(store, tiny_checkpoint):
    handlers = TrainingHandlers(store, Settings(mode=Mode.PUBLIC), Checkpoints(NoGenerator()))
    for call in (
        lambda: handlers.start(VISIT),
        lambda: handlers.launch(VISIT, *asked()),
        lambda: handlers.estimate(VISIT, *asked()),
        lambda: handlers.choose_method("sft", VISIT),
        lambda: handlers.look("x", None, VISIT),
        lambda: handlers.compare("x", "y", VISIT),
        lambda: handlers.stop("x", VISIT),
        lambda: handlers.resume("x", VISIT),
        lambda: handlers.sample("x", 0, VISIT),
        lambda: handlers.delete("x", VISIT),
        lambda: handlers.draw("x", VISIT),
        lambda: handlers.take_off("x", VISIT),
    ):
        with pytest.raises(gr.Error):
            call()


def test_memory_is_estimated_as_by_the_training_command(tiny_checkpoint: Path):
    whole, _ = bytes_of(str(tiny_checkpoint), "sft", ("--batch", "8"))
    assert whole == estimate(config_of(tiny_checkpoint), LoadOptions(), sft.SftSettings(batch=8).workload).total
    adapted, disk = bytes_of(str(tiny_checkpoint), "sft", ("--adapter", "lora", "--rank", "4", "--batch", "8"))
    assert adapted < whole and disk < whole
    with pytest.raises(RunError, match="--batch"):
        bytes_of(str(tiny_checkpoint), "sft", ("--batch", "many"))


def test_what_paints_by_denoising_is_no_start_of_a_run(store: Store):
    offered = checkpoints_of(store, Settings(checkpoint="embedded, painter, diffusion:FOLDER+sft, janus:sft"))
    assert list(offered) == ["embedded", "sft"]


def test_a_run_s_size_is_told_while_it_moves_its_files(tmp_path: Path):
    run, over = TrainingRun(tmp_path, RunRequest("mine", "sft", (), 1, "tiny")), threading.Event()
    (tmp_path / "output.txt").write_bytes(b"1234")

    def saves() -> None:
        while not over.is_set():
            (tmp_path / "new" / "deep").mkdir(parents=True)
            (tmp_path / "new" / "deep" / "model.safetensors").write_bytes(b"")
            shutil.rmtree(tmp_path / "new")

    saver = threading.Thread(target=saves)
    saver.start()
    try:
        assert {run.size() for _ in range(3000)} == {4}
    finally:
        over.set()
        saver.join()


@pytest.mark.parametrize(
    ("code", "said"),
    [(-9, "by SIGKILL: the system ends so"), (137, "by SIGKILL"), (-11, "by SIGSEGV."), (1, ""), (0, ""), (None, "")],
)
def test_a_run_that_was_killed_says_by_what(code: int | None, said: str):
    assert (said in killed_words(code)) and bool(said) == bool(killed_words(code))
