"""What was made elsewhere comes in whole, once, with every field, or not at all."""

import base64
import csv
import hashlib
import io
import json
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from PIL import Image as Picture
from sqlalchemy import select
from test_annotations_samples import aha, judged, png

from annotations.db.engine import FILE
from annotations.db.tables import ImageRow
from annotations.errors import ImportingError, PictureError
from annotations.importing.importer import bring_in, main, records, rehearse
from annotations.ops.synthetic import write_rows
from annotations.pictures import images
from annotations.queue.assignment import claim
from annotations.schema.annotation import REFLECTIONS
from annotations.store.store import Store, open_store
from model.trajectory import StopReason

LABELS = Path(__file__).parent / "janus_pro_r1_labels.jsonl"


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def jpeg(number: int) -> bytes:
    buffer = io.BytesIO()
    Picture.new("RGB", (16, 16), (number * 40 % 256, 90, 10)).save(buffer, "JPEG")
    return buffer.getvalue()


def janus(folder: Path) -> Path:
    """The released format: fields, types and depth of the published sample, with images where it says they are."""
    file = shutil.copy(LABELS, folder / "flux_0.7.jsonl")
    for line in LABELS.read_text("utf-8").splitlines():
        for number, datum in enumerate(json.loads(line)["data"]):
            path = folder / datum["img_path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(int(datum["id"]) + 100 * len(line) + number))
    return Path(file)


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def files_of(store: Store) -> set[Path]:
    return {path for path in (store.database.directory / "images").rglob("*") if path.is_file()}


def only_batch(store: Store) -> str:
    [batch] = store.imports()
    return batch.id


def test_a_dry_run_counts_and_stores_nothing(store: Store, tmp_path: Path):
    file = janus(tmp_path)
    told = rehearse(store, file, "janus_sft")
    assert (told.records, told.trajectories, told.good, told.errors) == (0, 0, 3, ())
    assert store.imports() == [] and files_of(store) == set()
    assert bring_in(store, file, "janus_sft", owner="ada").good == 3


def test_the_command_has_a_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture):
    file = janus(tmp_path)
    assert main([str(file), "--format", "janus_sft", "--data", str(tmp_path / "data"), "--dry-run"]) == 0
    read_as, *rows, counted = capsys.readouterr().out.splitlines()
    assert (read_as, counted) == ("read as janus_sft", "dry run: 3 records are good, 0 bad")
    assert len(rows) == 3 and rows[0].startswith("row 1: “A busy intersection") and "and 2 more" in rows[0]
    with open_store(tmp_path / "data") as store:
        assert store.imports() == []


# --- the released Janus-Pro-R1 format


def test_the_released_janus_format_keeps_every_field(store: Store, tmp_path: Path):
    file = janus(tmp_path)
    report = bring_in(store, file, "janus_sft", owner="ada")
    assert (report.records, report.trajectories, report.errors) == (3, 7, ())
    assert list(records(store, report.batch)) == lines(file)


def test_an_image_of_it_becomes_a_drawing_with_a_reflection(store: Store, tmp_path: Path):
    file = janus(tmp_path)
    report = bring_in(store, file, "janus_sft", owner="ada")
    wanted = [(row, datum) for row in lines(file) for datum in row["data"]]
    for trajectory_id, (row, datum) in zip(store.imported(report.batch), wanted, strict=True):
        trajectory = store.trajectory(trajectory_id)
        [image], [reflection] = trajectory.images, trajectory.reflections
        assert (trajectory.prompt, trajectory.checkpoint) == (row["prompt"], "flux_0.7")
        assert trajectory.stop_reason is StopReason.IMPORTED
        assert store.picture(image.sha256) == (tmp_path / datum["img_path"]).read_bytes()
        assert (reflection.text, reflection.p_yes) == (datum["reason"], float(datum["prob"]))
        assert reflection.answer == datum["reason"].split()[0].strip(",.").lower()
        [origin] = store.origins(trajectory_id)
        assert (origin.together, origin.row) == (f"promptid {row['promptid']}", lines(file).index(row) + 1)


def test_what_is_imported_waits_to_be_annotated_and_can_be(store: Store, tmp_path: Path):
    bring_in(store, janus(tmp_path), "janus_sft", owner="ada")
    waiting = claim(store, REFLECTIONS, "ann").trajectory_id
    assert store.annotate(judged(waiting, 1, verdict_right="yes")).id


def test_a_second_run_imports_nothing_twice(store: Store, tmp_path: Path):
    file = janus(tmp_path)
    bring_in(store, file, "janus_sft", owner="ada")
    before = files_of(store)
    again = bring_in(store, file, "janus_sft", owner="ada")
    assert (again.records, again.already) == (0, 3)
    with file.open("a", encoding="utf-8") as more:  # the file has grown by one record, twice the same
        row = lines(file)[0] | {"promptid": 99}
        more.write(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    grown = bring_in(store, file, "janus_sft", owner="ada")
    assert (grown.records, grown.already) == (2, 3)
    assert list(records(store, grown.batch)) == [row, row]
    assert files_of(store) == before
    assert len(store.trajectories(limit=100)) == 7  # the same drawings of the same prompt


def test_a_bad_row_is_told_and_nothing_is_imported(store: Store, tmp_path: Path):
    file = janus(tmp_path)
    good = lines(file)
    bad = [
        {"promptid": 7, "prompt": "a cat"},
        good[0] | {"data": [good[0]["data"][0] | {"prob": "high"}]},
        good[0] | {"data": [good[0]["data"][0] | {"reason": "Maybe."}]},
        good[0] | {"data": [good[0]["data"][0] | {"img_path": "gone.png"}]},
        good[0] | {"data": [good[0]["data"][0] | {"img_path": "../outside.png"}]},
        good[0] | {"data": [{"id": 1}]},
        good[0] | {"prompt": "  "},
        good[0] | {"prompt": "a\0b"},
    ]
    (tmp_path.parent / "outside.png").write_bytes(png(1))
    text = "".join(f"{json.dumps(row)}\n" for row in (*good, *bad)) + "{no json\n[1]\n"
    file.write_text(text, "utf-8")
    report = bring_in(store, file, "janus_sft", owner="ada")
    told = [str(error) for error in report.errors]
    assert [error.row for error in report.errors] == list(range(4, 14))
    assert told[0] == "row 4: got the fields promptid, prompt; wanted “data” among them"
    assert told[1] == "row 5, data[0].prob: got 'high'; wanted a number from 0 to 1"
    assert told[2] == "row 6, data[0].reason: got the reason 'Maybe.'; wanted a text that begins with “Yes” or “No”"
    assert "row 7, data[0].img_path: got 'gone.png', which cannot be read" in told[3]
    assert told[3].endswith(f"wanted a file in {tmp_path.resolve()} (--images names another folder)")
    assert "which leads out of" in told[4]
    assert "without img_path, reason, prob, state" in told[5]
    assert "wanted what the picture should show" in told[6]
    assert "characters that cannot be stored" in told[7]
    assert "a line that is no JSON" in told[8]
    assert (report.records, store.imports(), store.trajectories(), files_of(store)) == (0, [], [], set())
    left = bring_in(store, file, "janus_sft", owner="ada", leave_out_bad=True)
    assert (left.records, len(left.errors)) == (3, 10)
    assert list(records(store, left.batch)) == good


def test_all_bad_pictures_of_a_row_are_told_the_first_ten_by_name(store: Store, tmp_path: Path):
    file, name = janus(tmp_path), "bad-{}.png".format
    datum = lines(file)[0]["data"][0]
    for number in range(3):
        (tmp_path / name(number)).write_bytes(b"no picture")
    file.write_text(json.dumps({"promptid": 1, "prompt": "a cat", "data": [datum | {"img_path": name(0)}, datum]}))
    [error] = bring_in(store, file, "janus_sft", owner="ada").errors
    assert error.place == "data[0].img_path"
    file.write_text(
        json.dumps({"promptid": 1, "prompt": "a cat", "data": [datum | {"img_path": name(n)} for n in range(12)]})
    )
    [error] = bring_in(store, file, "janus_sft", owner="ada").errors
    told = str(error)
    assert told.startswith("row 1: got data[0].img_path ") and "(--images names another folder)" in told
    assert all(f"data[{number}].img_path " in told for number in range(10)) and "data[10]" not in told
    assert ", and 2 more; wanted a PNG, JPEG, WebP, GIF or BMP file, a file in " in told


def test_an_import_that_breaks_off_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, written = janus(tmp_path), []

    def full(path: Path, content: bytes, **given: bool) -> None:
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        write(path, content, **given)
        written.append(path)

    write = images.write_whole
    monkeypatch.setattr(images, "write_whole", full)
    with pytest.raises(PictureError, match="No space left"):
        bring_in(store, file, "janus_sft", owner="ada")
    assert (store.imports(), store.trajectories(), files_of(store)) == ([], [], set())


def test_trajectories_without_pictures_are_told_apart_by_what_they_are(store: Store, tmp_path: Path):
    file = tmp_path / "made.jsonl"
    write_rows(file, 2)
    assert bring_in(store, file, "ours", owner="ada").records == 2
    write_rows(file, 5)
    told = bring_in(store, file, "ours", owner="ada")
    assert (told.already, told.records, told.trajectories) == (2, 3, 3)
    assert bring_in(store, file, "ours", owner="ada").already == 5


def test_a_picture_is_decoded_once_and_known_as_it_is_stored(store: Store, tmp_path: Path, monkeypatch):
    decoded = []
    monkeypatch.setattr(images, "decode", lambda *given: decoded.append(given))
    (tmp_path / "p.jpg").write_bytes(jpeg(3))
    (tmp_path / "t.csv").write_text("file_name,prompt\np.jpg,a cat\n", "utf-8")
    [id] = store.imported(bring_in(store, tmp_path, "folder", owner="ada").batch)
    assert decoded == []
    monkeypatch.undo()
    png = store.picture(store.trajectory(id).images[0].sha256)
    with store.database.reading() as session:
        known = session.execute(select(ImageRow.sha256, ImageRow.width, ImageRow.height, ImageRow.size)).one()
    of = images.describe(png)
    assert tuple(known) == (of.sha256, of.width, of.height, of.size)


def test_an_id_that_stands_for_two_things_in_one_file_is_told_by_row(store: Store, tmp_path: Path):
    trajectory, _ = aha(1)
    file = tmp_path / "two.json"
    other = trajectory.to_dict() | {"id": "same", "prompt": "another"}
    shown = {image.sha256: base64.b64encode(png(n)).decode() for n, image in enumerate(trajectory.images, start=2)}
    rows = [{"trajectory": row, "pictures": shown} for row in (trajectory.to_dict() | {"id": "same"}, other)]
    file.write_text(json.dumps(rows))
    report = bring_in(store, file, "ours", owner="ada")
    assert [str(error) for error in report.errors] == [
        "row 2: got the id same, which a row before has with other content; wanted a trajectory that can be stored"
    ]
    assert (store.imports(), store.trajectories(), files_of(store)) == ([], [], set())


def test_what_was_imported_is_deleted_and_purged_like_a_drawing(store: Store, tmp_path: Path):
    file = janus(tmp_path)
    report = bring_in(store, file, "janus_sft", owner="ada")
    gone = store.imported(report.batch)[0]
    store.hide(gone, by="ada")
    left = lines(file)
    del left[0]["data"][0]
    assert list(records(store, report.batch)) == left
    assert store.purge(timedelta(seconds=-1)) == 1
    assert list(records(store, report.batch)) == left
    with sqlite3.connect(store.database.directory / FILE) as database:
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []


# --- our own JSON


def generated(folder: Path, number: int) -> dict:
    """What `python -m model.generate` leaves."""
    trajectory, pictures = aha(number)
    row = trajectory.to_dict() | {"id": f"drawn{number}"}
    folder.mkdir(parents=True)
    for place, image in enumerate(trajectory.images, start=1):
        (folder / f"image-{place}.png").write_bytes(pictures[image.sha256])
    (folder / "trajectory.json").write_text(json.dumps(row, ensure_ascii=False, indent=2), "utf-8")
    return row


def test_what_generate_wrote_comes_in_as_it_was(store: Store, tmp_path: Path):
    rows = [generated(tmp_path / "out" / f"{number:05d}", number) for number in range(3)]
    report = bring_in(store, tmp_path / "out", "ours", owner="ada")
    assert (report.records, report.errors) == (3, ())
    assert list(records(store, report.batch)) == rows
    assert [store.trajectory(row["id"]).to_dict() for row in rows] == rows
    assert bring_in(store, tmp_path / "out", "ours", owner="ada").already == 3


def test_fields_that_a_trajectory_does_not_have_are_kept(store: Store, tmp_path: Path):
    row = generated(tmp_path / "one", 1) | {"note": "for the paper", "cost": {"seconds": 1.5}}
    (tmp_path / "one" / "trajectory.json").write_text(json.dumps(row))
    report = bring_in(store, tmp_path / "one" / "trajectory.json", "ours", owner="ada")
    assert list(records(store, report.batch)) == [row]


def test_a_drawing_kept_from_the_page_comes_back_beside_its_png(store: Store, tmp_path: Path):
    """A browser writes the same pixels as another PNG."""
    pixels = Picture.new("RGB", (8, 8), (200, 30, 40))
    ours, theirs = io.BytesIO(), io.BytesIO()
    pixels.save(ours, "PNG")
    pixels.convert("RGBA").save(theirs, "PNG", compress_level=1)
    trajectory, _ = aha(1)
    sha256 = hashlib.sha256(ours.getvalue()).hexdigest()
    image = trajectory.to_dict()["segments"][1] | {"sha256": sha256}
    row = trajectory.to_dict() | {"id": "kept", "segments": [image, trajectory.to_dict()["segments"][2]]}
    (tmp_path / "two-apples.json").write_text(json.dumps(row, indent=1))
    (tmp_path / "two-apples.png").write_bytes(theirs.getvalue())
    assert theirs.getvalue() != ours.getvalue()
    report = bring_in(store, tmp_path / "two-apples.json", "ours", owner="ada")
    assert report.errors == ()
    assert store.picture(sha256) == ours.getvalue()


def kept(number: int, **changes: object) -> tuple[dict, dict[str, bytes]]:
    """A drawing as *Draw* keeps it: one object with its pictures in it."""
    trajectory, pictures = aha(number)
    row = trajectory.to_dict() | {"id": f"kept{number}"} | changes
    encoded = {sha256: base64.b64encode(content).decode() for sha256, content in pictures.items()}
    return {"trajectory": row, "pictures": encoded}, pictures


def test_everything_kept_from_the_page_comes_back_from_its_one_file(store: Store, tmp_path: Path):
    row, pictures = kept(1)
    (tmp_path / "two-apples.json").write_text(json.dumps(row, indent=1))
    report = bring_in(store, tmp_path / "two-apples.json", "ours", owner="ada")
    assert (report.records, report.errors) == (1, ())
    assert store.trajectory("kept1").to_dict() == row["trajectory"]
    assert {sha256: store.picture(sha256) for sha256 in pictures} == pictures
    assert bring_in(store, tmp_path / "two-apples.json", "ours", owner="ada").already == 1


def test_a_drawing_that_goes_on_from_one_that_is_not_here_comes_in_too(store: Store, tmp_path: Path):
    parent = {"trajectory_id": "elsewhere", "segment": 1, "token": 0}
    row, _ = kept(1, parent=parent)
    (tmp_path / "branch.json").write_text(json.dumps(row))
    report = bring_in(store, tmp_path / "branch.json", "ours", owner="ada")
    assert report.errors == ()
    assert store.trajectory("kept1").to_dict()["parent"] == parent


def test_a_picture_that_is_not_the_one_it_is_named_after_is_told(store: Store, tmp_path: Path):
    row, pictures = kept(1)
    first, other = list(pictures)[:2]
    row["pictures"][first] = row["pictures"][other]
    (tmp_path / "two-apples.json").write_text(json.dumps(row))
    report = bring_in(store, tmp_path / "two-apples.json", "ours", owner="ada")
    assert report.records == 0
    assert first[:8] in str(report.errors[0])


def test_a_snapshot_in_the_hubs_cache_is_links_to_its_blobs_and_no_others_lead_out(store: Store, tmp_path: Path):
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "abc", tmp_path / "hub" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "1").write_bytes(jpeg(1))
    (blobs / "2").write_text('{"file_name": "a.jpg", "text": "a cat"}\n')
    (snapshot / "a.jpg").symlink_to("../../blobs/1")
    (snapshot / "metadata.jsonl").symlink_to("../../blobs/2")
    for in_process in (0, 10**9):
        report = rehearse(store, snapshot, bytes_in_process=in_process)
        assert (report.good, report.errors) == (1, ())
    (tmp_path / "secret").write_bytes(jpeg(2))
    (snapshot / "a.jpg").unlink()
    (snapshot / "a.jpg").symlink_to(tmp_path / "secret")
    [error] = rehearse(store, snapshot).errors
    assert "a link that leads out of" in error.got


def test_a_picture_that_is_nowhere_is_told(store: Store, tmp_path: Path):
    row = generated(tmp_path / "one", 1)
    (tmp_path / "one" / "image-2.png").unlink()
    report = bring_in(store, tmp_path / "one", "ours", owner="ada")
    assert "was not given and is not stored; give its PNG" in str(report.errors[0])
    trajectory, pictures = aha(1)
    store.save(trajectory, pictures, owner="ada")  # drawn here, too
    assert bring_in(store, tmp_path / "one", "ours", owner="ada").records == 1
    assert store.trajectory(row["id"]) == trajectory


def test_what_is_no_trajectory_is_told(store: Store, tmp_path: Path):
    row = generated(tmp_path / "one", 1)
    rounded = row | {"segments": [row["segments"][0] | {"text": "something else"}]}
    several = [{"prompt": "a cat"}, row | {"segments": [{"kind": "song"}]}, rounded, [1]]
    (tmp_path / "several.json").write_text(json.dumps(several))
    report = bring_in(store, tmp_path / "several.json", "ours", owner="ada")
    assert [error.row for error in report.errors] == [1, 2, 3, 4]
    assert "segments that would change in reading" in str(report.errors[2])


# --- tables of others


def test_a_folder_with_a_csv_keeps_every_column(store: Store, tmp_path: Path):
    names = ("file_name", "prompt", "model", "verdict", "p_yes", "reason", "x")
    given = (("a.png", "a cat", "flux", "no", "0.2", "It is a dog.", "1"), ("b.jpg", "a dog", "", "", "", "", "2, 3"))
    rows = [dict(zip(names, row, strict=True)) for row in given]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(1))
    (tmp_path / "in" / "b.jpg").write_bytes(jpeg(2))
    with (tmp_path / "in" / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    report = bring_in(store, tmp_path / "in", "folder", owner="ada", drawn_by="sdxl")
    assert report.errors == ()
    assert list(records(store, report.batch)) == rows
    first, second = (store.trajectory(one) for one in store.imported(report.batch))
    assert (first.checkpoint, first.reflections[0].text) == ("flux", "No, it is a dog.")
    assert (second.checkpoint, second.reflections) == ("sdxl", ())
    shown = Picture.open(io.BytesIO(store.picture(second.images[0].sha256)))
    assert shown.tobytes() == Picture.open(io.BytesIO(jpeg(2))).tobytes()


# The columns of Pick-a-Pic with their types, as its card gives them.
PICK_A_PIC = pa.schema(
    {
        **dict.fromkeys(("are_different", "has_label"), pa.bool_()),
        **dict.fromkeys(("best_image_uid", "caption", "model_0", "model_1"), pa.string()),
        **{f"image_{n}_{what}": pa.string() for n in (0, 1) for what in ("uid", "url")},
        **dict.fromkeys(("jpg_0", "jpg_1"), pa.binary()),
        **dict.fromkeys(("label_0", "label_1"), pa.float64()),
        **dict.fromkeys(("ranking_id", "user_id", "num_example_per_prompt", "__index_level_0__"), pa.int64()),
        "created_at": pa.timestamp("ns"),
    }
)


def pick(number: int, **changes) -> dict:
    """A row of Pick-a-Pic."""
    return {
        "are_different": True,
        "best_image_uid": f"uid-{number}",
        "caption": "a fox in the snow",
        "created_at": pd.Timestamp("2023-02-05T16:32:49.123456789"),
        "has_label": True,
        "image_0_uid": f"uid-{number}",
        "image_0_url": f"https://example.org/{number}.png",
        "image_1_uid": f"uid-{number + 1}",
        "image_1_url": f"https://example.org/{number + 1}.png",
        "jpg_0": jpeg(number),
        "jpg_1": jpeg(number + 1),
        "label_0": 1.0,
        "label_1": 0.0,
        "model_0": "stable-diffusion-xl",
        "model_1": "dreamlike",
        "ranking_id": 700 + number,
        "user_id": 9,
        "num_example_per_prompt": 3,
        "__index_level_0__": number,
    } | changes


def test_pick_a_pic_keeps_every_column_and_the_jpeg_bytes(store: Store, tmp_path: Path):
    rows = [pick(0), pick(1), pick(2, label_0=0.5, label_1=0.5, model_0=None, user_id=None)]
    pq.write_table(pa.Table.from_pylist(rows, PICK_A_PIC), tmp_path / "train.parquet")
    report = bring_in(store, tmp_path / "train.parquet", "pickapic", owner="ada")
    assert (report.records, report.errors) == (3, ())
    assert list(records(store, report.batch)) == rows
    assert {listed.checkpoint for listed in store.trajectories()} == {"stable-diffusion-xl", "dreamlike", "unknown"}
    left, right = (store.origins(one)[0] for one in store.imported(report.batch)[:2])
    assert left.together == right.together == "ranking_id 700"
    assert (left.part, right.part, right.record["label_1"]) == (0, 1, 0.0)


def test_pick_a_pic_as_csv_takes_images_from_a_folder(store: Store, tmp_path: Path):
    row = {name: str(value) for name, value in pick(0).items() if not name.startswith("jpg")}
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(row))
        table.writeheader()
        table.writerow(row)
    report = bring_in(store, tmp_path / "pairs.csv", "pickapic", owner="ada", images=tmp_path)
    assert str(report.errors[0]).startswith("row 1: got image_0_uid 'uid-0.jpg', which cannot be read")
    assert "image_1_uid 'uid-1.jpg', which cannot be read" in str(report.errors[0])
    for number in (0, 1):
        (tmp_path / f"uid-{number}.jpg").write_bytes(jpeg(number))
    report = bring_in(store, tmp_path / "pairs.csv", "pickapic", owner="ada", images=tmp_path)
    assert list(records(store, report.batch)) == [row]


def rich(**changes) -> dict:
    """A row of RichHF-18K with its columns."""
    heat = io.BytesIO()
    Picture.new("L", (512, 512), 3).save(heat, "PNG")
    return {
        "filename": "train/ab12.png",
        "aesthetics_score": 0.5,
        "artifact_score": 0.25,
        "misalignment_score": 0.75,
        "overall_score": float("-inf"),
        "artifact_map": heat.getvalue(),
        "misalignment_map": [[(x * y) % 256 for x in range(128)] for y in range(128)],
        "prompt_misalignment_label": "1 0 1",
    } | changes


def test_rich_feedback_keeps_scores_and_heat_maps(store: Store, tmp_path: Path):
    rows = [rich(), rich(filename="train/cd34.png", prompt="a red fox", image={"bytes": jpeg(3), "path": "cd34.jpg"})]
    pq.write_table(pa.Table.from_pylist(rows[1:]), tmp_path / "with.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "without.parquet")
    report = bring_in(store, tmp_path / "without.parquet", "richhf", owner="ada", images=tmp_path)
    assert "which cannot be read" in str(report.errors[0])
    (tmp_path / "ab12.png").write_bytes(png(5))
    report = bring_in(store, tmp_path / "without.parquet", "richhf", owner="ada", images=tmp_path)
    assert "wanted a prompt in a column" in str(report.errors[0])
    (tmp_path / "ab12.txt").write_text("a fox\n")
    found = [
        bring_in(store, tmp_path / f"{n}.parquet", "richhf", owner="a", images=tmp_path) for n in ("without", "with")
    ]
    assert [report.errors for report in found] == [(), ()]
    assert [row for report in found for row in records(store, report.batch)] == rows
    assert [listed.prompt for listed in store.trajectories()].count("a fox") == 1


# --- files that are none, and the command


def test_files_that_cannot_be_read_at_all_are_told(store: Store, tmp_path: Path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "x.csv").write_bytes(b"file_name,prompt\n\xff\xfe,x\n")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "x.txt").write_text("a cat")
    (tmp_path / "x.json").write_text("{")
    for name, format, told in (
        ("gone.csv", "folder", "there is no"),
        ("x.parquet", "pickapic", "cannot be read as Parquet"),
        ("x.csv", "folder", "cannot be read as CSV in UTF-8"),
        ("empty.csv", "folder", "wanted a first line"),
        ("x.txt", "janus_sft", "no table that can be read"),
        ("x.json", "ours", "cannot be read as JSON"),
        (".", "folder", "holds 2 tables"),
        ("x.csv", "coco", "no format; the formats are: ours"),
    ):
        with pytest.raises(ImportingError, match=told):
            bring_in(store, tmp_path / name, format, owner="ada")


def test_a_picture_that_is_none_is_told_with_its_row(store: Store, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "b.jpg").write_bytes(b"<svg/>")
    (tmp_path / "t.csv").write_text("file_name,prompt\na.png,a cat\nb.jpg,a dog\nc\n")
    report = bring_in(store, tmp_path, "folder", owner="ada")
    assert [(error.row, error.place) for error in report.errors] == [(1, "file_name"), (2, "file_name"), (3, "")]
    assert str(report.errors[2]) == "row 3: got 1 fields; wanted 2, one for each column"


def test_progress_counts_to_the_end(store: Store, tmp_path: Path):
    seen: list[tuple] = []
    bring_in(store, janus(tmp_path), "janus_sft", owner="ada", on_progress=lambda *step: seen.append(step))
    assert [step for step in seen if step[1] == step[2]] == [("checking", 3, 3), ("storing", 3, 3)]


def test_the_command_imports_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture):
    file = janus(tmp_path)
    command = [str(file), "--format", "janus_sft", "--data", str(tmp_path / "data")]
    done = run("annotations.importing", *command)
    assert (done.returncode, done.stdout) == (0, "3 records imported as 7 trajectories\n"), done.stderr
    assert "3 of 3" in done.stderr
    with file.open("a") as more:
        more.write("{}\n")
    assert main([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["errors"][0]["row"] == 4
    assert main(command) == 1
    assert "nothing imported: 1 rows are bad" in capsys.readouterr().out
    assert main([*command, "--leave-out-bad"]) == 0
    assert "0 records imported as 0 trajectories; 3 were there already" in capsys.readouterr().out
