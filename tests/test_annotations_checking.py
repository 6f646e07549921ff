"""Large imports are checked in a process of their own: the same outcome, and clear ends where it is stopped or dies."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from test_annotations_staging import ROWS, table
from thoroughness import ON_SQLITE

from annotations.errors import DiskFullError, ImportingError
from annotations.importing import checking, staging
from annotations.importing.checking_process import check_in_process
from annotations.importing.importer import bring_in, rehearse
from annotations.importing.source_tables import TableSource
from annotations.ops.synthetic import write_rows
from annotations.scratch_folders import PREFIX
from annotations.store.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path, url: str | None):
    with open_store(tmp_path / "data", url) as store:
        yield store


def with_bad_rows(folder: Path) -> Path:
    source = table(folder)
    lines = (source / "t.csv").read_text("utf-8").splitlines()
    lines[3] = "missing.png,import number 2,,"
    (source / "0.png").write_bytes(b"no picture")
    (source / "t.csv").write_text("\n".join(lines), "utf-8")
    return source


def checking_processes() -> list[psutil.Process]:
    children = psutil.Process().children()  # a database server may be among them
    return [child for child in children if "annotations.importing.checking_process" in child.cmdline()]


@ON_SQLITE
def test_a_process_of_its_own_finds_what_is_found_in_this_one(store: Store, tmp_path: Path):
    source = with_bad_rows(tmp_path / "in")
    here = rehearse(store, source, "folder", drawn_by="sdxl")
    apart = rehearse(store, source, "folder", drawn_by="sdxl", bytes_in_process=0)
    assert apart == here and len(here.errors) == 2 and here.good == ROWS - 2
    told = []
    done = bring_in(
        store,
        source,
        "folder",
        owner="ada",
        drawn_by="sdxl",
        leave_out_bad=True,
        on_progress=lambda *step: told.append(step),
        bytes_in_process=0,
    )
    assert done.records == ROWS - 2 and done.errors == here.errors
    assert told[-1] == ("storing", ROWS - 2, ROWS - 2)
    again = rehearse(store, source, "folder", drawn_by="sdxl", bytes_in_process=0)
    assert again.already == ROWS - 2 and again.good == 0
    for id in store.imported(done.batch):
        drawn = store.trajectory(id)
        assert drawn.checkpoint == "sdxl" and store.picture(drawn.segments[0].sha256)


@ON_SQLITE
@pytest.mark.parametrize("check", [checking.check, check_in_process])
def test_a_disk_that_fills_with_checked_records_is_told_the_same_way(store: Store, tmp_path: Path, check: Callable):
    source, scratch = table(tmp_path / "in"), tmp_path / "tmp" / f"{PREFIX}1-x"
    scratch.mkdir(parents=True)
    checked = scratch / "checked"
    checked.symlink_to("/dev/full")
    sources = (TableSource(source / "t.csv", source, "t.csv"),)
    job = checking.CheckJob(sources, "folder", "sdxl", "ada", store.clock(), checked)
    with pytest.raises(DiskFullError, match=f"^{scratch.parent} is full; make room there"):
        check(store, job, lambda done, total: None)


def test_a_file_that_cannot_be_read_is_told_the_same_way(store: Store, tmp_path: Path):
    (tmp_path / "rows.json").write_text("{", "utf-8")
    with pytest.raises(ImportingError) as here:
        rehearse(store, tmp_path / "rows.json", "ours")
    with pytest.raises(ImportingError) as apart:
        rehearse(store, tmp_path / "rows.json", "ours", bytes_in_process=0)
    assert str(apart.value) == str(here.value)


@ON_SQLITE
def test_stopping_an_import_ends_its_process_and_keeps_nothing(store: Store, tmp_path: Path):
    write_rows(tmp_path / "rows.jsonl", 3000)
    seen = []

    def stop(stage: str, _done: int, _total: int) -> None:
        seen.append((stage, checking_processes()))
        staging.cancel(store)

    with pytest.raises(staging.Cancelled):
        bring_in(store, tmp_path / "rows.jsonl", "ours", owner="ada", on_progress=stop)
    assert seen and all(stage == "checking" for stage, _ in seen)
    assert not [child for _, children in seen for child in children if child.is_running()]
    assert staging.under_way(store) is None and not store.trajectories(limit=1)


@ON_SQLITE
def test_a_process_that_is_killed_is_told_and_nothing_is_kept(store: Store, tmp_path: Path):
    write_rows(tmp_path / "rows.jsonl", 3000)

    def kill(stage: str, _done: int, _total: int) -> None:
        for child in checking_processes():
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(ImportingError, match="ended with -9 before it was done"):
        bring_in(store, tmp_path / "rows.jsonl", "ours", owner="ada", on_progress=kill)
    assert staging.under_way(store) is None and not store.trajectories(limit=1)


@ON_SQLITE
def test_paths_are_those_of_whoever_asks(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    table(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    inside = replace(store.database, directory=Path(os.path.relpath(store.database.directory)))
    assert rehearse(Store(inside), Path("in"), "folder", bytes_in_process=0).good == ROWS
