"""Exports of odd things: formulas, very long words, pictures that are gone, a project that is made meanwhile."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from test_annotations_samples import aha, judged, png
from thoroughness import few

from annotations.errors import AnnotationsError, PictureError
from annotations.export import exporter
from annotations.export.exporter import export
from annotations.export.kind import ExportRow
from annotations.export.manifest import read_manifest
from annotations.export.preview import survey
from annotations.export.registry import KINDS
from annotations.export.writing.writers import JsonLinesWriter
from annotations.pictures.images import path_of
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import RICH
from annotations.store.items import NewItem
from annotations.store.store import open_store

WORDS = ("=HYPERLINK(1)", "+1", "-2+3", "@SUM(A1)", "a\tb", "“’\u202e مرحبا", "<script>", "🐈" * 600, "x" * 2000)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "data") as store:
        yield store


def correct(store, number: int, reason: str, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    id = store.save(trajectory, pictures, owner="visitor")
    store.annotate(judged(id, 2, verdict_right="no", reason_correction=reason))
    return id


@pytest.mark.parametrize("words", few(WORDS, 0, 5, 7))
def test_words_are_in_every_kind_as_they_were_written(store, tmp_path, words):
    correct(store, 0, words, prompt=words[:500])
    held = [name for name in KINDS if survey(store, name).rows]
    assert {"judge_sft", "judge_pref", "trajectory", "answers", "ours", "prompts"} <= set(held)
    for name in held:
        manifest = export(store, name, tmp_path / name)
        assert sum(file.rows for file in manifest.files) >= 1 and survey(store, name, first=1).first
    [row] = pq.read_table(tmp_path / "judge_sft" / "train-00000-of-00001.parquet").to_pylist()
    assert row["correction"] == words
    [row] = pq.read_table(tmp_path / "ours" / "train-00000-of-00001.parquet").to_pylist()
    assert json.loads(row["annotations"])[0]["answers"]["reason_correction"] == words


@pytest.mark.parametrize("words", ["a\0b", "\ud800"])
def test_what_no_database_holds_is_refused_before_it_is_stored(store, words):
    with pytest.raises(AnnotationsError):
        correct(store, 0, words)
    assert store.annotations() == []


@pytest.mark.parametrize("kind", ["judge_sft", "ours", "janus_pro_r1"])
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_picture_that_is_gone_or_damaged_in_the_middle_leaves_nothing_half_written(
    store, tmp_path, monkeypatch, kind, damage
):
    monkeypatch.setattr(exporter, "PART_BYTES", 1)
    ids = [correct(store, number, "there are two.") for number in range(5)]
    file = path_of(tmp_path / "data" / "images", store.trajectory(ids[3]).images[0].sha256)
    content = file.read_bytes()
    file.unlink() if damage == "gone" else file.write_bytes(content[:20])
    with pytest.raises(PictureError, match="restore it from a backup"):
        export(store, kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    file.write_bytes(content)
    resumed = export(store, kind, tmp_path / "out")
    whole = export(store, kind, tmp_path / "whole")
    assert resumed.files == whole.files and read_manifest(tmp_path / "out") == resumed


def test_a_picture_that_was_cut_off_by_a_full_disk_is_written_anew(tmp_path):
    row = ExportRow({"prompt": "p"}, files={"images/a.png": png(1)})
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(1)[:20])
    writer = JsonLinesWriter(tmp_path / "part.jsonl", KINDS["visual_reflection_v1"].features)
    writer.write(row)
    writer.close()
    assert (tmp_path / "images" / "a.png").read_bytes() == png(1)


def test_a_project_that_is_made_or_changed_meanwhile_ends_no_export(store, tmp_path, monkeypatch):
    monkeypatch.setattr("annotations.export.annotated_trajectories.AT_ONCE", 1)
    ids = [correct(store, number, "there are two.") for number in range(3)]

    def meanwhile(done: int, total: int) -> None:
        if done == 1:
            store.create_project(RICH)
            store.add_items(RICH.id, [NewItem(ids[2])])
            store.annotate(Annotation(ids[2], 1, "ann", {"alignment": 5, "appearance": 4}, project=RICH.id))
        if done == 2:
            store.change_project(replace(store.project(RICH.id), closed_at=store.clock()))

    assert export(store, "answers", tmp_path / "out", meanwhile).counts["rating"] == 2
