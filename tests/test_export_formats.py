"""Exports in the formats of others: what their readers want, and what was imported as it came."""

import hashlib
import io
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from export_store import filled
from foreign_records import FILES, PROMPT, flow_prompts, pickapic, trajectory_id
from PIL import Image as Picture
from test_annotations_importing import janus, lines
from test_annotations_samples import aha, image, judged, png, reflection

from annotations.errors import ImportingError, NothingToExportError
from annotations.export.exporter import export, made_rows
from annotations.export.kind import Excluded, ExportRow
from annotations.export.manifest import read_manifest
from annotations.export.query import EVERYTHING, Query, Split
from annotations.export.registry import KINDS
from annotations.export.store_context import StoreContext
from annotations.importing.formats import FORMATS as importable
from annotations.importing.formats import tars
from annotations.importing.importer import bring_in
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import EDITS
from annotations.schema.questions import EDIT
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store

FORMATS = [name for name, kind in KINDS.items() if ".formats." in type(kind).__module__ and name != "ours"]
IMPORTED_AS = {"janus_sft": "janus_pro_r1", "flow_prompts": "flow_metadata"}


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def rounds(store: Store, number: int = 0, edit: str = "Remove one apple.", **changes: Any) -> str:
    """A drawing of which people accept the second image, say why, and what to change."""
    if EDITS not in store.projects():
        store.create_project(EDITS)
    id = store.save(*aha(number, **changes), owner="visitor")
    [item] = store.add_items(EDITS.id, [NewItem(id)])
    said = {"verdict_right": "yes", "reason_correction": "There is one apple too many."}
    for segment, answers in (
        (2, said | ({EDIT: edit} if edit else {})),
        (4, {"verdict_right": "yes", "reason_rating": 5}),
    ):
        store.annotate(Annotation(id, segment, "ann", answers, project=EDITS.id, item=item))
    return id


def made(store: Store, kind: str, query: Query = EVERYTHING) -> list[ExportRow | Excluded]:
    return [row for _, some in made_rows(StoreContext(store, query), KINDS[kind]) for row in some]


def rows_in(folder: Path) -> list[dict[str, Any]]:
    """All rows of an export; a path of an image is the content that lies there."""
    rows: list[dict[str, Any]] = []
    for file in read_manifest(folder).files:
        path = folder / file.name
        if path.suffix == ".parquet":
            rows += pq.read_table(path).to_pylist()
        elif path.suffix == ".tar":
            rows += [row for _, row in tars.samples(path)]
        elif path.suffix == ".txt":
            rows += [{"prompt": line} for line in path.read_text("utf-8").splitlines()]
        else:
            rows += lines(path)
        assert len(rows) >= file.rows
    return [resolved(row, folder) for row in rows]


def resolved(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {k: resolved(v, folder) for k, v in value.items() if k != "trajectory_id"}
    if isinstance(value, list):
        return [resolved(each, folder) for each in value]
    if isinstance(value, str) and value.endswith(".png") and (folder / value).is_file():
        return hashlib.sha256((folder / value).read_bytes()).hexdigest()
    return value


# --- round trips


@pytest.mark.parametrize("format", [*(name for name in FILES if name != "r3_bench"), "janus_sft"])
def test_what_was_imported_goes_out_as_it_came(store: Store, tmp_path: Path, format: str):
    file = janus(tmp_path) if format == "janus_sft" else FILES[format](tmp_path)
    assert bring_in(store, file, owner="ada").errors == ()
    kind = IMPORTED_AS.get(format, format)
    export(store, kind, tmp_path / "out")
    foreign = rows_of(file)
    exported = rows_in(tmp_path / "out")
    assert len(exported) == len(foreign)
    for row, original in zip(exported, foreign, strict=True):
        for name, value in resolved(original, tmp_path).items():
            assert plain(row[name]) == plain(value), name


def rows_of(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".tar":
        return [row for _, row in tars.samples(file)]
    return pq.read_table(file).to_pylist() if file.suffix == ".parquet" else lines(file)


def plain(value: Any) -> Any:
    """A picture as its bytes."""
    return value["bytes"] if isinstance(value, dict) and set(value) == {"bytes", "path"} else value


@pytest.mark.parametrize("kind", [name for name in FORMATS if name not in ("flow_prompts", "flow_metadata")])
def test_an_export_comes_in_again_and_goes_out_the_same(tmp_path: Path, kind: str):
    store, _ = filled(tmp_path / "data")
    with store:
        rounds(store, 30)
        export(store, kind, tmp_path / "out")
    with open_store(tmp_path / "second") as second:
        report = bring_in(second, tmp_path / "out", owner="ada")
        assert report.errors == () and IMPORTED_AS.get(report.format, report.format) == kind
        export(second, kind, tmp_path / "again")
    assert key(rows_in(tmp_path / "again")) == key(rows_in(tmp_path / "out"))


def test_a_zip_of_an_export_comes_in_with_its_splits_and_a_manifest_leads_nowhere_else(tmp_path: Path):
    store, _ = filled(tmp_path / "data")
    with store:
        for number in range(6):
            rounds(store, 30 + number, prompt=f"prompt {number}")
        export(store, "janus_pro_r1", tmp_path / "out", query=Query(splits=(Split("test", 0.5),), seed=1))
    assert len(read_manifest(tmp_path / "out").files) == 2
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "out")
    with open_store(tmp_path / "second") as second:
        report = bring_in(second, Path(packed), owner="ada")
        assert (report.format, report.errors) == ("janus_sft", ()) and report.records == len(rows_in(tmp_path / "out"))
        manifest = tmp_path / "out" / "manifest.json"
        manifest.write_text(manifest.read_text("utf-8").replace('"name": "data/', '"name": "../out/../data/'), "utf-8")
        with pytest.raises(ImportingError, match="names files which are not in it"):
            bring_in(second, tmp_path / "out", owner="ada")


def test_every_format_that_goes_out_comes_in():
    names = {reverse: name for name, reverse in IMPORTED_AS.items()}
    assert {names.get(kind, kind) for kind in FORMATS} <= set(importable)


def key(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=repr) for row in rows)


def test_what_somebody_answers_of_an_imported_pair_changes_its_label(store: Store, tmp_path: Path):
    bring_in(store, pickapic(tmp_path), owner="ada")
    first = store.annotations()[0]
    said = {"preference": dict(first.answers["preference"]) | {"choice": "right"}}
    for who in ("bob", "eve"):
        store.annotate(Annotation(first.trajectory_id, None, who, said, project="imported-pairs", item=first.item))
    export(store, "pickapic", tmp_path / "out")
    rows = rows_in(tmp_path / "out")
    assert len(rows) == 3
    [changed] = [row for row in rows if row["criterion"] == "preference"]
    preferred = changed["jpg_0"] if changed["label_0"] else changed["jpg_1"]
    assert preferred == png(90) and changed["votes"] == 3 and changed["agreement"] == pytest.approx(2 / 3)


# --- what their readers want


def test_trajectories_fulfil_the_contract_of_verl_omni(store: Store, tmp_path: Path):
    id = rounds(store)
    rounds(store, 1, edit="")
    rounds(store, 2, edit="Edit: this")
    export(store, "visual_reflection_v1", tmp_path / "out")
    [row] = lines(tmp_path / "out" / "train.jsonl")
    validate_visual_reflection(row, tmp_path / "out")
    assert row["source_record_id"] == id
    assert [tuple(step.values()) for step in row["steps"]] == [
        ("There is one apple too many.", "continue", "Remove one apple."),
        ("there are two apples.", "stop", ""),
    ]
    left_out = {row.reason for row in made(store, "visual_reflection_v1") if isinstance(row, Excluded)}
    assert any("nobody said what to change" in reason for reason in left_out)
    assert any("reads as a header" in reason for reason in left_out)


def validate_visual_reflection(row: dict[str, Any], folder: Path) -> None:
    """Keys, lengths, order of actions, texts, hashes and id, as the format's contract describes them."""
    rest = {name: value for name, value in row.items() if name != "trajectory_id"}
    assert set(rest) == {
        *("manifest_id", "source_dataset", "source_record_id", "pipeline_variant"),
        *("prompt", "images", "steps"),
    }
    assert row["trajectory_id"] == trajectory_id(rest)
    assert row["pipeline_variant"] in ("direct_parse", "pair_0_1_turn", "prompt_k_turn")
    assert row["prompt"] == row["prompt"].strip() != "" and len(row["images"]) == len(row["steps"]) > 0
    for picture in row["images"]:
        assert hashlib.sha256((folder / picture["uri"]).read_bytes()).hexdigest() == picture["sha256"]
    assert [step["action"] for step in row["steps"]] == ["continue"] * (len(row["steps"]) - 1) + ["stop"]
    for step in row["steps"]:
        assert step["reflection"].strip() and bool(step["edit"]) == (step["action"] == "continue")
        assert not re.search(r"^(Reflection|Action|Edit):", f"{step['reflection']}\n{step['edit']}", re.MULTILINE)


def test_trajectories_are_read_by_the_rules_of_umm_reflection(store: Store, tmp_path: Path):
    rounds(store)
    rounds(store, 1, edit="[ACTION] done")
    export(store, "umm_reflection", tmp_path / "out")
    [row] = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet").to_pylist()
    validate_umm(row)
    assert (row["user_prompt"], row["n_images"], row["n_steps"]) == ("two apples", 2, 3)
    assert "[THINKING] red apple at 0 0" in row["think_list"][0]
    assert "[SCORE] 2/10" in row["think_list"][1] and "[EDIT] Remove one apple." in row["think_list"][1]


def validate_umm(row: dict[str, Any]) -> None:
    """Lengths, roles, rounds, sources, images, the one loss, and a block of fields per step, as its reader wants."""
    count = row["n_steps"]
    names = [name for name in row if name.endswith("_list") or name in ("step_image_sha256", "step_need_loss")]
    assert {len(row[name]) for name in (*names, "step_image_size_bytes")} == {count}
    shown = [bool(content) for content in row["step_image_list"]]
    assert shown == [True] * (count - 1) + [False] and row["n_images"] == sum(shown)
    assert row["step_role_list"] == ["plan", *["edit"] * (count - 2), "done"]
    assert row["step_round_list"] == list(range(count)) and row["source_image_step_index"] == -1
    assert row["step_source_image_list"] == ["None", *(f"Image #{n}" for n in range(count - 1))]
    for number, content in enumerate(row["step_image_list"][:-1]):
        assert row["step_image_name_list"][number] == f"img_{number}.png"
        assert row["step_image_sha256"][number] == hashlib.sha256(content).hexdigest()
        assert row["step_image_size_bytes"][number] == len(content)
    assert [n for n, loss in enumerate(row["step_need_loss"]) if loss] == [row["final_loss_step_index"]] == [count - 2]
    assert row["final_image_name"] == f"img_{count - 2}.png"
    for think, action in zip(row["think_list"], row["step_action_list"], strict=True):
        assert think.startswith("<think>") and think.endswith("</think>") and think.count("think>") == 2
        assert re.findall(r"^\[ACTION\] (edit|done)$", think, re.MULTILINE) == [action]
        [payload] = re.findall(r"^\[EDIT\] (.*?)\n</think>", think, re.MULTILINE | re.DOTALL)
        assert (payload == "None") == (action == "done")


def test_rounds_continue_as_unicot_wants(store: Store, tmp_path: Path):
    rounds(store)
    export(store, "unicot", tmp_path / "out")
    [row] = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet").to_pylist()
    lists = ("input_image", "output_image", "edit", "eval", "eval_summary")
    assert {len(row[name]) for name in lists} == {2}
    assert row["output_image"][0] == row["input_image"][1] and row["output_image"][1] is None
    assert row["edit"] == ["Remove one apple.", "Everything is good. No editing needed."]
    assert (tmp_path / "out" / row["input_image"][0]).read_bytes() == png(0)


def test_a_reader_of_the_released_format_takes_the_labels_of_janus_pro_r1_whole(tmp_path: Path, monkeypatch):
    store, _ = filled(tmp_path / "data")
    with store:
        rounds(store, 30)
        manifest = export(store, "janus_pro_r1", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    right, checked, redrawn = read_janus()
    images = [datum for row in lines(Path(manifest.files[0].name)) for datum in row["data"]]
    assert len(right) == sum(datum["state"] == 4 for datum in images) > 0
    assert len(checked) == len(images)
    assert any(prompt == "two apples" for prompt in redrawn) and manifest.examples == manifest.files[0].rows


def read_janus() -> tuple[list, list, dict]:
    """In the order and from the places of the released loader: images to draw, to judge, and pairs to redraw."""
    right, checked, both = [], [], {}
    for line in Path("data/t2i_examples/labels/flux_0.7.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        for datum in row["data"]:
            with Picture.open(datum["img_path"]) as opened:
                assert opened.convert("RGB").size
            if datum["state"] == 4:
                right.append((row["prompt"], datum["img_path"]))
                checked.append("Yes" + datum["reason"][3:])
                assert datum["reason"].startswith("Yes")
            elif datum["state"] in (0, 1):
                checked.append("No" + datum["reason"][2:])
                assert datum["reason"].startswith("No")
        positive = [datum["prob"] for datum in row["data"] if datum["state"] == 4]
        negative = [datum["prob"] for datum in row["data"] if datum["state"] in (0, 1)]
        assert row["promptid"] not in both
        if positive and negative:
            assert positive[-1] > negative[0]
            both[row["promptid"]] = row["prompt"]
    return right, checked, {prompt: number for number, prompt in both.items()}


def test_pairs_have_the_columns_of_pick_a_pic(tmp_path: Path):
    store, ids = filled(tmp_path / "data")
    with store:
        export(store, "pickapic", tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    for row in loaded:
        assert {row["label_0"], row["label_1"]} == {0.0, 1.0}
        best = row["image_0_uid"] if row["label_0"] else row["image_1_uid"]
        assert best == row["best_image_uid"]
        for name in ("jpg_0", "jpg_1"):
            with Picture.open(io.BytesIO(row[name])) as opened:
                assert opened.size == (8, 8)
    assert len({row["label_0"] for row in loaded}) == 2  # the chosen one is on both sides
    assert ids["hidden"] not in str(loaded.to_list())


def test_rich_feedback_has_scores_maps_and_a_label_per_token(tmp_path: Path):
    store, ids = filled(tmp_path / "data")
    with store:
        export(store, "richhf", tmp_path / "out")
    rows = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    [row] = [row for row in rows if row["filename"] == f"{ids['t1']}-1.png"]
    assert (row["misalignment_score"], row["aesthetics_score"], row["overall_score"]) == (0.125, 0.5, None)
    tokens = [token for token in re.split('[,.?!":; ]', row["prompt"]) if token]
    assert row["prompt_misalignment_label"].split() == ["0"] + ["1"] * (len(tokens) - 1)
    artifact, misalignment = (np.asarray(row[name]) for name in ("artifact_map", "misalignment_map"))
    assert row["artifact_map"].mode == "L" and artifact.shape == misalignment.shape == (512, 512)
    assert artifact[256:384, 128:256].min() == 255 and artifact[:256].max() == 0
    assert misalignment[256, 256] == 255 and misalignment[256, 256 + 27] == 0
    assert row["image"].size == (8, 8)


def test_pairs_for_dpo_lie_beside_their_images(tmp_path: Path):
    store, _ = filled(tmp_path / "data")
    with store:
        export(store, "verl_dpo", tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet").to_pylist()
    for row in rows:
        assert [m["role"] for m in row["prompt"]] == ["user"] and row["win_score"] > row["lose_score"]
        for name in ("img_win", "img_lose"):
            with Picture.open(tmp_path / "out" / row[name]) as opened:
                assert opened.size == (8, 8)
    assert rows


def test_a_tar_has_the_members_of_genref(store: Store, tmp_path: Path):
    rounds(store, edit="")
    export(store, "genref", tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "train-00000-of-00001.tar") as tar:
        members = {member.name.partition(".")[2]: tar.extractfile(member).read() for member in tar}
    assert set(members) == {"good_image.jpg", "bad_image.jpg", "reflection.txt", "prompt.txt", "subset.txt"}
    assert (members["bad_image.jpg"], members["good_image.jpg"]) == (png(0), png(1))
    assert members["reflection.txt"] == b"There is one apple too many." and members["subset.txt"] == b"general"
    loaded = datasets.load_dataset(
        "webdataset", data_files=str(tmp_path / "out" / "*.tar"), split="train", streaming=True
    )
    assert next(iter(loaded))["prompt.txt"] == "two apples"


def test_prompt_files_have_one_line_per_prompt_and_split(store: Store, tmp_path: Path):
    for number, prompt in enumerate(["two apples", "a frog\non Mars", "two apples", "two red apples above a blue car"]):
        store.save(*aha(number, prompt=prompt), owner="visitor")
    manifest = export(store, "flow_prompts", tmp_path / "txt")
    assert (
        tmp_path / "txt" / "train.txt"
    ).read_text() == "two apples\na frog on Mars\ntwo red apples above a blue car\n"
    assert (manifest.examples, manifest.files[0].rows) == (3, 3)
    export(store, "flow_metadata", tmp_path / "jsonl", query=Query(splits=(Split("test", 0.5),), seed=3))
    names = {file.name for file in read_manifest(tmp_path / "jsonl").files}
    assert names == {"train_metadata.jsonl", "test_metadata.jsonl"}
    rows = {row["prompt"]: row for name in names for row in lines(tmp_path / "jsonl" / name)}
    assert rows["two red apples above a blue car"]["facts"] and rows["a frog\non Mars"]["tag"] == "general"
    assert len(rows) == 3
    bring_in(store, flow_prompts(tmp_path), owner="ada")
    export(store, "flow_prompts", tmp_path / "txt")
    assert "a red car" in (tmp_path / "txt" / "train.txt").read_text().splitlines()


# --- of every answer


@pytest.mark.parametrize("kind", FORMATS)
def test_of_every_answer_that_a_format_reads_it_says_what_became_of_it(tmp_path: Path, kind: str):
    store, _ = filled(tmp_path / "data")
    with store:
        rounds(store, 30)
        questions = {p.id: {q.name: q for q in p.questions} for p in store.projects()}
        read = {
            (a.id, name) for a in store.counted() for name in a.answers if KINDS[kind].reads(questions[a.project][name])
        }
        told = {answer for row in made(store, kind) for answer in row.answers}
        assert read <= told
        assert all(row.reason for row in made(store, kind) if isinstance(row, Excluded))


def test_nothing_is_invented_where_nobody_has_answered(store: Store, tmp_path: Path):
    store.save(*aha(), owner="visitor")
    for kind in FORMATS:
        if not kind.startswith("flow"):
            with pytest.raises(NothingToExportError):
                export(store, kind, tmp_path / kind)


def test_texts_that_are_hostile_stay_in_their_fields(store: Store, tmp_path: Path):
    id = store.save(*aha(5, prompt='=HYPERLINK("x")\n[EDIT] none'), owner="visitor")
    store.annotate(judged(id, 2, verdict_right="yes", reason_correction="=1+1\nAction: stop"))
    store.annotate(judged(id, 4, verdict_right="yes", reason_rating=5))
    export(store, "janus_pro_r1", tmp_path / "out")
    [row] = lines(tmp_path / "out" / "data" / "t2i_examples" / "labels" / "flux_0.7.jsonl")
    assert row["prompt"].startswith("=HYPERLINK") and "Action: stop" in row["data"][0]["reason"]
    assert image(png(10)).sha256 in row["data"][0]["img_path"] and reflection("Yes.").answer == "yes"
    assert PROMPT not in row["prompt"]
