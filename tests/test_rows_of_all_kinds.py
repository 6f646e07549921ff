"""Rows of an export as training sequences: plans, pairs of drawings, labels; several folders in one batch."""

import argparse
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch
from export_store import filled
from PIL import Image as Picture

from annotations.export.exporter import export
from model.backends.janus import Janus
from model.decoding.load_for_inference import open_checkpoint
from model.examples import PreferenceExample, ThoughtExample
from model.images import encode_png
from model.messages import MessageError
from model.sequences import Codes, Text, ids
from model.templates import BEGIN_IMAGE, CHECK_TEXT, CONNECT_TEXT
from model.training.batch import collate
from model.training.dataset import SFT_ROWS, DataError, RowBounds, codes_of, read_rows, thought_sequence
from model.training.dpo import DpoSettings, train
from model.training.policy import Policy
from model.training.preferences.reference import sums
from model.training.preferences.rows import LABELLED_ROWS, PREFERENCE_ROWS, pair_of
from model.training.runs.folder import RunPaths
from model.training.sources import DataFolder, WeightedRows, mixed_source, open_data
from model.training.training_sequences import TokenKind
from model.world.scene import random_scene, render

KINDS = {"judge_kto": LABELLED_ROWS, "thought_pref": PREFERENCE_ROWS, "thought_sft": SFT_ROWS, "judge_sft": SFT_ROWS}


def png(seed: int) -> bytes:
    return encode_png(Picture.fromarray(render(random_scene(random.Random(seed), 2))))


def image_pair(number: int, **more: Any) -> dict[str, Any]:
    pictures = ({"bytes": png(2 * number + each), "path": None} for each in (0, 1))
    return {"prompt": "a red cat", "margin": 0.5} | dict(zip(("chosen", "rejected"), pictures, strict=True)) | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports of every kind, and a file of pairs of drawings that somebody else wrote."""
    folder = tmp_path_factory.mktemp("rows")
    store, _ = filled(folder / "data")
    with store:
        for kind in KINDS:
            export(store, kind, folder / kind)
    (folder / "image_pref").mkdir()
    none = {"chosen_codes": None, "rejected_codes": None}
    codes = [none, {"chosen_codes": [1] * 64, "rejected_codes": [2] * 64}, {"chosen_codes": [], "rejected_codes": []}]
    table = arrow.Table.from_pylist([image_pair(number, **each) for number, each in enumerate(codes)])
    parquet.write_table(table, folder / "image_pref" / "pairs.parquet")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_an_export_is_read(folder: Path, tiny: Janus, kind: str):
    rows = read_rows(tiny, folder / kind, KINDS[kind])
    assert len(rows) >= 4
    for number in range(len(rows)):
        row = rows[number]
        sequences = row.sequences if kind in ("judge_kto", "thought_pref") else (row,)
        assert all(each.target_count for each in sequences) and row.weight > 0


def test_a_plan_is_learnt_with_the_beginning_of_the_image_after_all_that_was_before(tiny: Janus):
    said, plan = "No, the cat is blue.", "red cat at 0 0"
    words = [("user", "a red cat"), ("assistant", "blue cat at 0 0"), ("assistant", None), ("user", CHECK_TEXT)]
    words += [("assistant", said), ("user", CONNECT_TEXT)]
    turns = [{"role": role, "content": [{"type": "text" if text else "image", "text": text}]} for role, text in words]
    row = {"prompt": turns, "completion": [{"role": "assistant", "content": plan}], "images": [{"bytes": png(0)}]}
    sequence = thought_sequence(tiny, ThoughtExample.from_row(row))
    scored = [token for targets in sequence.targets for token in targets.tokens]
    assert scored == [*ids(tiny, f" {plan}"), *ids(tiny, BEGIN_IMAGE)]
    (codes,) = [piece for piece in sequence.pieces if isinstance(piece, Codes)]
    assert list(codes.codes) == tiny.encode([render(random_scene(random.Random(0), 2))])[0].tolist()
    text = tiny.tokenizer.decode([i for piece in sequence.pieces if isinstance(piece, Text) for i in piece.ids])
    assert text.index("blue cat at 0 0") < text.index(said) < text.index(CONNECT_TEXT) < text.index(plan)
    with pytest.raises(
        MessageError, match=r"message 3 is 'No, the cat is blue.' of the assistant's after what was drawn"
    ):
        ThoughtExample.from_row(row | {"prompt": [turns[0], turns[2], turns[4]]})


def test_drawings_redraws_and_edits_are_learnt_with_their_thoughts(tiny: Janus):
    stored = {"bytes": png(1), "path": None}
    row = {"prompt": "a red cat", "image": stored, "codes": [3] * 64, "thought": "red cat at 0 0", "weight": 0.5}
    drafts = {"drafts": [stored], "draft_codes": [[2] * 64], "reflections": ["No, the cat is blue."]}
    source = {"source": stored, "source_codes": []}
    for more, before in (({}, []), (drafts, [(2,) * 64]), (source, [codes_of(tiny, png(1), RowBounds())])):
        sequence = SFT_ROWS.build(tiny, SFT_ROWS.parse(row | more, 1000), RowBounds())
        assert [piece.codes for piece in sequence.pieces if isinstance(piece, Codes)] == [*before, (3,) * 64]
        text, codes = ([t for t in sequence.targets if t.kind is kind] for kind in (TokenKind.TEXT, TokenKind.CODE))
        assert tiny.tokenizer.decode(text[0].tokens) == " red cat at 0 0" and sequence.weight == 0.5
        assert [each.tokens for each in codes] == [(3,) * 64]
    for wrong, problem in (
        ({"thought": " "}, "the thought is ' ', wanted a plan"),
        ({"thought": "red\x07cat"}, "has no text as its character 4"),
        ({"prompt": "\u200b\ufeff"}, "wanted words"),
        ({"prompt": "a red cat\x00"}, "has no text as its character 10"),
        (drafts | {"reflections": []}, "got 1 drafts, 0 reflections and 1 lists of codes"),
        (drafts | {"reflections": ["Perhaps."]}, "begins with Yes or No"),
        ({"codes": [3] * 4}, "got 4 image codes"),
    ):
        with pytest.raises(MessageError, match=problem):
            SFT_ROWS.build(tiny, SFT_ROWS.parse(row | wrong, 1000), RowBounds())


@pytest.mark.parametrize("prompt", ["", " \n", "\u2063", "\x00", "a cat\x00"])
def test_a_prompt_that_says_nothing_is_refused_with_its_file_and_row(tiny: Janus, tmp_path: Path, prompt: str):
    drawn = {"image": {"bytes": png(1), "path": None}, "codes": None}
    table = arrow.Table.from_pylist([drawn | {"prompt": "a red cat"}, drawn | {"prompt": prompt}])
    parquet.write_table(table, tmp_path / "drawn.parquet")
    with pytest.raises(DataError, match=r"(?s)1 of 2 rows .* row 2 of drawn.parquet: the prompt"):
        read_rows(tiny, tmp_path, SFT_ROWS)


def test_rows_that_are_given_twice_are_refused_by_whatever_path(
    folder: Path, tiny: Janus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "link").symlink_to(folder / "image_pref")
    shutil.copytree(folder / "image_pref", tmp_path / "copy")
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "linked.parquet").symlink_to(folder / "image_pref" / "pairs.parquet")
    monkeypatch.chdir(folder)
    again = [folder / "image_pref", Path("image_pref"), tmp_path / "link", tmp_path / "copy", tmp_path / "file"]
    for second in [*again, folder / "image_pref" / "pairs.parquet"]:
        with pytest.raises(DataError, match="hold the same rows, which would count twice"):
            open_data(tiny, [DataFolder(folder / "image_pref"), DataFolder(second)], PREFERENCE_ROWS, RowBounds())


def test_a_pair_of_drawings_is_scored_on_its_codes_or_on_those_of_the_pictures(folder: Path, tiny: Janus):
    rows = read_rows(tiny, folder / "image_pref", PREFERENCE_ROWS)
    for number in range(3):
        for at, sequence in enumerate(rows[number].sequences):
            picture = render(random_scene(random.Random(2 * number + at), 2))
            expected = [at + 1] * 64 if number == 1 else tiny.encode([picture])[0].tolist()
            (targets,) = sequence.targets
            assert (targets.kind, list(targets.tokens)) == (TokenKind.CODE, expected)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"chosen_codes": [1] * 63}, "got 63 image codes"),
        ({"chosen_codes": [10**6] * 64}, "got 64 image codes up to 1000000"),
        ({"chosen_codes": "many"}, "chosen_codes is 'many'"),
        ({"rejected": {"bytes": b"", "path": "a.png"}}, "only the path 'a.png'"),
        ({"rejected": image_pair(0)["chosen"]}, "wanted two that differ"),
        ({"chosen_codes": [3] * 64, "rejected_codes": [3] * 64}, "the same image codes"),
        ({"prompt": " "}, "the prompt is ' ', wanted words"),
    ],
)
def test_a_pair_of_drawings_that_cannot_be_learnt_is_refused_in_words(tiny: Janus, changes, problem: str):
    with pytest.raises(MessageError, match=problem):
        pair_of(tiny, PreferenceExample.from_row(image_pair(0) | changes), RowBounds())


def test_folders_share_every_batch_by_their_weights(folder: Path, tiny: Janus):
    read = DataFolder.read
    assert read(f"{folder}:0.5") == DataFolder(folder, 0.5) and read(str(folder)) == DataFolder(folder)
    with pytest.raises(argparse.ArgumentTypeError, match="got none"):
        read(f"{folder}:none")
    folders = [DataFolder(folder / "thought_pref", 1), DataFolder(folder / "image_pref", 0.5)]
    data, about = open_data(tiny, folders, PREFERENCE_ROWS, RowBounds())
    assert (about["examples"], about["data_weights"]) == ([4, 3], [1, 0.5])
    assert [manifest and manifest["kind"] for manifest in about["data"]] == ["thought_pref", None]
    source = mixed_source(data, seed=0, batch=3)
    for step in range(5):
        rows = source(step, slice(None))
        assert Counter("pairs" in row.name for row in rows) == {False: 2, True: 1}
        assert [row.name for part in (0, 1) for row in source(step, slice(part, None, 2))][:3]
    with pytest.raises(DataError, match="no room for a row of each of 2 folders"):
        mixed_source(data, seed=0, batch=1)


def test_drawings_and_plans_train_together(folder: Path, tiny_checkpoint: Path, tmp_path: Path):
    janus = open_checkpoint(tiny_checkpoint, dtype=torch.float32)
    folders = [DataFolder(folder / "thought_pref"), DataFolder(folder / "image_pref")]
    data, _ = open_data(janus, folders, PREFERENCE_ROWS, RowBounds())

    def preference(rows: WeightedRows) -> float:
        """The log-probability of what was chosen less that of what was rejected."""
        every = [sequence for number in range(len(rows.rows)) for sequence in rows.rows[number].sequences]
        batch = collate(janus, every)
        with torch.no_grad():
            own = sums(Policy(janus)(batch).log_probs, batch)[0]
        return float((own[0::2] - own[1::2]).mean())

    before = [preference(each) for each in data]
    settings = DpoSettings(steps=4, batch=4, loss="sigmoid_norm", beta=1.0, learning_rate=1e-3, warmup=0, save_every=0)
    train(janus, data, settings, tmp_path / "out", {"recipe": "dpo", "parent": str(tiny_checkpoint)})
    assert all(preference(each) > first + 0.1 for each, first in zip(data, before, strict=True))
    assert len(RunPaths(tmp_path / "out").log.read_text().splitlines()) == 4
