"""The Datasets page's handlers, without a browser: real store, real exports."""

import shlex
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pyarrow.parquet as pq
import pytest
from test_annotations_samples import NO_REASON, YES_REASON, aha, judged

from annotations.export.manifest import CARD, MANIFEST, PARQUET, SOURCES, read_manifest
from annotations.export.survey import survey
from annotations.store.store import open_store
from studio.datasets import page as datasets
from studio.datasets.page import DatasetsHandlers, exports_of, folder_of, preview, zip_of
from studio.settings import Mode, Settings

VISIT = SimpleNamespace(query_params={}, username=None, session_hash="s")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    with open_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def shelf(store):
    return DatasetsHandlers(store, Settings())


def save(store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def annotate(store) -> str:
    """Two examples, one left out."""
    first, second = save(store, 0), save(store, 1)
    store.annotate(judged(first, 2, verdict_right="no", reason_correction="there are <b>two</b>."))
    store.annotate(judged(first, 4, verdict_right="yes", reason_rating=5))
    store.annotate(judged(second, 2, verdict_right="yes", reason_rating=2))
    return first


def test_the_survey_says_what_an_export_would_hold_and_why_not_more(store):
    annotate(store)
    held = survey(store, "judge_sft")
    assert (held.rows, held.trajectories, held.left_out.total()) == (2, 1, 1)
    assert [why for why in held.left_out if "neither rated good" in why]


def test_an_empty_store_sends_people_to_annotate(shelf):
    view = shelf.start(VISIT)
    assert "Nothing to export yet" in view.ready and 'href="annotate"' in view.ready
    assert view.block["visible"] is False
    assert "nothing to export" in shelf.export(VISIT).note


def test_the_numbers_are_those_of_the_store(store, shelf):
    annotate(store)
    view = shelf.start(VISIT)
    for number in ("<dd>2</dd><dd>2 with an aha moment</dd>", "<dd>3</dd><dd>by 1 person</dd>"):
        assert number in view.collected
    assert "<b>2</b> training examples" in view.ready


def test_many_annotations_are_counted_only_when_asked(store, shelf, monkeypatch):
    annotate(store)
    monkeypatch.setattr(datasets, "COUNTED_AT_ONCE", 2)
    assert "Press Count" in shelf.start(VISIT).ready
    assert "<b>2</b> training examples" in shelf.count(VISIT)[1]


def test_an_export_is_a_folder_with_what_it_says(store, shelf):
    annotate(store)
    view = shelf.export(VISIT)
    ((name, manifest),) = exports_of(store).items()
    folder = folder_of(store) / name
    assert pq.read_table(folder / PARQUET).num_rows == manifest.examples == 2
    assert folder.parent == store.database.directory / "exports"
    assert "<dt>Examples</dt><dd>2</dd>" in view.summary
    assert "<b>2</b> training examples" in view.ready
    assert view.block["visible"] and view.note == ""


def test_the_rows_show_what_the_model_said_and_what_it_should_say(store, shelf):
    annotate(store)
    rows = shelf.export(VISIT).rows
    assert NO_REASON in rows and YES_REASON in rows
    assert "Yes, there are &lt;b&gt;two&lt;/b&gt;." in rows
    assert "rated good" in rows
    assert rows.count("<img") == 2


def test_the_command_names_the_folder_and_can_be_pasted(store, shelf):
    annotate(store)
    words = shlex.split(shelf.export(VISIT).command)
    assert words[:3] == ["python", "-m", "model.training.sft"]
    assert read_manifest(Path(words[words.index("--data") + 1])) is not None


def test_the_zip_holds_the_whole_export(store, shelf, tmp_path):
    annotate(store)
    file = Path(shelf.export(VISIT).download["value"])
    assert file.is_relative_to(tmp_path / "served")  # Gradio may serve it; it may not serve the data folder
    with zipfile.ZipFile(file) as archive:
        assert {Path(name).name for name in archive.namelist()} == {PARQUET, MANIFEST, CARD, SOURCES}
    ((name, manifest),) = exports_of(store).items()
    before = file.stat().st_mtime_ns
    assert zip_of(folder_of(store) / name, manifest) == str(file)
    assert file.stat().st_mtime_ns == before


def test_the_newest_export_is_shown_and_an_older_one_can_be_chosen(store, shelf):
    annotate(store)
    shelf.export(VISIT)
    (folder,) = folder_of(store).iterdir()
    folder.rename(folder.with_name("judge_sft-20200101-000000"))
    annotated = save(store, 2)
    store.annotate(judged(annotated, 4, verdict_right="yes", reason_rating=5))
    assert "<dd>3</dd>" in shelf.export(VISIT).summary
    assert shelf.start(VISIT).chosen["value"] != "judge_sft-20200101-000000"
    older = shelf.choose("judge_sft-20200101-000000", VISIT)
    assert "<dt>Examples</dt><dd>2</dd>" in older.summary
    assert older.chosen["visible"]


@pytest.mark.parametrize("name", ["../images", "/etc", "judge_sft-none", "", None])
def test_only_exports_can_be_chosen(store, shelf, name):
    annotate(store)
    shelf.export(VISIT)
    assert shelf.choose(name, VISIT).block["visible"] is False


def test_a_damaged_export_is_said_to_be_so(store, shelf):
    annotate(store)
    shelf.export(VISIT)
    (folder,) = folder_of(store).iterdir()
    (folder / PARQUET).write_bytes(b"not parquet")
    assert "Export again" in shelf.choose(folder.name, VISIT).note


def test_a_row_whose_drawing_was_deleted_still_shows(store, shelf):
    first = annotate(store)
    shelf.export(VISIT)
    store.hide(first, by="me")
    ((name, manifest),) = exports_of(store).items()
    assert "deleted" in preview(folder_of(store) / name, manifest, store)


def test_a_visitor_is_refused_by_every_handler(store):
    annotate(store)
    shelf = DatasetsHandlers(store, Settings(mode=Mode.PUBLIC))
    seen = shelf.start(VISIT)
    assert seen.note == "" and all(part == gr.skip() for part in seen[:-1])
    for call in (shelf.count, shelf.export, lambda request: shelf.choose("x", request)):
        with pytest.raises(gr.Error, match="visitors"):
            call(VISIT)
    assert exports_of(store) == {}
