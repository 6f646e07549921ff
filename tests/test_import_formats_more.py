"""Formats of others come in by themselves: recognized, whole, with what their people answered; bad rows in words."""

import base64
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from foreign_records import (
    FILES,
    PROMPT,
    flow_prompts,
    genref,
    pickapic,
    r3_bench,
    richhf,
    umm,
    unicot,
    visual_reflection,
    write_lines,
    write_parquet,
)
from PIL import Image as Picture
from sqlalchemy import select
from test_annotations_importing import janus, lines
from test_annotations_samples import aha, png

from annotations.db.tables import ItemRow
from annotations.errors import DiskFullError, ImportingError
from annotations.importing import answer_storage, hub_datasets, staging
from annotations.importing.formats import FORMATS, rows
from annotations.importing.hub_datasets import streamed
from annotations.importing.importer import bring_in, main, records, rehearse
from annotations.schema.project import ItemPurpose, Project
from annotations.store import imported_records
from annotations.store.store import Store, open_store
from model.trajectory import Image, Reflection, Thought


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def rows_of(file: Path) -> list[dict]:
    return [row for _, row in rows.rows(file)]


@pytest.mark.parametrize("format", FILES)
def test_a_format_is_recognized_and_every_record_comes_back_as_it_was(store: Store, tmp_path: Path, format: str):
    file = FILES[format](tmp_path)
    report = bring_in(store, file, owner="ada")
    assert (report.format, report.errors) == (format, ())
    assert report.records == len(rows_of(file)) > 0
    assert list(records(store, report.batch)) == rows_of(file)
    assert bring_in(store, file, owner="ada").already == report.records


def test_the_released_labels_the_studios_own_files_and_a_folder_are_recognized(store: Store, tmp_path: Path):
    assert rehearse(store, janus(tmp_path)).format == "janus_sft"
    write_parquet(tmp_path / "t.parquet", [{"caption": "a cat", "image": {"bytes": png(1), "path": None}}])
    assert rehearse(store, tmp_path / "t.parquet").format == "folder"
    assert rehearse(store, flow_prompts(tmp_path)).good == 2
    with pytest.raises(ImportingError, match="has the columns x, which are of no known format"):
        rehearse(store, write_parquet(tmp_path / "x.parquet", [{"x": 1}]))


def test_drawings_kept_one_by_one_are_recognized_together(store: Store, tmp_path: Path):
    folder = tmp_path / "kept"
    folder.mkdir()
    for number in range(2):
        trajectory, pictures = aha(number)
        shown = {sha256: base64.b64encode(content).decode() for sha256, content in pictures.items()}
        kept = {"trajectory": trajectory.to_dict(), "pictures": shown}
        (folder / f"drawing-{number}.json").write_text(json.dumps(kept), "utf-8")
    assert rehearse(store, folder / "drawing-0.json").format == "ours"
    report = bring_in(store, folder, owner="ada")
    assert (report.format, report.records, report.errors) == ("ours", 2, ())


def test_every_format_says_by_which_columns_it_is_known():
    for name, reader in FORMATS.items():
        assert reader.MARKS, name
        assert (reader.PROJECT is None) or callable(reader.answers), name


def test_rounds_of_reflection_become_images_reflections_and_edits(store: Store, tmp_path: Path):
    for format, write in (("visual_reflection_v1", visual_reflection), ("umm_reflection", umm), ("unicot", unicot)):
        trajectory = store.trajectory(store.imported(bring_in(store, write(tmp_path), owner="a").batch)[0])
        judged = [s for s in trajectory.segments if isinstance(s, Reflection)]
        assert [s.answer for s in judged] == ["no", "yes"], format
        assert judged[0].reason.endswith("is blue.") and judged[0].edit.startswith("Make"), format
        assert judged[1].edit is None and len(trajectory.images) == 2, format
        if format == "umm_reflection":
            assert isinstance(trajectory.segments[0], Thought)
            assert trajectory.segments[0].text == "One car, two apples." and judged[0].p_yes == 0.4


def test_a_pair_of_genref_becomes_a_draft_its_reflection_and_a_revision(store: Store, tmp_path: Path):
    ids = store.imported(bring_in(store, genref(tmp_path), owner="a").batch)
    draft, said, revision = store.trajectory(ids[0]).segments
    assert isinstance(draft, Image) and isinstance(revision, Image) and said.answer == "no"
    assert (store.picture(draft.sha256), store.picture(revision.sha256)) == (png(60), png(50))
    assert said.reason == "The car should be red."


def test_labels_of_pairs_become_preferences_of_who_gave_them(store: Store, tmp_path: Path):
    report = bring_in(store, pickapic(tmp_path), owner="a")
    given = [annotation for annotation in store.annotations() if annotation.project == "imported-pairs"]
    assert [a.answers["preference"]["choice"] for a in given] == ["left", "right", "tie"]
    assert {a.annotator for a in given} == {"pick-a-pic 7"} and len({a.item for a in given}) == 3
    first = store.trajectory(given[0].answers["preference"]["left"])
    assert store.picture(first.images[0].sha256) == png(80)
    staging.add_answers(store, report.batch)  # as after a kill: nothing twice
    assert len(store.annotations()) == 3


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label_0": "0,5", "label_1": "0,5"}, "tie"),
        ({"label_0": "1", "label_1": "0"}, "left"),
        ({"label_0": NAN, "label_1": NAN}, None),
        ({"has_label": False, "label_0": 1.0, "label_1": 1.0}, None),
        ({"has_label": "0"}, None),
        ({"label_0": 1.0, "label_1": 1.0}, "told"),
        ({"label_0": "win", "label_1": "lose"}, "told"),
        ({"has_label": "FALSCH"}, "told"),
    ],
    ids=str,
)
def test_a_label_is_an_answer_or_told(store: Store, tmp_path: Path, changes: dict, said: str | None):
    row = pq.read_table(pickapic(tmp_path)).to_pylist()[0]
    images = {name: {"bytes": row[name], "path": None} for name in ("jpg_0", "jpg_1")}  # as `datasets` writes them
    report = bring_in(store, write_parquet(tmp_path / "one.parquet", [row | images | changes]), "pickapic", owner="a")
    if said == "told":
        assert report.errors and not report.records
    else:
        assert [a.answers["preference"]["choice"] for a in store.annotations()] == ([said] if said else [])


@pytest.mark.parametrize(("score", "rating"), [("0,75", 4), (NAN, None), (75.0, "told"), (-0.1, "told"), ("x", "told")])
def test_a_score_is_a_rating_or_told(store: Store, tmp_path: Path, score: object, rating: object):
    row = pq.read_table(richhf(tmp_path)).to_pylist()[0]
    file = write_parquet(tmp_path / "one.parquet", [row | {"aesthetics_score": score}])
    report = bring_in(store, file, "richhf", owner="a")
    if rating == "told":
        assert [error.place for error in report.errors] == ["aesthetics_score"]
    else:
        assert [a.answers.get("aesthetics_score") for a in store.annotations()] == [rating]


def test_scores_become_ratings_and_labels_of_tokens_words(store: Store, tmp_path: Path):
    bring_in(store, richhf(tmp_path), owner="a")
    [given] = store.annotations()
    assert given.answers["words_not_drawn"] == (1,) and PROMPT.split()[1] == "red"
    scores = {name: given.answers[f"{name}_score"] for name in ("aesthetics", "artifact", "misalignment", "overall")}
    assert scores == {"aesthetics": 4, "artifact": 5, "misalignment": 3, "overall": 2}


def test_what_experts_judged_becomes_gold(store: Store, tmp_path: Path):
    report = bring_in(store, r3_bench(tmp_path), owner="a")
    assert store.annotations() == []
    with store.database.reading() as session:
        gold = session.execute(select(ItemRow.use, ItemRow.gold).where(ItemRow.project_id == "imported-gold")).all()
    assert [(use, entry[0]["answers"]) for use, entry in gold] == [
        (ItemPurpose.GOLD, {"shows_prompt": "no"}),
        (ItemPurpose.GOLD, {"shows_prompt": "yes"}),
    ]
    assert gold[0].gold[0]["because"] == "The car is blue."
    assert report.trajectories == 2


def test_an_import_that_was_killed_behind_its_publishing_is_answered_by_recovery(
    store: Store, tmp_path: Path, monkeypatch
):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(staging, "add_answers", killed)
    with pytest.raises(KeyboardInterrupt):
        bring_in(store, pickapic(tmp_path), owner="a")
    monkeypatch.undo()
    assert store.annotations() == []
    assert staging.recover(store) == 1
    assert len(store.annotations()) == 3


def test_answers_are_stored_a_few_at_a_time_while_the_next_are_read(store: Store, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(answer_storage, "AT_ONCE", 2)
    monkeypatch.setattr(imported_records, "ROWS_PER_QUERY", 2)
    read: list[str] = []
    stored: list[tuple[int, int]] = []  # parts read so far, answers in one go
    parts, add = Store.import_parts, answer_storage._add

    def counted(store: Store, batch: str) -> Iterator:
        for key, origin in parts(store, batch):
            read.append(key)
            yield key, origin

    def noted(store: Store, project: Project, keyed: list) -> None:
        stored.append((len(read), len(keyed)))
        add(store, project, keyed)

    monkeypatch.setattr(Store, "import_parts", counted)
    monkeypatch.setattr(answer_storage, "_add", noted)
    scores = dict.fromkeys(("aesthetics_score", "artifact_score", "misalignment_score"), 0.5)
    rated = [
        {"filename": f"{n}.png", **scores, "overall_score": None, "prompt": f"{n} cats", "image": png(n)}
        for n in range(7)
    ]
    assert bring_in(store, write_parquet(tmp_path / "r.parquet", rated), "richhf", owner="a").errors == ()
    assert [count for _, count in stored] == [2, 2, 2, 1] and stored[0][0] < 7
    assert {len(annotation.answers) for annotation in store.annotations()} == {3} and len(store.annotations()) == 7


def test_prompts_alone_are_trajectories_that_nobody_has_drawn(store: Store, tmp_path: Path):
    ids = store.imported(bring_in(store, flow_prompts(tmp_path), owner="a").batch)
    assert [store.trajectory(id).prompt for id in ids] == ["a red car", "two apples"]
    assert [row["prompt"] for row in records(store, store.imports()[0].id)] == ["a red car", "two apples"]


# --- mappings, data sets of the Hub


def test_a_mapping_makes_any_table_of_images_and_prompts_a_known_one(tmp_path: Path, capsys: pytest.CaptureFixture):
    rows = [{"txt": f"cat {n}", "img": {"bytes": png(n), "path": None}, "who": "sdxl", "more": n} for n in range(2)]
    file = write_parquet(tmp_path / "unknown.parquet", rows)
    mapping = tmp_path / "columns.json"
    mapping.write_text(json.dumps({"img": "image", "txt": "prompt", "who": "model"}))
    command = [str(file), "--mapping", str(mapping), "--data", str(tmp_path / "data")]
    assert main([*command, "--dry-run"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "read as folder" and told[1] == "row 1: “cat 0”: image (by sdxl)"
    assert told[-1] == "dry run: 2 records are good, 0 bad"
    assert main(command) == 0
    with open_store(tmp_path / "data") as store:
        assert list(records(store, store.imports()[0].id)) == rows
    mapping.write_text('{"img": "picture"}')
    assert main(command) == 1
    assert "wanted names of columns to some of: file_name, image" in capsys.readouterr().err


def test_what_the_library_loads_comes_in_streamed(store: Store, tmp_path: Path):
    folder = tmp_path / "set"
    (folder / "train").mkdir(parents=True)
    for number in range(3):
        (folder / "train" / f"{number}.png").write_bytes(png(number))
    write_lines(
        folder / "train" / "metadata.jsonl", [{"file_name": f"{n}.png", "prompt": f"cat {n}"} for n in range(3)]
    )
    counted: list[int] = []
    with streamed(str(folder), "train", counted.append) as source:
        report = bring_in(store, [source], owner="a")
    assert (report.format, report.records, counted) == ("folder", 3, [3])
    drawn = [store.trajectory(id) for id in store.imported(report.batch)]
    assert {t.prompt: store.picture(t.images[0].sha256) for t in drawn} == {f"cat {n}": png(n) for n in range(3)}
    shards = tmp_path / "shards"
    shards.mkdir()
    datasets.Dataset.from_list(pq.read_table(pickapic(tmp_path)).to_pylist()).to_parquet(shards / "train-00000.parquet")
    with streamed(str(shards)) as source:
        assert bring_in(store, [source], owner="a").format == "pickapic"
    with pytest.raises(ImportingError, match="cannot be loaded"), streamed(str(tmp_path / "gone")):
        pass


def test_a_disk_that_fills_while_a_data_set_is_streamed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "set"
    folder.mkdir()
    write_parquet(folder / "train-00000.parquet", [{"prompt": "a cat"}])
    opened = hub_datasets.pq.ParquetWriter
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(hub_datasets.pq, "ParquetWriter", lambda file, schema: opened(full, schema))
        loaded = "the data set .* cannot be loaded: .*No space left on device"  # of another disk, for all one knows
        with pytest.raises(ImportingError, match=loaded), streamed(str(folder)):
            pass
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: nullcontext(full))
        with pytest.raises(DiskFullError, match=f"^{tmp_path} is full; make room there"), streamed(str(folder)):
            pass
    assert [*tmp_path.iterdir()] == [folder]


# --- hostile rows


HOSTILE = {
    "nothing": lambda row: {},
    "NUL in the prompt": lambda row: (
        row | {name: "a\0b" for name in ("prompt", "user_prompt", "original_prompt") if name in row}
    ),
    "a lone surrogate": lambda row: row | {"more": "\ud800"},
    "numbers for texts": lambda row: dict.fromkeys(row, 7),
    "lists for all": lambda row: {name: [[]] for name in row},
    "null": lambda row: dict.fromkeys(row),
    "a deep list": lambda row: row | {"steps": [[[[[]]]]], "images": [[[[[]]]]], "bad_image": {"a": {}}},
}


@pytest.mark.parametrize("format", ["visual_reflection_v1", "r3_bench", "flow_prompts"])
def test_hostile_lines_are_told_by_row(store: Store, tmp_path: Path, format: str):
    file = FILES[format](tmp_path)
    good = lines(file)
    file = write_hostile(file, [change(dict(good[0])) for change in HOSTILE.values()])
    report = bring_in(store, file, format, owner="a", leave_out_bad=True)
    kept = set(range(1, len(HOSTILE) + 1)) - {error.row for error in report.errors}
    assert len(report.errors) + report.records == len(HOSTILE)
    assert kept <= {list(HOSTILE).index("a deep list") + 1} and all(error.wanted for error in report.errors)


def write_hostile(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


@pytest.mark.parametrize("format", ["umm_reflection", "unicot", "verl_dpo", "richhf", "pickapic"])
def test_hostile_tables_are_told_by_row(store: Store, tmp_path: Path, format: str):
    file = FILES[format](tmp_path)
    good = pq.read_table(file).to_pylist()[0]
    for name, value in good.items():
        file = write_parquet(tmp_path / "bad.parquet", [good | {name: None}])
        report = rehearse(store, file, format)
        assert report.good + len(report.errors) == 1, name
        if isinstance(value, str):
            report = rehearse(store, write_parquet(file, [good | {name: "a\0b"}]), format)
            assert len(report.errors) == 1 and report.errors[0].wanted, name
        if isinstance(value, bytes):
            report = rehearse(store, write_parquet(file, [good | {name: b"no picture"}]), format)
            assert report.good + len(report.errors) == 1, name


def test_missing_changed_and_foreign_pictures_are_told(store: Store, tmp_path: Path):
    file = visual_reflection(tmp_path)
    rows = lines(file)
    images = rows[0]["images"]
    for uri, problem in (
        ("images/gone.png", "cannot be read"),
        ("../outside.png", "leads out"),
        ("/etc/passwd", "leads out|cannot be read"),
        (images[1]["uri"], "SHA-256"),
    ):
        write_lines(file, [rows[0] | {"images": [{"uri": uri, "sha256": images[0]["sha256"]}, images[1]]}])
        (tmp_path.parent / "outside.png").write_bytes(png(1))
        [error] = bring_in(store, file, "visual_reflection_v1", owner="a").errors
        assert error.place.startswith("images[0]"), uri
        assert any(word in str(error) for word in problem.split("|")), str(error)


def test_damaged_tars_and_strange_members_are_told(store: Store, tmp_path: Path):
    file = genref(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:700])
    with pytest.raises(ImportingError, match="cannot be read as a tar"):
        bring_in(store, file, "genref", owner="a")
    with tarfile.open(file, "w") as tar:
        link = tarfile.TarInfo("0.good_image.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("0.prompt.txt"))
    [error] = bring_in(store, file, "genref", owner="a").errors
    assert error.place == "bad_image.jpg" and error.got == "no such member"
    genref(tmp_path)
    header = file.read_bytes().index(b"000001.good_image.jpg")
    file.write_bytes(whole[:header] + b"#" + whole[header + 1 :])
    [error] = bring_in(store, file, "genref", owner="a").errors
    assert error.row == 2 and "damaged header" in error.got
    file.write_bytes(whole[:header])
    [error] = bring_in(store, file, "genref", owner="a").errors
    assert error.row == 2 and "cut short" in error.got
    with tarfile.open(genref(tmp_path), "a") as tar:
        tar.addfile(tarfile.TarInfo("000001.prompt.txt"))
    [error] = bring_in(store, file, "genref", owner="a").errors
    assert (error.row, error.place, error.wanted) == (2, "prompt.txt", "one of each name")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_of_any_compression_is_refused(store: Store, tmp_path: Path, method: int):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("t.csv", "image,prompt\na.png,two apples\n" * 50)
        archive.writestr("a.png", png(1))
    whole = (tmp_path / "a.zip").read_bytes()
    for at in range(40, 60):
        (tmp_path / "a.zip").write_bytes(whole[:at] + bytes(b ^ 0x5A for b in whole[at : at + 40]) + whole[at + 40 :])
        with pytest.raises(ImportingError, match=r"a\.zip"):
            rehearse(store, tmp_path / "a.zip")


def test_lines_of_json_are_those_of_editors_and_a_path_beside_no_bytes_is_looked_up(store: Store, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(1))
    said = [f"two{separator}apples" for separator in "\u2028\u2029\x85"]
    rows = [{"image": {"bytes": None, "path": "a.png"}, "prompt": prompt} for prompt in said]
    write_lines(tmp_path / "t.json", rows)
    report = bring_in(store, tmp_path / "t.json", owner="a")
    assert report.errors == () and [t.prompt for t in reversed(store.trajectories())] == said


def test_formulas_stay_text(store: Store, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "t.csv").write_text('file_name,prompt\na.png,"=HYPERLINK(""x"")"\n', "utf-8")
    report = bring_in(store, tmp_path / "t.csv", owner="a")
    assert store.trajectory(store.imported(report.batch)[0]).prompt == '=HYPERLINK("x")'
    Picture.new("RGB", (4, 4)).save(tmp_path / "a.png")
