"""Rows of a training file: learnt as they stand, or refused with their number and the reason."""

import io
import json
from argparse import Namespace
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from PIL import Image as Picture
from training_rows import IMAGE, PNG, assistant, row, save, text, user

from model.backends.janus import PIXEL, Janus
from model.backends.request import Task
from model.decoding.janus_backend import JanusBackend
from model.examples import JudgeExample, ThoughtExample, sft_example
from model.images import encode_png
from model.messages import MessageError
from model.reflection_text import first_verdict
from model.sequences import Text
from model.templates import CHECK_TEXT, CONNECT_TEXT
from model.training import dataset
from model.training.batch import collate
from model.training.dataset import JUDGE_ROWS, DataError, RowBounds, Rows, data_files, pixels, prompts_in, read_rows
from model.training.sources import DataFolder, open_held_out, row_source


def read_sequences(janus: Janus, folder: Path, *bounds: RowBounds) -> Rows:
    return read_rows(janus, folder, JUDGE_ROWS, *bounds)


PROMPT = user(text("two red apples"))
CHECK, CONNECT = user(text(CHECK_TEXT)), user(text(CONNECT_TEXT))


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ([PROMPT, assistant(IMAGE)], "two red apples"),
        ([PROMPT, assistant(IMAGE), CHECK], "two red apples"),
        ([user(IMAGE, text("two red apples"))], "two red apples"),
        ([user(text("two red apples"), IMAGE)], "two red apples"),
        ([user(text("two red "), text("apples")), assistant(IMAGE)], "two red apples"),
        ([{"role": "user", "content": "two red apples"}, assistant(IMAGE)], "two red apples"),
        ([user(text("两个红苹果")), assistant(IMAGE), CHECK], "两个红苹果"),
    ],
)
def test_the_prompt_is_all_that_the_user_says(prompt: list[dict], wanted: str):
    example = JudgeExample.from_row(row(prompt=prompt))
    assert (example.prompt, example.reflections, example.images) == (wanted, (), (PNG,))


def test_what_was_said_between_images_is_kept_with_the_template_s_words_or_without():
    images = [{"bytes": PNG, "path": None}] * 2
    said = assistant(text("No, one is "), text("missing."))
    for between in ([CHECK, said, CONNECT], [said], [CHECK, said], [said, CONNECT]):
        prompt = [PROMPT, assistant(IMAGE), *between, assistant(IMAGE), CHECK]
        assert JudgeExample.from_row(row(prompt=prompt, images=images)).reflections == ("No, one is missing.",)


REFUSED = {
    "system": {"prompt": [{"role": "system", "content": [text("You are strict.")]}, PROMPT, assistant(IMAGE)]},
    "message 2 of the prompt has the role 'system'": {
        "prompt": [PROMPT, {"role": "system", "content": "x"}, assistant(IMAGE)]
    },
    "role 'tool'": {"prompt": [PROMPT, assistant(IMAGE), {"role": "tool", "content": "x"}]},
    "role nothing": {"prompt": [{"role": None, "content": [text("x")]}, assistant(IMAGE)]},
    "message 1 is the assistant's": {"prompt": [assistant(text("hello")), PROMPT, assistant(IMAGE)]},
    "message 1 has no words": {"prompt": [user(text(" \n")), assistant(IMAGE)]},
    "picture between its words": {"prompt": [user(text("two"), IMAGE, text("apples"))]},
    "content": {"prompt": [{"role": "user", "content": []}, assistant(IMAGE)]},
    "message 2 is the user's": {"prompt": [PROMPT, user(text("and a car")), assistant(IMAGE)]},
    "message 3 is the user's": {"prompt": [PROMPT, assistant(IMAGE), user(text("Is it green?"))]},
    "an image of the user's": {"prompt": [PROMPT, user(IMAGE)]},
    "message 2 is the assistant's": {"prompt": [PROMPT, assistant(text("I will draw."), IMAGE)]},
    "wanted words": {"prompt": [user(text(None)), assistant(IMAGE)]},
    "an image with the text": {"prompt": [PROMPT, assistant({"type": "image", "text": "a cat"})]},
    "type text or image": {"prompt": [PROMPT, assistant({"type": "image_url", "text": None})]},
    "has name": {"prompt": [{**PROMPT, "name": "Ada"}, assistant(IMAGE)]},
    "has image": {"prompt": [PROMPT, assistant({**IMAGE, "image": "a.png"})]},
    "list of messages": {"prompt": "two red apples"},
    "wanted one with role": {"prompt": [None, assistant(IMAGE)]},
    "0 images, the row brings 1": {"prompt": [PROMPT]},
    "missing: prompt": {"prompt": None},
    "missing: completion": {"completion": None},
    "missing: images": {"images": None},
    "got tools": {"tools": [{"name": "draw"}]},
    "only the path 'a.png'": {"images": [{"bytes": None, "path": "a.png"}]},
    "image 1 is nothing": {"images": [None]},
    "wanted a list of pictures": {"images": "a.png"},
    "1 images, the row brings 2": {"images": [{"bytes": PNG, "path": None}] * 2},
    "more than one message": {"completion": [assistant(text("No, x.")), assistant(text("Yes."))]},
    "got 'None of": {"completion": [assistant(text("None of the apples is red."))]},
    "got 'Yesterday": {"completion": [assistant(text("Yesterday it rained."))]},
    "got 'no, ": {"completion": [assistant(text("no, one is missing"))]},
    "got ' No": {"completion": [assistant(text(" No, one is missing"))]},
    "weight is nan": {"weight": float("nan")},
    "weight is inf": {"weight": float("inf")},
    "weight is -1": {"weight": -1.0},
    "weight is 1000000000.0": {"weight": 1e9},
    "weight is '0.5'": {"weight": "0.5"},
    "weight is True": {"weight": True},
    "segment is '3'": {"segment": "3"},
    "decided is 'no'": {"decided": "no"},
    "characters": {"completion": [assistant(text("No, " + "x" * 50_000))]},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_row_that_would_be_learnt_as_something_else_is_refused_with_the_reason(reason: str):
    changes = REFUSED[reason]
    with pytest.raises(MessageError) as refused:
        JudgeExample.from_row(row(**changes))
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "said", ["no, one is missing", " No, one is missing", "None of them", "One is missing.", "**No**, x"]
)
def test_a_picture_among_the_users_words_is_judged_unless_the_row_says_that_it_is_edited(said: str):
    asked = row(prompt=[user(IMAGE, text("two red apples"))], completion=[assistant(text(said))])
    with pytest.raises(MessageError, match="begins with Yes or No"):
        sft_example(asked)
    assert isinstance(sft_example(asked | {"source": "correction"}), ThoughtExample)


@pytest.mark.parametrize(
    "said", ["No", "No.", "No, x", "No — x", "No—x", "No: x", "No，苹果", "No。", "No؛ x", "No\nx", "No (x)"]
)
def test_a_verdict_is_a_word_of_its_own_in_any_punctuation(said: str):
    assert first_verdict(said) == "No"
    assert first_verdict(said.replace("No", "Yes")) == "Yes"


@pytest.mark.parametrize(
    "said", ["None of", "Nothing", "No-one", "No1", "No.1 is", "Nó", "No’s", "No_x", "no", "", "NO", "Not", "No苹果"]
)
def test_a_word_that_only_begins_like_a_verdict_is_none(said: str):
    assert first_verdict(said) is None


def test_all_bad_rows_are_counted_and_the_first_ten_named(tiny: Janus, tmp_path: Path):
    bad = row(completion=[assistant(text("Perhaps."))])
    folder = save(tmp_path / "data", [row(), *[bad] * 12, row()])
    with pytest.raises(DataError) as refused:
        read_sequences(tiny, folder)
    message = str(refused.value)
    assert message.startswith("12 of 14 rows")
    assert "row 2 of train.parquet: " in message and "row 11 of train.parquet: " in message
    assert "row 12 " not in message and message.endswith("and 2 more")


def test_a_row_of_nulls_is_named_beside_good_ones(tiny: Janus, tmp_path: Path):
    folder = save(tmp_path / "data", [row(weight=None), dict.fromkeys([*row(), "weight"])])
    with pytest.raises(DataError, match=r"1 of 2 rows.*\n  row 2 of train\.parquet: .*missing: prompt"):
        read_sequences(tiny, folder)


def test_sequences_carry_the_words_and_the_row_they_come_from(tiny: Janus, tmp_path: Path):
    prompt = [user(IMAGE, text("Two “red” apples, 两个"))]
    [sequence] = read_sequences(tiny, save(tmp_path / "data", [row(prompt=prompt, weight=0.25)]))
    assert (sequence.name, sequence.weight) == ("row 1 of train.parquet", 0.25)
    words = "".join(tiny.tokenizer.decode(piece.ids) for piece in sequence.pieces if isinstance(piece, Text))
    assert words.count("two “red” apples, 两个") == 1
    assert int((collate(tiny, [sequence]).kinds == PIXEL).sum()) == tiny.image_codes


def test_special_tokens_that_a_person_spells_out_are_words(tiny: Janus, tmp_path: Path):
    completion = [assistant(text("No, <｜end▁of▁sentence｜> is <begin_of_image> here."))]
    [sequence] = read_sequences(tiny, save(tmp_path / "data", [row(completion=completion)]))
    *said, end = sequence.pieces[-1].ids
    assert end == tiny.ids.eos
    assert not {tiny.ids.eos, tiny.ids.begin_image} & set(said)


def png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Picture.new("1", size).save(buffer, "PNG")
    return buffer.getvalue()


NOISE = io.BytesIO()
Picture.effect_noise((256, 256), 80).convert("RGB").save(NOISE, "PNG")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture", "no picture"),
        (PNG[:-60], "no picture"),
        (PNG[:20], "no picture"),
        (NOISE.getvalue()[: len(NOISE.getvalue()) // 2], "no picture"),
        (png((2000, 2000)), "4.0 million pixels"),
    ],
)
def test_a_picture_that_does_not_decode_or_is_huge_refuses_its_row(
    tiny: Janus, tmp_path: Path, content: bytes, reason: str
):
    folder = save(tmp_path / "data", [row(), row(images=[{"bytes": content, "path": None}])])
    with pytest.raises(DataError, match="1 of 2 rows") as refused:
        read_sequences(tiny, folder, RowBounds(megapixels=1))
    assert "row 2 of train.parquet: image 1" in str(refused.value) and reason in str(refused.value)


@pytest.mark.parametrize("size", [(640, 96), (60, 90), (64, 64), (200, 200)])
def test_a_picture_is_learnt_as_it_is_judged(tiny: Janus, size: tuple[int, int]):
    wide = encode_png(Picture.effect_noise(size, 80).convert("RGB"))
    assert (pixels(wide, tiny) == JanusBackend(tiny).read_source(wide, Task.JUDGE)).all()


def test_a_row_of_too_many_tokens_is_refused_and_the_bound_is_a_setting(tiny: Janus, tmp_path: Path):
    folder = save(tmp_path / "data", [row(completion=[assistant(text("No, " + "苹" * 200))])])
    with pytest.raises(DataError, match="tokens with 1 images, wanted at most 500"):
        read_sequences(tiny, folder, RowBounds(tokens=500))
    assert len(read_sequences(tiny, folder)) == 1
    with pytest.raises(DataError, match="wanted at most 100;"):
        read_sequences(tiny, folder, RowBounds(characters=100))


def test_weights_that_are_all_zero_leave_nothing_to_learn(tiny: Janus, tmp_path: Path):
    with pytest.raises(DataError, match="weight 0"):
        read_sequences(tiny, save(tmp_path / "data", [row(weight=0.0)] * 2))


def test_invalid_utf8_in_a_row_refuses_that_row(tiny: Janus, tmp_path: Path):
    folder = save(tmp_path / "data", [row(annotator="marked"), row(annotator="ok")])
    file = folder / "train.parquet"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"marked", b"mark\xff\xfe"))
    with pytest.raises(DataError, match="row 1|cannot be read"):
        read_sequences(tiny, folder)


def pointer(folder: Path) -> None:
    (folder / "train.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def cut(folder: Path) -> None:
    file = folder / "train.parquet"
    file.write_bytes(file.read_bytes()[:-200])


def emptied(folder: Path) -> None:
    (folder / "train.parquet").write_bytes(b"")


def flipped(folder: Path) -> None:
    file = folder / "train.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))


def manifest_cut(folder: Path) -> None:
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text()[:-5])


def other_kind(folder: Path) -> None:
    known = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(known | {"kind": "preferences"}))


def stranger(folder: Path) -> None:
    save(folder / "more", [row()])
    (folder / "more" / "train.parquet").rename(folder / "other.parquet")
    (folder / "more").rmdir()


def a_folder_instead(folder: Path) -> None:
    (folder / "train.parquet").unlink()
    (folder / "train.parquet").mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (pointer, "SHA-256 differs"),
        (cut, "SHA-256 differs"),
        (emptied, "SHA-256 differs"),
        (flipped, "SHA-256 differs"),
        (manifest_cut, "manifest.json is damaged"),
        (other_kind, "wanted judge_sft"),
        (stranger, "other.parquet is not in the manifest"),
        (a_folder_instead, "holds no .parquet file"),
    ],
)
def test_an_export_that_is_not_what_its_manifest_says_is_refused(tiny: Janus, tmp_path: Path, spoil, reason: str):
    folder = save(tmp_path / "data", [row()], manifest={})
    assert len(read_sequences(tiny, folder)) == 1
    spoil(folder)
    with pytest.raises(DataError, match=reason):
        read_sequences(tiny, folder)


def test_a_damaged_or_missing_file_beside_the_rows_of_an_export_is_refused(tiny: Janus, tmp_path: Path):
    sources = b"which revisions made the rows"
    folder = save(tmp_path / "data", [row()], manifest={"sources": sha256(sources).hexdigest()})
    (folder / "_sources.parquet").write_bytes(sources)
    assert len(read_sequences(tiny, folder)) == 1
    (folder / "_sources.parquet").write_bytes(sources[:-5])
    with pytest.raises(DataError, match=r"_sources\.parquet is not the file .* export it again"):
        read_sequences(tiny, folder)
    (folder / "_sources.parquet").unlink()
    with pytest.raises(DataError, match=r"_sources\.parquet is missing.* copy the whole folder, or export again"):
        read_sequences(tiny, folder)


@pytest.mark.parametrize(("spoil", "reason"), [(pointer, "git lfs pull"), (cut, "cannot be read"), (emptied, "cannot")])
def test_a_damaged_file_without_a_manifest_is_named(tiny: Janus, tmp_path: Path, spoil, reason: str):
    folder = save(tmp_path / "data", [row()])
    spoil(folder)
    with pytest.raises(DataError, match=reason):
        read_sequences(tiny, folder)


def test_rows_without_the_columns_and_files_without_rows_are_refused(tiny: Janus, tmp_path: Path):
    with pytest.raises(DataError, match="missing: prompt, completion, images"):
        read_sequences(tiny, save(tmp_path / "other", [{"messages": ["x"], "label": 1}]))
    folder = save(tmp_path / "none", [row()])
    parquet.write_table(parquet.read_table(folder / "train.parquet").slice(0, 0), folder / "train.parquet")
    with pytest.raises(DataError, match="no examples"):
        read_sequences(tiny, folder)


def test_a_file_can_be_given_instead_of_its_folder_and_hidden_ones_are_left_aside(tiny: Janus, tmp_path: Path):
    folder = save(tmp_path / "data", [row()])
    save(tmp_path / "data" / ".unfinished", [row()])
    assert len(read_sequences(tiny, folder)) == 1
    assert len(read_sequences(tiny, folder / "train.parquet")) == 1


@pytest.mark.parametrize(
    "other", ["test-00000-of-00001.parquet", "validation.parquet", "test/0.parquet", "split=dev/part-0.parquet"]
)
def test_of_a_data_set_with_splits_train_alone_is_learnt_and_the_others_are_held_out(
    tiny: Janus, tmp_path: Path, other: str
):
    folder = save(tmp_path / "data", [row()])
    (folder / other).parent.mkdir(exist_ok=True)
    (save(tmp_path / "other", [row()] * 3) / "train.parquet").rename(folder / other)
    assert data_files(folder) == [folder / "train.parquet"] and data_files(folder, held_out=True) == [folder / other]
    (folder / "train.parquet").rename(folder / "attest.parquet")
    assert data_files(folder) == [folder / "attest.parquet"]
    (folder / "attest.parquet").unlink()
    assert len(read_sequences(tiny, folder / other)) == 3
    with pytest.raises(DataError, match="only rows of the split"):
        read_sequences(tiny, folder)


def test_rows_that_are_learnt_cannot_be_held_out(tiny: Janus, tmp_path: Path):
    folder = save(tmp_path / "data", [row()])
    copy = save(tmp_path / "copy", [row()])
    arguments = Namespace(data=[DataFolder(folder)], held_out=[DataFolder(copy)])
    with pytest.raises(DataError, match=r"--held-out names .*copy.*, whose rows are learnt"):
        open_held_out(tiny, arguments, JUDGE_ROWS)
    save(tmp_path / "copy", [row(), row()])
    assert len(open_held_out(tiny, arguments, JUDGE_ROWS)[0][0].rows) == 2


def test_a_column_that_is_there_twice_is_refused(tiny: Janus, tmp_path: Path):
    folder = save(tmp_path / "data", [row()])
    table = parquet.read_table(folder / "train.parquet")
    parquet.write_table(table.append_column("completion", table["prompt"]), folder / "train.parquet")
    with pytest.raises(DataError, match="'completion' more than once"):
        read_sequences(tiny, folder)


def test_prompts_for_self_distillation_are_read_of_every_kind_of_rows(tmp_path: Path):
    drawing = {"prompt": " a red cat", "image": {"bytes": PNG, "path": None}}
    folder = save(tmp_path / "data", [drawing])
    assert list(prompts_in(folder)) == ["a red cat"]
    assert list(prompts_in(save(tmp_path / "judged", [row()]))) == ["two red apples"]


@pytest.mark.parametrize("room", [0, 1, 2**20])
def test_images_of_rows_are_decoded_when_a_step_needs_them_and_few_are_kept(
    tiny: Janus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
):
    decoded, real = [], dataset.decode
    monkeypatch.setattr(dataset, "decode", lambda png: decoded.append(png) or real(png))
    monkeypatch.setattr(dataset, "CACHE", room)
    rows = read_sequences(tiny, save(tmp_path / "data", [row(weight=n / 10) for n in range(10)]))
    assert len(decoded) == len(rows) == 10  # each once, to check it
    for index in (7, 8, 7, 8):
        assert (rows[index].name, rows[index].weight) == (f"row {index + 1} of train.parquet", index / 10)
    assert len(decoded) - 10 == {0: 8, 1: 1 + 4, 2**20: 2}[room]  # of eight: none is kept, the first, both


def test_every_epoch_has_each_row_once_in_an_order_of_its_own_that_only_the_seed_decides(tiny: Janus, tmp_path: Path):
    rows = read_sequences(tiny, save(tmp_path / "data", [row()] * 10))

    def names(source: Callable, steps: Iterable[int], which: slice = slice(None)) -> list[str]:
        return [sequence.name for step in steps for sequence in source(step, which)]

    source, again = row_source(rows, seed=3, batch=4), row_source(rows, seed=3, batch=4)
    once = names(source, range(5))  # two epochs
    assert sorted(once[:10]) == sorted(once[10:]) == sorted(f"row {n} of train.parquet" for n in range(1, 11))
    assert once[:10] != once[10:] and once[:10] != names(row_source(rows, seed=4, batch=4), range(5))[:10]
    assert names(again, [3, 4]) == once[12:]  # as a resumed run sees them
    halves = [names(source, [2], slice(process, None, 2)) for process in (0, 1)]
    assert sorted(halves[0] + halves[1]) == sorted(once[8:12])
    assert len(names(row_source(rows, seed=3, batch=99), [0])) == 10
