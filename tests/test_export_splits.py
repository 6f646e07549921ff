"""Splits without leakage, shards that are gone on with after a kill, and what changed since an earlier export."""

import hashlib
import json
import signal
from pathlib import Path

import pandas as pd
import preloaded
import pyarrow.parquet as pq
import pytest
from test_annotations_samples import aha, judged

from annotations.errors import ExportError
from annotations.export.changes import changes
from annotations.export.command import main
from annotations.export.exporter import export
from annotations.export.manifest import read_manifest
from annotations.export.query import Query, Split
from annotations.export.splits import prompt_key
from annotations.store.store import open_store
from model.examples import JudgeExample
from model.training.dataset import data_files

ROOT = Path(__file__).parent.parent
HELD_OUT = Query(splits=(Split("validation", 0.3), Split("test", 0.2)))


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "data") as store:
        yield store


def judge(store, number: int, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    id = store.save(trajectory, pictures, owner="visitor")
    store.annotate(judged(id, 2, verdict_right="yes", reason_rating=5))
    return id


def by_split(folder: Path) -> dict[str, pd.DataFrame]:
    files = read_manifest(folder).files
    return {file.split: pd.read_parquet(folder / file.name) for file in files}


def test_what_shares_a_prompt_or_an_image_is_in_one_split(store, tmp_path):
    for number in range(40):
        judge(store, number, prompt=f"{number // 2} apples")
    for number in range(40, 60):
        judge(store, 7, prompt=f"{number} pears", seed=number)  # one image, twenty prompts
    manifest = export(store, "judge_sft", tmp_path / "out", query=HELD_OUT)
    splits = by_split(tmp_path / "out")
    assert set(splits) == {"train", "validation", "test"} and manifest.examples == 60
    where: dict[str, set[str]] = {}
    images: dict[str, set[str]] = {}
    for split, rows in splits.items():
        for row in rows.to_dict("records"):
            where.setdefault(row["prompt"][0]["content"][0]["text"], set()).add(split)
            for image in row["images"]:
                images.setdefault(hashlib.sha256(image["bytes"]).hexdigest(), set()).add(split)
    assert all(len(some) == 1 for some in (*where.values(), *images.values()))
    again = export(store, "judge_sft", tmp_path / "again", query=HELD_OUT)
    assert [file.sha256 for file in again.files] == [file.sha256 for file in manifest.files]
    other = export(store, "judge_sft", tmp_path / "other", query=Query(splits=HELD_OUT.splits, seed=1))
    assert [file.sha256 for file in other.files] != [file.sha256 for file in manifest.files]


def test_the_trainer_learns_the_split_train_alone(store, tmp_path):
    for number in range(12):
        judge(store, number, prompt=f"{number} apples")
    export(store, "judge_sft", tmp_path / "out", query=HELD_OUT)
    assert [file.name.split("-")[0] for file in data_files(tmp_path / "out", "judge_sft")] == ["train"]
    others = data_files(tmp_path / "out", "judge_sft", held_out=True)
    assert others and {file.name.split("-")[0] for file in others} <= {split.name for split in HELD_OUT.splits}
    assert data_files(others[0], "judge_sft") == data_files(others[0], "judge_sft", held_out=True) == others[:1]
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "path: validation-*.parquet" in card and "Splits: train, " in card


@pytest.mark.parametrize(
    "same", ["Two red  apples", "two red apples。", "“two red apples”", "ｔｗｏ red apples!", "\ufefftwo red\napples …"]
)
def test_prompts_that_read_the_same_are_in_one_split(same: str):
    assert prompt_key(same) == prompt_key("two red apples") != prompt_key("two red apple")
    assert prompt_key("café") == prompt_key("cafe\u0301")


@pytest.mark.parametrize(
    ("splits", "why"),
    [
        ((Split("train", 0.1),), "other than train"),
        ((Split("a", 0.6), Split("b", 0.4)), "in sum below 1"),
        ((Split("a", 0),), "above 0"),
        ((Split("../x", 0.1),), "different names"),
    ],
)
def test_splits_that_cannot_be_are_refused(splits, why):
    with pytest.raises(ExportError, match=why):
        Query(splits=splits)


def test_a_query_is_read_back_from_its_json():
    query = Query(projects=("a",), own_words=True, splits=HELD_OUT.splits, min_agreement=0.8)
    assert Query.from_dict(json.loads(json.dumps(query.to_dict()))) == query
    with pytest.raises(ExportError, match="this is no query"):
        Query.from_dict({"colour": "red"})


KILLED = """
import os, signal, sys
from pathlib import Path
from annotations.export import annotated_trajectories, exporter
from annotations.store.store import open_store_for_reading
exporter.PART_BYTES, annotated_trajectories.AT_ONCE = 2500, 3
def heard(done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
with open_store_for_reading(Path(sys.argv[1])) as store:
    exporter.export(store, "judge_sft", Path(sys.argv[2]), heard)
"""


def test_an_export_that_was_killed_goes_on_and_ends_with_the_same_bytes(store, tmp_path, monkeypatch):
    for number in range(20):
        judge(store, number)
    store.close()
    command = ["-c", KILLED, str(tmp_path / "data"), str(tmp_path / "out")]
    killed = preloaded.run(*command, "13")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out").exists() and (tmp_path / ".out.partial" / "state.json").exists()
    for out in ("out", "whole"):
        done = preloaded.run(*command[:-1], tmp_path / out, "-1")
        assert done.returncode == 0, done.stderr
    first, second = read_manifest(tmp_path / "out"), read_manifest(tmp_path / "whole")
    assert first.files == second.files and first.sources == second.sources and len(first.files) > 3
    assert first.examples == second.examples == 20
    rows = [row for file in first.files for row in pq.read_table(tmp_path / "out" / file.name).to_pylist()]
    assert len({JudgeExample.from_row(row).trajectory_id for row in rows}) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "whole"]


def test_a_full_disk_leaves_no_half_export_and_what_was_done_is_gone_on_with(store, tmp_path, monkeypatch):
    monkeypatch.setattr("annotations.export.exporter.PART_BYTES", 2500)
    monkeypatch.setattr("annotations.export.annotated_trajectories.AT_ONCE", 3)
    for number in range(8):
        judge(store, number)
    whole = export(store, "judge_sft", tmp_path / "whole")
    write, parts = pq.write_table, []

    def full(table, file, **options):
        parts.append(file)
        if len(parts) == 3:
            raise OSError(28, "No space left on device")
        return write(table, file, **options)

    monkeypatch.setattr("annotations.export.writing.parts.pq.write_table", full)
    with pytest.raises(ExportError, match="No space left on device.*goes on where it stopped"):
        export(store, "judge_sft", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export(store, "judge_sft", tmp_path / "out").files == whole.files


def test_the_difference_to_an_earlier_export_is_said(store, tmp_path):
    kept, deleted, changed = (judge(store, number) for number in range(3))
    export(store, "judge_sft", tmp_path / "old")
    store.hide(deleted, by="ann")
    store.annotate(judged(changed, 2, verdict_right="no", reason_correction="there are two."))
    judge(store, 3)
    export(store, "judge_sft", tmp_path / "new")
    told = changes(tmp_path / "old", tmp_path / "new")
    assert (told.same, told.added, told.removed, told.deleted_trajectories) == (1, 2, 2, 1)
    assert "1 rows as they were" in str(told) and kept
    with pytest.raises(ExportError, match="no export that says"):
        changes(tmp_path, tmp_path / "new")


def test_the_command_says_what_changed(store, tmp_path, capsys):
    judge(store, 0)
    export(store, "judge_sft", tmp_path / "old")
    judge(store, 1)
    options = ["--kind", "judge_sft", "--out", str(tmp_path / "new"), "--data", str(tmp_path / "data")]
    assert main([*options, "--diff", str(tmp_path / "old"), "--split", "validation:0.5", "--licence", "cc-by-4.0"]) == 0
    assert "1 rows as they were, 1 new or changed" in capsys.readouterr().out
    assert "license: cc-by-4.0" in (tmp_path / "new" / "README.md").read_text("utf-8")
