"""Every kind of the registry loads with `datasets` and pandas as its files stand, by the line that its card has."""

import re
from collections.abc import Iterator
from pathlib import Path

import datasets
import pandas as pd
import pytest
from export_store import filled
from foreign_records import flow_prompts
from test_export_formats import rounds

from annotations.export.exporter import export
from annotations.export.manifest import CARD
from annotations.export.registry import KINDS
from annotations.importing.importer import bring_in
from annotations.store.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("loading")
    store, _ = filled(folder / "data")
    with store:
        for number in range(30, 33):
            rounds(store, number)
        bring_in(store, flow_prompts(folder), owner="ada")
        yield store


def read_by_pandas(file: Path) -> pd.DataFrame:
    match file.suffix:
        case ".parquet":
            return pd.read_parquet(file)
        case ".jsonl":
            return pd.read_json(file, lines=True)
        case ".txt":
            return pd.read_fwf(file, header=None, widths=[10_000], names=["text"])
    raise AssertionError(f"pandas reads no {file.suffix}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_loads_with_datasets_and_pandas_by_the_line_of_its_card(store, tmp_path, monkeypatch, kind):
    manifest = export(store, kind, tmp_path / "out")
    [line] = re.findall(r"rows = (load_dataset\(.*\))", (tmp_path / "out" / CARD).read_text("utf-8"))
    monkeypatch.chdir(tmp_path / "out")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = eval(line, {"load_dataset": datasets.load_dataset})
    assert rows.num_rows == manifest.examples > 0
    if KINDS[kind].layout == "webdataset":  # whose columns are the members' extensions
        assert {"__key__", *KINDS[kind].features} <= set(rows.column_names)
        frame = rows.to_pandas()
    else:
        assert set(rows.column_names) == set(KINDS[kind].features)
        frame = pd.concat([read_by_pandas(tmp_path / "out" / file.name) for file in manifest.files])
        assert set(frame.columns) == set(KINDS[kind].features)
    assert len(frame) == manifest.examples
    for name, feature in KINDS[kind].features.items():
        if feature == datasets.Value("string") and not isinstance(frame.iloc[0].get(name), float):
            assert rows[0][name] == frame.iloc[0][name], name
    assert rows.with_format("arrow")[:] is not None and rows[len(rows) - 1]  # also the last, with its pictures
