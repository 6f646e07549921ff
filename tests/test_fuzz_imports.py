"""Rows of every import format with values of any kind: each comes in exactly as it was, or is told; nothing breaks."""

import csv
import io
import json
import tempfile
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_annotations_samples import aha, png

from annotations.errors import ImportingError
from annotations.importing import csv_files
from annotations.importing.importer import bring_in, records, rehearse
from annotations.importing.records import RowError
from annotations.store.store import Store, open_store

CASES = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
words = st.text(max_size=12)
strange = st.sampled_from(
    ["", " ", "a\0b", "\ud800", "=1+1", "../a.png", "C:\\x\\a.png", "x" * 300, "'=x", "Yes, it is.", "no"]
)
plain = st.none() | st.booleans() | st.integers() | st.floats() | words | strange
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)
picture = st.sampled_from(["a.png", "b.png", "./a.png", "sub\\c.png"]) | values


def row_of(**usual: st.SearchStrategy) -> st.SearchStrategy[dict]:
    """Mostly what a format has, and anything in its place."""
    fields = {name: st.one_of(one, one, one, values) for name, one in usual.items()}
    return st.fixed_dictionaries({}, optional=fields) | st.fixed_dictionaries(fields)


datum = row_of(
    id=st.integers(0, 9), img_path=picture, reason=st.sampled_from(["Yes, fine.", "No, one is red."]),
    prob=st.floats(0, 1), state=st.integers(0, 4),
)  # fmt: skip
ROWS = {
    "folder": row_of(
        file_name=picture, prompt=st.just("two red apples"), verdict=st.sampled_from(["yes", "no", True, ""]),
        p_yes=st.sampled_from([0.9, "0,9", "0.5", 1]), reason=words, model=st.sampled_from(["flux", 3, None]),
    ),
    "janus_sft": row_of(promptid=st.integers(0, 99), prompt=words, data=st.lists(datum, min_size=1, max_size=2)),
    "pickapic": row_of(
        caption=words, image_0_uid=st.just("a"), image_1_uid=st.just("b"), label_0=st.floats(0, 1),
        label_1=st.floats(0, 1), ranking_id=st.integers(),
    ),
    "richhf": row_of(
        filename=picture, prompt=words, aesthetics_score=st.floats(), artifact_score=st.floats(),
        misalignment_score=st.floats(), overall_score=st.floats(),
    ),
}  # fmt: skip
TRAJECTORY = aha(1)[0].to_dict() | {"id": "", "created_at": "2026-01-01T00:00:00+00:00"}
ours = st.dictionaries(st.sampled_from([*TRAJECTORY, "note"]), values, max_size=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    with open_store(tmp_path_factory.mktemp("data")) as store:
        trajectory, pictures = aha(1)
        store.save(trajectory, pictures, owner="visitor")  # so that its pictures are stored
        yield store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    for number, name in enumerate(("a.png", "b.png", "sub/c.png")):
        (folder / name).write_bytes(png(number))
    return folder


def whole(store: Store, file: Path, format: str, folder: Path, rows: list) -> None:
    """Every row is there as it was, or told by its number."""
    foretold = rehearse(store, file, format, images=folder)
    report = bring_in(store, file, format, images=folder, owner="ada", leave_out_bad=True)
    assert report.errors == foretold.errors and report.good == foretold.good == report.records
    told = {error.row for error in report.errors}
    assert len(told) + report.records + report.already == len(rows)
    assert all(len(f"{error}") < 2000 for error in report.errors)
    good = [row for number, row in enumerate(rows, start=1) if number not in told]
    if not report.already and report.records:
        assert _same(list(records(store, report.batch)), good)


def _same(got: list, wanted: list) -> bool:
    def said(value: object) -> str:
        return json.dumps(value, sort_keys=True)  # NaN equals itself here

    return [said(one) for one in got] == [said(one) for one in wanted]


@pytest.mark.parametrize("format", ROWS)
@CASES
@given(data=st.data())
def test_rows_of_json_are_imported_exactly_or_told(store, folder, format, data):
    rows = data.draw(st.lists(ROWS[format], min_size=1, max_size=6))
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "t.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        whole(store, file, format, folder, rows)


@CASES
@given(changes=st.lists(ours, min_size=1, max_size=4))
def test_trajectories_are_imported_exactly_or_told(store, folder, changes):
    rows = [TRAJECTORY | change for change in changes]
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "t.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        foretold = rehearse(store, file, "ours")
        report = bring_in(store, file, "ours", owner="ada", leave_out_bad=True)
        assert report.errors == foretold.errors
        assert len(report.errors) + report.records + report.already == len(rows)


@CASES
@given(rows=st.lists(st.dictionaries(st.sampled_from(["file_name", "prompt", "x"]), values), min_size=1, max_size=4))
def test_rows_of_parquet_are_imported_or_told(store, folder, rows):
    with tempfile.TemporaryDirectory() as name:
        try:
            columns = {one: pa.array([row.get(one) for row in rows]) for one in ("file_name", "prompt", "x")}
            pq.write_table(pa.table(columns), f"{name}/t.parquet")
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            return  # there can be no such table
        report = bring_in(store, Path(name) / "t.parquet", "folder", images=folder, owner="a", leave_out_bad=True)
        assert len(report.errors) + report.records + report.already == len(rows)


cells = st.lists(words | strange.filter(lambda cell: "\ud800" not in cell), min_size=3, max_size=3)


@CASES
@given(
    rows=st.lists(cells, max_size=6),
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_tables_of_others_are_read_as_they_were_written(rows, delimiter, quoting):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([("image", "prompt", "x"), *rows])
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "t.csv"
        try:
            file.write_bytes(text.getvalue().encode())
        except UnicodeEncodeError:
            return
        found = [row for _, row in csv_files.read(file)]
    left = [row for row in rows if any(cell.strip() for cell in row)]
    assert len(found) == len(left)
    for row, cells in zip(found, left, strict=True):
        if isinstance(row, RowError):
            assert any("\0" in cell for cell in cells)
        else:
            unguarded = [
                cell[1:] if cell[:1] == "'" and cell.lstrip("'")[:1] in tuple("=+-@\t\r\n") else cell for cell in cells
            ]
            assert list(row.values()) == unguarded


@CASES
@given(
    rows=st.lists(
        st.lists(
            words | st.sampled_from(["=1", "'=1", "''+", "-1", "@x", "\tx", "\rx", '"', "a\nb", " x "]),
            min_size=2,
            max_size=2,
        )
    )
)
def test_what_is_written_is_read_as_it_was_and_starts_no_formula(rows):
    kept = [
        row
        for row in rows
        if any(cell.strip() for cell in row) and not any("\0" in c or "\ud800" <= c[:1] <= "\udfff" for c in row)
    ]
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "t.csv"
        csv_files.write(file, ("one", "two"), kept)
        assert file.read_bytes().startswith(b"\xef\xbb\xbf")
        with file.open(encoding="utf-8-sig", newline="") as opened:
            assert not any(cell[:1] in tuple("=+-@\t\r\n") for row in csv.reader(opened) for cell in row if cell)
        assert [list(row.values()) for _, row in csv_files.read(file)] == kept


@CASES
@given(content=st.binary(max_size=200), ending=st.sampled_from([".csv", ".jsonl", ".json", ".parquet", ".zip", ".tsv"]))
def test_files_of_any_bytes_are_refused_in_words_or_read(store, content, ending):
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        file = Path(name) / f"t{ending}"
        file.write_bytes(content)
        for format in (*ROWS, "ours"):
            try:
                assert rehearse(store, file, format).records == 0
            except ImportingError as error:
                assert len(str(error).splitlines()) == 1
