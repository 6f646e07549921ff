"""The Datasets page's handlers, without a browser: real store, real exports."""

import json
import shlex
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pyarrow.parquet as pq
import pytest
from test_annotations_samples import NO_REASON, YES_REASON, aha, judged

from annotations.export.jobs import ExportJobs, exports_of, folder_of
from annotations.export.manifest import CARD, MANIFEST, PARQUET, SOURCES, read_manifest
from annotations.export.preview import survey
from annotations.store.store import open_store
from studio.datasets import handlers as datasets
from studio.datasets.handlers import DatasetsHandlers, DatasetsView, ExportForm, zip_of
from studio.settings import Mode, Settings

VISIT = SimpleNamespace(query_params={}, username=None, session_hash="s")
FORM = ExportForm("judge_sft", [], [], [], [])


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    with open_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def handlers(store):
    return DatasetsHandlers(store, Settings(), ExportJobs(store))


def save(store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def annotate(store) -> str:
    """Two rows, one answer left out."""
    first, second = save(store, 0), save(store, 1)
    store.annotate(judged(first, 2, verdict_right="no", reason_correction="there are <b>two</b>."))
    store.annotate(judged(first, 4, verdict_right="yes", reason_rating=5))
    store.annotate(judged(second, 2, verdict_right="yes", reason_rating=2))
    return first


def exported(handlers, form: ExportForm = FORM) -> DatasetsView:
    """What is shown once an export has ended."""
    told, timer, stop = handlers.export(VISIT, *form)
    assert "It goes on when this page is closed" in told and timer.active and stop["visible"]
    handlers.jobs.wait(60)
    told, timer, stop, *view = handlers.look(VISIT)
    assert not timer.active and not stop["visible"] and told == ""
    return DatasetsView(*view)


def test_the_survey_says_what_an_export_would_hold_and_why_not_more(store):
    annotate(store)
    held = survey(store, "judge_sft")
    assert (held.rows, held.trajectories, held.left_out.total()) == (2, 1, 1)
    assert [why for why in held.left_out if "neither rated good" in why]


def test_an_empty_store_sends_people_to_annotate(handlers):
    *_, note = handlers.start(VISIT)
    ready, rows = handlers.survey(VISIT, *FORM)
    assert "Nothing to export yet" in ready and 'href="annotate"' in ready and (rows, note) == ("", "")
    handlers.export(VISIT, *FORM)
    handlers.jobs.wait(60)
    assert "nothing to export" in handlers.look(VISIT)[0]
    assert list(folder_of(handlers.store).iterdir()) == []


def test_the_numbers_are_those_of_the_store(store, handlers):
    annotate(store)
    figures, projects, checkpoints, *_ = handlers.start(VISIT)
    for number in ("<dd>2</dd><dd>2 with an aha moment</dd>", "<dd>3</dd><dd>by 1 person</dd>"):
        assert number in figures
    assert ("Reflections", "reflections") in projects["choices"] and checkpoints["choices"] == ["tiny"]


def test_counts_and_rows_follow_what_is_asked_for(store, handlers):
    annotate(store)
    ready, rows = handlers.survey_all(VISIT, *FORM)
    assert "<b>2</b> rows from 1 drawings" in ready and "neither rated good" in ready
    assert rows.count("<tr>") == 2 and rows.count("<img") == 3 and "Yes, there are &lt;b&gt;two&lt;/b&gt;." in rows
    ready, rows = handlers.survey_all(VISIT, *FORM._replace(own_words=True))
    assert "<b>1</b> row from" in ready and rows.count("<tr>") == 1
    assert "Nothing to export" in handlers.survey_all(VISIT, *FORM._replace(checkpoints=["large"]))[0]
    assert "Nothing to export" in handlers.survey_all(VISIT, *FORM._replace(since="2999-01-01"))[0]
    assert "is no day; write it as" in handlers.survey_all(VISIT, *FORM._replace(until="soon"))[0]


def test_annotators_and_categories_are_filters_and_people_are_told_by_the_pseudonyms_of_the_export(store, handlers):
    for number, (prompt, who) in enumerate((("a red apple", "ann"), ("two apples", "bob"), ("ein hund", "bob"))):
        store.annotate(judged(save(store, number, prompt=prompt), 2, who, verdict_right="yes", reason_rating=5))
    pseudonyms = store.pseudonyms(["ann", "bob"])
    _, _, _, annotators, categories, *_ = handlers.start(VISIT)
    assert annotators["choices"] == [(f"{name} · {known}", known) for name, known in pseudonyms.items()]
    assert categories["choices"] == ["colours", "counting"]
    assert handlers._annotators(sees_names=False) == [(known, known) for known in pseudonyms.values()]
    assert "<b>2</b> rows" in handlers.survey(VISIT, *FORM._replace(annotators=[pseudonyms["bob"]]))[0]
    form = FORM._replace(annotators=[pseudonyms["bob"]], categories=["counting"])
    ready, rows = handlers.survey(VISIT, *form)
    assert "<b>1</b> row " in ready and "two apples" in rows
    exported(handlers, form)
    [manifest] = exports_of(store).values()
    assert (manifest.query["annotators"], manifest.query["categories"]) == ([pseudonyms["bob"]], ["counting"])


def test_thresholds_are_fields_and_an_empty_one_is_the_default(store, handlers):
    store.annotate(judged(save(store), 2, verdict_right="yes", reason_rating=4))
    assert "<b>1</b> row " in handlers.survey(VISIT, *FORM._replace(good=None))[0]
    assert "neither rated good" in handlers.survey(VISIT, *FORM._replace(good=0.8))[0]
    assert "wanted bad below good" in handlers.survey(VISIT, *FORM._replace(good=0.2))[0]


def test_a_long_count_is_cut_off_and_said_to_be_one(store, handlers, monkeypatch):
    for number in range(3):
        store.annotate(judged(save(store, number), 2, verdict_right="yes", reason_rating=5))
    monkeypatch.setattr(datasets, "PATIENCE", -1.0)
    assert "At least <b>1</b> row" in handlers.survey(VISIT, *FORM)[0]
    assert "At least" not in handlers.survey_all(VISIT, *FORM)[0]


def test_an_export_is_a_folder_with_what_it_says(store, handlers):
    annotate(store)
    view = exported(handlers)
    ((name, manifest),) = exports_of(store).items()
    folder = folder_of(store) / name
    assert pq.read_table(folder / PARQUET).num_rows == manifest.examples == 2
    assert folder.parent == store.database.directory / "exports"
    assert "<dt>Rows</dt><dd>2</dd>" in view.summary
    assert view.block["visible"] and "Exported: 2 rows." in view.note and "datasets#datasets-block" in view.note


def test_the_rows_show_what_is_learnt(store, handlers):
    annotate(store)
    rows = exported(handlers).rows
    assert NO_REASON in rows and YES_REASON in rows  # of the first image, of the revision
    assert "Yes, there are &lt;b&gt;two&lt;/b&gt;." in rows and "<dt>origin</dt><dd" in rows
    assert rows.count("<img") == 3


def test_the_command_names_the_folder_and_can_be_pasted(store, handlers):
    annotate(store)
    words = shlex.split(exported(handlers).command)
    assert words[:3] == ["python", "-m", "model.training.sft"]
    assert read_manifest(Path(words[words.index("--data") + 1])) is not None


def test_every_kind_is_offered_and_shown_as_it_is_read(store, handlers):
    annotate(store)
    view = exported(handlers, FORM._replace(kind="answers"))
    assert "load_dataset" in view.command and "verdict_right" in view.rows
    assert [name.partition("-")[0] for name in exports_of(store)] == ["answers"]


def test_the_zip_holds_the_whole_export(store, handlers, tmp_path):
    annotate(store)
    file = Path(exported(handlers).download["value"])
    assert file.is_relative_to(tmp_path / "served")  # Gradio may serve it; it may not serve the data folder
    with zipfile.ZipFile(file) as archive:
        assert {Path(name).name for name in archive.namelist()} == {PARQUET, MANIFEST, CARD, SOURCES}
    ((name, manifest),) = exports_of(store).items()
    before = file.stat().st_mtime_ns
    assert zip_of(folder_of(store) / name, manifest) == str(file)
    assert file.stat().st_mtime_ns == before


def test_the_newest_export_is_shown_and_an_older_one_can_be_chosen(store, handlers):
    annotate(store)
    exported(handlers)
    ((older, manifest),) = exports_of(store).items()
    past = manifest.to_dict() | {"created_at": "2020-01-01T00:00:00+00:00"}
    (folder_of(store) / older / MANIFEST).write_text(json.dumps(past))
    store.annotate(judged(save(store, 2), 4, verdict_right="yes", reason_rating=5))
    assert "<dd>3</dd>" in exported(handlers).summary
    menu = DatasetsView(*handlers.start(VISIT)[9:]).chosen
    assert menu["value"] != older and menu["visible"]
    assert "<dt>Rows</dt><dd>2</dd>" in handlers.choose(older, VISIT).summary


def test_a_stopped_export_goes_on_when_the_same_is_asked_again(store, handlers, monkeypatch):
    monkeypatch.setattr("annotations.export.exporter.PART_BYTES", 1)
    monkeypatch.setattr("annotations.export.annotated_trajectories.AT_ONCE", 1)
    for number in range(4):
        store.annotate(judged(save(store, number), 2, verdict_right="yes", reason_rating=5))
    heard = handlers.jobs._heard

    def stop_after_two(done: int, total: int) -> None:
        heard(done, total)
        if done == 2:
            handlers.stop(VISIT)

    monkeypatch.setattr(handlers.jobs, "_heard", stop_after_two)
    name = handlers.jobs.start("judge_sft", FORM.query())
    assert "was stopped" in handlers.jobs.wait(60).error and exports_of(store) == {}
    assert "Not finished: “Reflections to learn”" in handlers.start(VISIT)[-1]
    monkeypatch.setattr(handlers.jobs, "_heard", heard)
    assert handlers.jobs.start("judge_sft", FORM.query()) == name
    assert handlers.jobs.wait(60).error == ""
    assert {name: made.examples for name, made in exports_of(store).items()} == {name: 4}
    assert [path.name for path in folder_of(store).iterdir()] == [name] and handlers.jobs.unfinished() == []


def test_a_full_disk_is_said_on_the_page_and_leaves_no_half_zip(store, handlers, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    annotate(store)
    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    handlers.export(VISIT, *FORM)
    handlers.jobs.wait(60)
    assert "No space left on device" in DatasetsView(*handlers.look(VISIT)[3:]).note and len(exports_of(store)) == 1
    assert [path for path in (tmp_path / "served").rglob("*") if path.is_file()] == []
    monkeypatch.setattr("annotations.export.jobs.write_whole", full)
    assert "No space left on device" in handlers.export(VISIT, *FORM)[0] and not handlers.jobs.progress.running


@pytest.mark.parametrize("name", ["../images", "/etc", "judge_sft-none", "", None])
def test_only_exports_can_be_chosen(store, handlers, name):
    annotate(store)
    exported(handlers)
    assert handlers.choose(name, VISIT).block["visible"] is False


def test_a_damaged_export_is_said_to_be_so(store, handlers):
    annotate(store)
    exported(handlers)
    (folder,) = folder_of(store).iterdir()
    for name in (PARQUET, SOURCES):
        (folder / name).write_bytes(b"not parquet")
        assert "Export again" in handlers.choose(folder.name, VISIT).note


def test_an_export_that_shows_a_deleted_drawing_is_not_handed_out(store, handlers):
    first = annotate(store)
    exported(handlers)
    store.hide(first, by="me")
    view = DatasetsView(*handlers.start(VISIT)[9:])
    assert "deleted since" in view.note and view.block["visible"] is False


def test_a_visitor_is_refused_by_every_handler(store):
    annotate(store)
    handlers = DatasetsHandlers(store, Settings(mode=Mode.PUBLIC), ExportJobs(store))
    for call in (
        lambda: handlers.start(VISIT),
        lambda: handlers.survey(VISIT, *FORM),
        lambda: handlers.survey_all(VISIT, *FORM),
        lambda: handlers.export(VISIT, *FORM),
        lambda: handlers.stop(VISIT),
        lambda: handlers.look(VISIT),
        lambda: handlers.choose("x", VISIT),
    ):
        with pytest.raises(gr.Error):
            call()
    assert exports_of(store) == {}
