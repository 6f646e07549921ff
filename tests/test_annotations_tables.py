"""Tables and zips as people have them: each is read as it was meant, or refused with one line that says what to do."""

import errno
import json
import os
import shutil
import struct
import tempfile
import unicodedata
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_annotations_samples import png

from annotations.errors import DiskFullError, ImportingError
from annotations.importing import archives, csv_files
from annotations.importing.importer import bring_in, rehearse
from annotations.importing.source_tables import laid_out
from annotations.store.store import Store, open_store
from studio.image.judge_many import BatchError, batch

CAFE = unicodedata.normalize("NFC", "café.png")
NAMES = ["a.png", "два яблока.png", "b (1).png", "c's & d#1.png", CAFE, "sub/e.png"]


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(png(number))
    return folder


def prompts(store: Store) -> list[str]:
    return [listed.prompt for listed in reversed(store.trajectories(limit=100))]


ROW = "image,prompt\na.png,two red apples\n"
APPLES = ["two red apples"]
DIALECTS = {
    "bom": ("\ufeff" + ROW, "utf-8", APPLES),
    "utf-16": (ROW, "utf-16", APPLES),
    "utf-16 without a mark": (ROW, "utf-16-le", APPLES),
    "semicolon": (ROW.replace(",", ";"), "utf-8", APPLES),
    "tab": (ROW.replace(",", "\t"), "utf-8", APPLES),
    "sep": ("sep=;\n" + ROW.replace(",", ";"), "utf-8", APPLES),
    "crlf": (ROW.replace("\n", "\r\n"), "utf-8", APPLES),
    "cr": (ROW.replace("\n", "\r"), "utf-8", APPLES),
    "headers": ("Image, Prompt\na.png, two red apples\n", "utf-8", APPLES),
    "spaced header": ("File Name,PROMPT\na.png,two red apples\n", "utf-8", APPLES),
    "index": (",image,prompt\n0,a.png,two red apples\n", "utf-8", APPLES),
    "trailing": ("image,prompt,,\na.png,two red apples,,\n", "utf-8", APPLES),
    "blank": ("image,prompt\na.png,two red apples\n\n,,\n\n", "utf-8", APPLES),
    "quote": ('image,prompt\na.png,5" nails and a red apple\n', "utf-8", ['5" nails and a red apple']),
    "newline": ('image,prompt\na.png,"two red apples\nbelow a tree"\n', "utf-8", ["two red apples\nbelow a tree"]),
    "doubled quotes": ('image,prompt\nsub/e.png,"said ""no"", twice"\n', "utf-8", ['said "no", twice']),
    "windows": (
        "image,prompt\nC:\\Users\\me\\a.png,one\nsub\\e.png,two\n./a.png,three\n",
        "utf-8",
        ["one", "two", "three"],
    ),
    "nfd": (f"image,prompt\n{unicodedata.normalize('NFD', CAFE)},two red apples\n", "utf-8", APPLES),
    "case": ("image,prompt\nA.PNG,two red apples\n", "utf-8", APPLES),
    "names": (
        "image,prompt\n" + "".join(f"{n},apples {i}\n" for i, n in enumerate(NAMES)),
        "utf-8",
        [f"apples {i}" for i in range(6)],
    ),
    "long": ("image,prompt\na.png," + "very " * 40000 + "long\n", "utf-8", ["very " * 40000 + "long"]),
    "emoji": ("image,prompt\na.png,👩‍🚀 تفاحتان 🍎\n", "utf-8", ["👩‍🚀 تفاحتان 🍎"]),
    "decimal comma": ("image;prompt;verdict;p_yes\na.png;two red apples;Yes;0,9\n", "utf-8", APPLES),
}


@pytest.mark.parametrize("kind", DIALECTS)
def test_a_table_of_any_dialect_is_read_as_it_was_meant(store: Store, folder: Path, kind: str):
    text, encoding, wanted = DIALECTS[kind]
    (folder / "t.csv").write_bytes(text.encode(encoding))
    report = bring_in(store, folder, "folder", owner="ada")
    assert (report.errors, prompts(store)) == ((), wanted)
    images = [file for name in NAMES if (file := folder / name).exists()]
    with batch([folder / "t.csv", *images]) as pairs:  # the same reader
        assert [pair.prompt for pair in pairs] == wanted
        assert all(pair.path for pair in pairs if "sub" not in pair.image)


REFUSED = {
    "dup": ("image,prompt,Prompt\na.png,x,two red apples\n", "column “prompt” more than once (2, 3); name each"),
    "empty": ("", "is empty, wanted a first line with the names of the columns"),
    "latin": (b"image,prompt\na.png,caf\xe9\n", "save it as “CSV UTF-8”"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_table_in_doubt_is_refused_by_both_who_read_it(store: Store, folder: Path, kind: str):
    content, said = REFUSED[kind]
    (folder / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ImportingError) as told:
        rehearse(store, folder, "folder")
    assert said in str(told.value)
    with pytest.raises(BatchError) as told, batch([folder / "t.csv", folder / "a.png"]):
        pass
    assert said in str(told.value)


ROWS = {
    "nul": ("image,prompt\na.png,two\0red\n", "row 1, prompt: got 'two\\x00red' with a NUL character"),
    "fields": ("image,prompt\na.png\n", "row 1: got 1 fields"),
    "open quote": ('image,prompt\na.png,"two\n', "row 1: got a quote that is never closed"),
    "no prompt": ("image,prompt\na.png,\n", "row 1: got the prompt ''"),
    "outside": ("image,prompt\n../data/studio.db,x\n", "which leads out of"),
    "absolute": ("image,prompt\n/etc/passwd,x\n", "which leads out of"),
    "two of one end": (
        "image,prompt\nC:\\one\\a.png,x\nD:\\two\\a.png,y\n",
        "which may be 'a.png', as may another row's",
    ),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_bad_row_is_told_and_kills_nothing(store: Store, folder: Path, kind: str):
    text, said = ROWS[kind]
    (folder / "t.csv").write_text(text, "utf-8")
    report = rehearse(store, folder, "folder")
    assert said in str(report.errors[0]) and report.good == 0


def test_typed_values_of_json_are_taken_or_told_row_by_row(store: Store, folder: Path):
    usual = {"file_name": "a.png", "text": "two red apples"}
    good = [{"p_yes": 0.9, "verdict": True, "model": 3}, {"verdict": None, "p_yes": None}, {"verdict": False}]
    bad = [
        {"verdict": 7},
        {"p_yes": "much", "verdict": "no"},
        {"text": 3},
        {"model": [1]},
        {"reason": 5, "verdict": "yes"},
    ]
    rows = [usual | change for change in (*good, *bad)]
    (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    (folder / "more.csv").write_text("x\n1\n")
    report = bring_in(store, folder, "folder", owner="ada", leave_out_bad=True)
    assert (report.records, [error.row for error in report.errors]) == (3, [4, 5, 6, 7, 8])
    models = {listed.checkpoint: listed.answers for listed in store.trajectories()}
    assert models["3"] == ("yes",)


def zipped(file: Path, entries: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def shown(store: Store) -> dict[str, bytes]:
    return {listed.prompt: store.picture(listed.cover) for listed in store.trajectories(limit=100)}


def test_pictures_of_one_name_stay_apart_in_their_folders_and_zips(store: Store, tmp_path: Path):
    both = zipped(
        tmp_path / "z.zip",
        {"t.csv": "image,prompt\none/a.png,first\ntwo\\a.png,second\n", "one/a.png": png(1), "two/a.png": png(2)},
    )
    left = zipped(tmp_path / "x.zip", {"t.csv": "image,prompt\na.png,third\n", "a.png": png(3)})
    right = zipped(
        tmp_path / "y.zip",
        {"top/t.csv": "image,prompt\na.png,fourth\n", "top/a.png": png(4), "__MACOSX/top/._a.png": b"x"},
    )
    with laid_out([both, left, right], "folder") as sources:
        assert bring_in(store, sources, "folder", owner="ada").errors == ()
    assert shown(store) == {"first": png(1), "second": png(2), "third": png(3), "fourth": png(4)}
    with batch([both, left, right]) as pairs:
        assert {pair.prompt: pair.path.read_bytes() for pair in pairs} == shown(store)


def test_a_name_in_doubt_is_refused_by_name(store: Store, tmp_path: Path):
    entries = {"t.csv": "image,prompt\na.png,x\n", "one/a.png": png(1), "two/a.png": png(2)}
    report = rehearse(store, zipped(tmp_path / "z.zip", entries), "folder")
    assert "got 'a.png', which may be any of 2 files; wanted the whole path of one of them" in str(report.errors[0])
    table, image = tmp_path / "t.csv", tmp_path / "a.png"
    table.write_text("image,prompt\none/a.png,x\ntwo/a.png,y\nthree/b.png,z\n")
    image.write_bytes(png(1))
    with batch([table, image]) as pairs:  # a browser sends files without their folders
        assert [pair.path for pair in pairs] == [None] * 3
        assert "as may another row's" in pairs[0].problem
    table.write_text("image,prompt\none/a.png,x\n")
    with batch([table, image]) as [pair]:
        assert pair.path is not None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(png(2))
    with (
        pytest.raises(BatchError, match="got two files called a.png"),
        batch([table, image, tmp_path / "other" / "a.png"]),
    ):
        pass


def test_splits_of_an_image_folder_come_in_with_their_own_pictures(store: Store, tmp_path: Path):
    for number, split in enumerate(("train", "test")):
        (tmp_path / "set" / split).mkdir(parents=True)
        (tmp_path / "set" / split / "a.png").write_bytes(png(number))
        row = {"file_name": "a.png", "text": split}
        (tmp_path / "set" / split / "metadata.jsonl").write_text(json.dumps(row))
    assert bring_in(store, tmp_path / "set", "folder", owner="ada").records == 2
    assert shown(store) == {"train": png(0), "test": png(1)}


def flagged(file: Path, offset: int, value: int) -> Path:
    """A zip whose entries have two bytes of their headers changed, here and in the directory."""
    content = bytearray(file.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset + shift : at + offset + shift + 2] = struct.pack("<H", value)
            at = content.find(mark, at + 4)
    file.write_bytes(content)
    return file


def test_zips_that_cannot_be_unpacked_are_refused_in_one_line(store: Store, tmp_path: Path, monkeypatch):
    usual = {"t.csv": ROW, "a.png": png(1)}
    bomb = zipped(tmp_path / "bomb.zip", {**usual, "big.txt": b"\0" * 80_000_000})
    cases = {
        flagged(zipped(tmp_path / "locked.zip", usual), 6, 1): "locked with a password",
        flagged(zipped(tmp_path / "64.zip", usual), 8, 9): "compressed in a way that cannot be read here",
        zipped(tmp_path / "nested.zip", {"inner.zip": bomb.read_bytes()}): "holds another zip",
        zipped(tmp_path / "slip.zip", {**usual, "../x.png": b"x"}): "leads out of it",
        zipped(tmp_path / "none.zip", {"__MACOSX/x": b"", "Thumbs.db": b"", ".DS_Store": b""}): "holds no file",
        bomb: "unpacks to 80,000",
    }
    cut = tmp_path / "cut.zip"
    cut.write_bytes(bomb.read_bytes()[:-30])
    cases[cut] = "make the zip again"
    for file, said in cases.items():
        with pytest.raises(ImportingError) as told:
            rehearse(store, file, "folder")
        assert said in str(told.value) and len(str(told.value).splitlines()) == 1, file
    monkeypatch.setattr(archives, "MOST_FILES", 1)
    with pytest.raises(ImportingError, match="holds 2 files, wanted at most 1"):
        rehearse(store, zipped(tmp_path / "many.zip", usual), "folder")


def test_a_zip_for_which_there_is_no_room_is_not_called_damaged(store: Store, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = zipped(tmp_path / "t.zip", {"t.csv": ROW, "a.png": png(1)})
    told = "make room there, or name another temporary folder in TMPDIR"
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=21))
        need = f"wanted at most half of the 20 that are free in {tmp_path}; {told}"
        with pytest.raises(DiskFullError, match=rf"^t\.zip unpacks to [\d,]+ bytes, {need}$"):
            rehearse(store, file, "folder")

    def fails_with(number: int) -> None:
        def write(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(archives, "_write", write)

    for number in (errno.ENOSPC, errno.EDQUOT):
        fails_with(number)
        with pytest.raises(DiskFullError, match=f"^{tmp_path} is full; {told}$"):
            rehearse(store, file, "folder")
        with pytest.raises(BatchError, match=f"is full; {told}$"), batch([file]):
            pass
    fails_with(errno.EIO)
    with pytest.raises(ImportingError, match=r"^t\.zip cannot be unpacked: .*; make the zip again$"):
        rehearse(store, file, "folder")
    assert {each.name for each in tmp_path.iterdir()} == {"data", "t.zip"}


def test_what_is_written_begins_with_a_mark_and_holds_no_formula(tmp_path: Path):
    rows = [
        ["=1+1", 0.5, None],
        ["+x", -3, "-y"],
        ["@a", "\ttab", "'=kept"],
        ["＝1", "1＋1", "＠a"],
        ["ordinary", "a,b", "c\nd"],
    ]
    csv_files.write(tmp_path / "t.csv", ("a", "b", "c"), rows)
    content = (tmp_path / "t.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfa,b,c\r\n'=1+1,0.5,\r\n'+x,-3,'-y")
    found = [list(row.values()) for _, row in csv_files.read(tmp_path / "t.csv")]
    assert found == [["" if value is None else str(value) for value in row] for row in rows]
