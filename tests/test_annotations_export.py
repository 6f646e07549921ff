"""From annotations to a folder that `datasets` loads and the trainer reads."""

import dataclasses
import hashlib
import json
from pathlib import Path

import datasets
import preloaded
import pyarrow.parquet as pq
import pytest
import yaml
from test_annotations_samples import NO_REASON, aha, judged, png

from annotations.errors import ExportError, NothingToExportError, PictureError
from annotations.export.command import main
from annotations.export.exporter import export
from annotations.export.labels.judge_targets import JudgeTarget, judge_example, judge_target
from annotations.export.manifest import CARD, MANIFEST, PARQUET, read_manifest, trajectories_of
from annotations.export.preview import survey
from annotations.export.query import Aggregation, Query
from annotations.pictures.images import path_of
from annotations.queue.review import decide
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import EDITS, REFLECTIONS_PROJECT
from annotations.store.items import NewItem
from annotations.store.store import open_store
from model.examples import JudgeExample

ROOT = Path(__file__).parent.parent


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "data") as store:
        yield store


def save(store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def correct(store, trajectory_id: str, annotator: str = "ann", reason: str = "there are two.") -> None:
    store.annotate(judged(trajectory_id, 2, annotator, verdict_right="no", reason_correction=reason))


def rows(out: Path) -> list[dict]:
    return pq.read_table(out / PARQUET).to_pylist()


def load(out: Path, cache: Path) -> list[JudgeExample]:
    loaded = datasets.load_dataset("parquet", data_files=str(out / PARQUET), split="train", cache_dir=str(cache))
    raw = loaded.cast_column("images", datasets.List(datasets.Image(decode=False)))
    assert loaded.features["images"] == datasets.List(datasets.Image())
    assert loaded[0]["images"][0].size == (8, 8)
    return [JudgeExample.from_row(row) for row in raw]


def test_what_is_exported_loads_as_the_examples_it_was_made_from(store, tmp_path):
    first, second = save(store, 0), save(store, 1, prompt="“zwei” Äpfel")
    correct(store, first)
    store.annotate(judged(first, 4, "bob", verdict_right="yes", reason_rating=4))
    store.annotate(judged(second, 2, "ann", verdict_right="yes", reason_rating=5))
    manifest = export(store, "judge_sft", tmp_path / "out")
    names = store.pseudonyms(["ann", "bob"])
    expected = []
    for annotation in store.annotations():
        trajectory = store.trajectory(annotation.trajectory_id)
        target = judge_target(trajectory, annotation)
        assert isinstance(target, JudgeTarget)
        annotator = names[annotation.annotator]
        expected.append(judge_example(trajectory, target, picture=store.picture, annotator=annotator))
    assert load(tmp_path / "out", tmp_path / "cache") == expected
    assert expected[1].images == (png(0), png(1))
    exported = rows(tmp_path / "out")
    assert [row | example.to_row() for row, example in zip(exported, expected, strict=True)] == exported
    assert manifest.examples == len(expected) == survey(store, "judge_sft").rows == 3


def team(store, trajectory_id: str) -> int:
    """An item of a project that three people answer, and a reviewer decides."""
    store.create_project(dataclasses.replace(REFLECTIONS_PROJECT, id="team", name="Team", overlap=3, collects=False))
    [item] = store.add_items("team", [NewItem(trajectory_id)])
    return item


def said(trajectory_id: str, who: str, **answers) -> Annotation:
    return Annotation(trajectory_id, 2, who, answers, project="team")


def test_what_a_reviewer_decided_is_exported_in_place_of_what_others_said_and_says_so(store, tmp_path):
    first = save(store, 0)
    item = team(store, first)
    for who, answers in (
        ("ann", {"verdict_right": "no", "reason_correction": "there are two."}),
        ("bob", {"verdict_right": "yes", "reason_rating": 5}),
        ("eve", {"verdict_right": "yes", "reason_rating": 4}),
    ):
        store.annotate(said(first, who, **answers))
    assert export(store, "judge_sft", tmp_path / "before", query=Query(aggregation=Aggregation.ALL)).examples == 3
    before = export(store, "judge_sft", tmp_path / "before")
    assert (before.counts["decided"], before.left_out) == (0, {"others see the verdict the other way": 1})
    [row] = rows(tmp_path / "before")
    assert (row["votes"], row["agreement"], row["weight"]) == (3, pytest.approx(2 / 3), 1.0)
    decide(store, item, "rae", [said(first, "rae", verdict_right="no", reason_correction="there are both apples.")])
    manifest = export(store, "judge_sft", tmp_path / "out")
    [row] = rows(tmp_path / "out")
    assert row["completion"][0]["content"][0]["text"].endswith("there are both apples.")
    assert (row["decided"], row["annotator"]) == (True, store.pseudonyms(["rae"])["rae"])
    assert manifest.counts["decided"] == manifest.examples == survey(store, "judge_sft").rows == 1
    assert manifest.left_out == {"a reviewer has decided instead": 3}
    assert "| decided | 1 |" in (tmp_path / "out" / CARD).read_text("utf-8")
    [example] = load(tmp_path / "out", tmp_path / "cache")
    assert example.decided
    decide(store, item, "sue", [said(first, "sue", verdict_right="no", reason_correction="two apples are there.")])
    manifest = export(store, "judge_sft", tmp_path / "out")
    [row] = rows(tmp_path / "out")  # the later decision stands, and the earlier one is told
    assert row["annotator"] == store.pseudonyms(["sue"])["sue"]
    assert manifest.left_out == {"a reviewer has decided instead": 4}
    export(store, "answers", tmp_path / "answers")
    decided = [row["annotator"] for row in rows(tmp_path / "answers") if row["decision"]]
    assert set(decided) == set(store.pseudonyms(["rae", "sue"]).values())


def test_a_decision_that_teaches_nothing_itself_leaves_those_who_said_the_same(store, tmp_path):
    first = save(store, 0)
    item = team(store, first)
    store.annotate(said(first, "ann", verdict_right="no", reason_correction="there are two."))
    store.annotate(said(first, "bob", verdict_right="yes", reason_rating=5))
    decide(store, item, "rae", [said(first, "rae", verdict_right="no")])  # without a reason of their own
    manifest = export(store, "judge_sft", tmp_path / "out")
    [row] = rows(tmp_path / "out")
    assert (row["decided"], row["annotator"]) == (False, store.pseudonyms(["ann"])["ann"])
    assert manifest.left_out == {"a reviewer has decided instead": 1, "verdict wrong, but no corrected reason": 1}


def test_a_decision_in_one_project_leaves_the_answers_of_another_alone(store, tmp_path):
    first = save(store, 0)
    item = team(store, first)
    correct(store, first)
    decide(store, item, "rae", [said(first, "rae", verdict_right="yes", reason_rating=5)])
    export(store, "judge_sft", tmp_path / "out")
    assert sorted(row["decided"] for row in rows(tmp_path / "out")) == [False, True]


def test_the_manifest_says_what_is_in_the_folder_and_names_nobody(store, tmp_path):
    first, second = save(store, 0), save(store, 1, checkpoint="large")
    correct(store, first, "ann@example.org")
    correct(store, second, "bob@example.org")
    store.annotate(judged(second, 4, "bob@example.org", verdict_right="no"))
    manifest = export(store, "judge_sft", out := tmp_path / "out")
    assert read_manifest(out) == manifest
    assert manifest.sha256 == hashlib.sha256((out / PARQUET).read_bytes()).hexdigest()
    assert manifest.counts == {"person": 2, "sampled": 0, "yes": 2, "no": 0, "decided": 0}
    assert manifest.left_out == {"verdict wrong, but no corrected reason": 1}
    assert sorted(trajectories_of(out, manifest)) == sorted([first, second])
    assert manifest.trajectories == 2
    assert (manifest.checkpoints, manifest.annotators) == (("large", "tiny"), 2)
    assert manifest.versions["datasets"] == datasets.__version__
    for file in out.iterdir():
        assert b"example.org" not in file.read_bytes()


def test_the_query_of_a_manifest_names_nobody(store, tmp_path):
    store.annotate(judged(save(store), 2, "ann@example.org", verdict_right="yes", reason_rating=5))
    store.annotate(judged(save(store, 1), 2, "eve@example.org", verdict_right="no"))
    pseudonym = store.pseudonyms(["ann@example.org"])["ann@example.org"]
    for name in ("ann@example.org", pseudonym):
        manifest = export(store, "judge_sft", tmp_path / "out", query=Query(annotators=(name, "eve@example.org")))
        assert manifest.query["annotators"] == [pseudonym, store.pseudonyms(["eve@example.org"])["eve@example.org"]]
        assert "@" not in (tmp_path / "out" / "manifest.json").read_text("utf-8")


def test_the_card_tells_the_hub_which_file_is_which(store, tmp_path):
    correct(store, save(store, checkpoint="a|b`c\nd"))
    export(store, "judge_sft", tmp_path / "out")
    _, front, body = (tmp_path / "out" / CARD).read_text("utf-8").split("---\n", 2)
    data_files = [{"split": "train", "path": "train-*.parquet"}]
    assert yaml.safe_load(front)["configs"] == [{"config_name": "judge_sft", "data_files": data_files}]
    assert "`a b c d`" in body
    loaded = datasets.load_dataset(str(tmp_path / "out"), "judge_sft", cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == 1


def test_the_same_store_gives_the_same_file(store, tmp_path):
    for number in range(5):
        correct(store, save(store, number), f"annotator {number}")
    assert export(store, "judge_sft", tmp_path / "a").sha256 == export(store, "judge_sft", tmp_path / "b").sha256


def test_an_answer_that_was_undone_or_replaced_is_not_exported(store, tmp_path):
    undone, replaced, kept = (save(store, number) for number in range(3))
    for trajectory_id in (undone, replaced, kept):
        correct(store, trajectory_id, reason="there are four.")
    store.undo(undone, 2, "ann")
    correct(store, replaced, reason="there are five.")
    export(store, "judge_sft", tmp_path / "out")
    said = {row["trajectory_id"]: row["completion"][0]["content"][0]["text"] for row in rows(tmp_path / "out")}
    assert said == {replaced: "Yes, there are five.", kept: "Yes, there are four."}


def test_a_hidden_trajectory_is_not_exported(store, tmp_path):
    hidden, kept = save(store, 0), save(store, 1)
    correct(store, hidden)
    correct(store, kept)
    store.hide(hidden, by="ann")
    manifest = export(store, "judge_sft", tmp_path / "out")
    assert trajectories_of(tmp_path / "out", manifest) == [kept]


def test_nothing_to_export_is_one_clear_line_and_leaves_no_folder(store, tmp_path):
    with pytest.raises(NothingToExportError, match="none is submitted"):
        export(store, "judge_sft", tmp_path / "out")
    store.annotate(judged(save(store), verdict_right="no"))
    with pytest.raises(NothingToExportError, match="1 verdict wrong, but no corrected reason"):
        export(store, "judge_sft", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_an_earlier_export_is_replaced_and_anything_else_is_left_alone(store, tmp_path):
    correct(store, save(store, 0))
    export(store, "judge_sft", out := tmp_path / "out")
    correct(store, save(store, 1))
    assert export(store, "judge_sft", out).examples == len(rows(out)) == 2
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"holds notes\.txt, which no export has written"):
        export(store, "judge_sft", out)
    assert read_manifest(out).examples == 2
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / CARD).write_text("mine")
    with pytest.raises(ExportError, match="not empty and no export"):
        export(store, "judge_sft", tmp_path / "thesis")
    with pytest.raises(ExportError, match="is a file, wanted a folder"):
        export(store, "judge_sft", tmp_path / "thesis" / CARD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "thesis"]


@pytest.mark.parametrize("name", ["images/thesis.png", "a/images/notes.txt", f"images/{'0' * 63}.png"])
def test_pictures_of_ones_own_in_a_folder_called_images_are_left_alone(store, tmp_path, name):
    correct(store, save(store))
    export(store, "judge_sft", out := tmp_path / "out")
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(ExportError, match=f"holds {name}, which no export has written"):
        export(store, "judge_sft", out)
    assert (out / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["projects", "annotators", "checkpoints", "categories"])
def test_a_misspelt_name_among_others_is_told(store, tmp_path, name):
    correct(store, save(store))
    known = {"projects": "reflections", "annotators": "ann", "checkpoints": "tiny", "categories": None}[name]
    names = tuple(filter(None, (known, "typo")))
    with pytest.raises(ExportError, match=rf"{name} has 'typo', which is not there; there are: "):
        export(store, "judge_sft", tmp_path / "out", query=Query(**{name: names}))


def test_a_value_that_no_column_holds_is_told_with_its_trajectory(store, tmp_path):
    correct(store, save(store, 0))
    correct(store, id := save(store, 1, seed=2**63))
    assert export(store, "judge_sft", tmp_path / "out").examples == 2
    with pytest.raises(ExportError, match=f"a row of '{id}' cannot be written .* delete that trajectory"):
        export(store, "trajectory", tmp_path / "all")


def test_of_two_exports_into_one_folder_at_once_one_is_made_whole_and_the_other_told(store, tmp_path):
    trajectory, pictures = aha(0)
    store.annotate(judged(store.save(trajectory, pictures, owner="v"), 2, "ann", verdict_right="yes", reason_rating=5))
    told, out = [], tmp_path / "out"

    def second(done: int, total: int) -> None:
        if done and not told:
            with pytest.raises(ExportError, match="another export is writing to .*out; wait for it") as refused:
                export(store, "judge_sft", out)
            told.append(refused)

    manifest = export(store, "judge_sft", out, second)
    assert told and read_manifest(out) == manifest
    assert export(store, "judge_sft", out).files == manifest.files
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_failed_export_leaves_the_earlier_one(store, tmp_path):
    trajectory_id = save(store)
    correct(store, trajectory_id)
    before = export(store, "judge_sft", tmp_path / "out")
    sha256 = store.trajectory(trajectory_id).images[0].sha256
    path_of(tmp_path / "data" / "images", sha256).write_bytes(b"damaged")
    with pytest.raises(PictureError, match="is damaged"):
        export(store, "judge_sft", tmp_path / "out")
    assert read_manifest(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


def test_many_pictures_are_written_in_groups_that_a_viewer_can_read(store, tmp_path, monkeypatch):
    monkeypatch.setattr("annotations.export.writing.writers.GROUP_BYTES", 3 * (1000 + len(png())))
    monkeypatch.setattr("annotations.export.annotated_trajectories.AT_ONCE", 2)
    for number in range(7):
        correct(store, save(store, number))
    seen = []
    export(store, "judge_sft", tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert pq.ParquetFile(tmp_path / "out" / PARQUET).num_row_groups == 2
    assert [row["images"][0]["bytes"] for row in rows(tmp_path / "out")] == [png(2 * n) for n in range(7)]
    assert seen[-1] == (7, 7)


def test_the_command_exports_beside_a_store_that_is_being_written(store, tmp_path):
    correct(store, save(store))
    command = ["-m", "annotations.export", "--kind", "judge_sft", "--json"]
    with store.database.writing():
        done = preloaded.run(*command, "--data", tmp_path / "data", "--out", tmp_path / "out", timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / MANIFEST).read_text("utf-8"))
    assert "1 of 1 trajectories" in done.stderr


def test_the_command_fails_with_one_line(store, tmp_path, capsys):
    assert main(["--kind", "judge_sft", "--out", str(tmp_path / "out"), "--data", str(tmp_path / "data")]) == 1
    assert main(["--kind", "judge_sft", "--out", str(tmp_path / "out"), "--data", str(tmp_path / "none")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: nothing to export")
    assert lines[1].startswith("error: there is no studio.db")
    assert len(lines) == 2
    with pytest.raises(SystemExit, match="2"):
        main(["--kind", "poems", "--out", "x"])


def test_an_unknown_kind_is_refused(store, tmp_path):
    with pytest.raises(ExportError, match="the kinds are: judge_sft"):
        export(store, "poems", tmp_path / "out")


def test_the_models_own_words_are_called_sampled(store, tmp_path):
    store.annotate(judged(save(store), verdict_right="yes", reason_rating=5))
    export(store, "judge_sft", tmp_path / "out")
    [row] = rows(tmp_path / "out")
    assert (row["origin"], row["completion"][0]["content"][0]["text"]) == ("sampled", NO_REASON)
    assert dataclasses.asdict(JudgeExample.from_row(row))["weight"] == 1.0


@pytest.mark.parametrize(
    "words",
    ["<script>alert(1)</script> ${x} {{y}}", "**b** | `c` [x](javascript:1)", "\u202eمرحبا", "🐈" * 10_000],
)
def test_hostile_words_are_exported_letter_by_letter_and_stand_in_no_card(store, tmp_path, words):
    correct(store, save(store, prompt=words), reason=words[:500])
    export(store, "judge_sft", tmp_path / "out")
    [row] = rows(tmp_path / "out")
    example = JudgeExample.from_row(row)
    assert example.prompt == words
    assert words[:500] in example.completion
    assert words[:10] not in (tmp_path / "out" / CARD).read_text("utf-8")
    assert words[:10] not in (tmp_path / "out" / MANIFEST).read_text("utf-8")


def test_what_should_be_changed_is_a_column_of_its_own(store, tmp_path):
    store.create_project(EDITS)
    first = save(store)
    store.add_items(EDITS.id, [NewItem(first)])
    answers = {"verdict_right": "yes", "reason_correction": "there are three apples.", "edit": "remove one apple"}
    store.annotate(Annotation(first, 2, "ann", answers, project=EDITS.id))
    export(store, "judge_sft", tmp_path / "out")
    [row] = rows(tmp_path / "out")
    assert (row["edit"], row["completion"][0]["content"][0]["text"]) == (
        "remove one apple",
        "No, there are three apples.",
    )
