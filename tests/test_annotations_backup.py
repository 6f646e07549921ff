"""Backups while the studio runs, into a folder that stands in for the Hub, and back."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from test_annotations_samples import aha, judged

from annotations import backup
from annotations.background import keep_doing
from annotations.backup import MANIFEST, keep_backing_up, last, make, restore, written
from annotations.database import FILE
from annotations.errors import AnnotationsError, BackupError
from annotations.store import Store, open_store

ROOT = Path(__file__).parent.parent


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def saved(store: Store, number: int) -> str:
    trajectory, pictures = aha(number)
    return store.save(trajectory, pictures, owner="ada")


def restored(target: Path, folder: Path) -> Store:
    assert restore(str(target), folder)
    return open_store(folder)


def whole(store: Store, other: Store) -> bool:
    """Whether another store has the same drawings, with their pictures, and the same annotations."""
    runs = [one.id for one in store.trajectories()]
    pictures = [image.sha256 for run in runs for image in store.trajectory(run).images]
    return (
        runs == [one.id for one in other.trajectories()]
        and all(store.trajectory(run) == other.trajectory(run) for run in runs)
        and all(store.picture(sha256) == other.picture(sha256) for sha256 in pictures)
        and store.annotations() == other.annotations()
    )


def test_what_was_backed_up_comes_back_whole(store: Store, tmp_path: Path):
    store.annotate(judged(saved(store, 1), verdict_right="yes"))
    make(store.database.directory, str(tmp_path / "target"))
    saved(store, 2)
    make(store.database.directory, str(tmp_path / "target"))
    with restored(tmp_path / "target", tmp_path / "again") as again:
        assert whole(store, again)


def test_a_backup_made_while_others_write_is_of_one_moment(store: Store, tmp_path: Path):
    stop = threading.Event()

    def write() -> None:
        for number in range(1000):
            if stop.is_set():
                return
            saved(store, number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            make(store.database.directory, str(tmp_path / "target"))
    finally:
        stop.set()
        writer.join()
    with restored(tmp_path / "target", tmp_path / "again") as again:
        listed = again.trajectories(limit=200)
        assert listed
        for one in listed:
            assert all(again.picture(image.sha256) for image in again.trajectory(one.id).images)


def test_pictures_are_copied_once_and_few_databases_are_kept(store: Store, tmp_path: Path):
    target, folder = tmp_path / "target", store.database.directory
    saved(store, 1)
    make(folder, str(target))
    for picture in (folder / "images").rglob("*.png"):
        os.utime(picture, (0, 0))  # written long before
    for _ in range(5):
        make(folder, str(target))
    assert len(list(target.glob("*.tar"))) == 1
    assert len(list(target.glob("*.db"))) == backup.DATABASES


def test_a_backup_that_is_cut_short_leaves_the_last_one(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "target"
    saved(store, 1)
    first = make(store.database.directory, str(target))
    saved(store, 2)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_pack", full)
    with pytest.raises(BackupError, match="No space left"):
        make(store.database.directory, str(target))
    assert json.loads((target / MANIFEST).read_text())["made_at"] == first.made_at
    with restored(target, tmp_path / "again") as again:
        assert len(again.trajectories()) == 1


def test_a_damaged_copy_a_full_folder_and_another_studio_are_refused(store: Store, tmp_path: Path):
    target, folder = tmp_path / "target", store.database.directory
    saved(store, 1)
    made = make(folder, str(target))
    with pytest.raises(BackupError, match="may be newer"):
        restore(str(target), folder)
    with open_store(tmp_path / "other"), pytest.raises(BackupError, match="another studio"):
        make(tmp_path / "other", str(target))
    copy = target / made.databases[-1]
    copy.write_bytes(copy.read_bytes()[:5000])
    with pytest.raises(BackupError):
        restore(str(target), tmp_path / "again")
    assert not (tmp_path / "again" / FILE).exists()


def test_nothing_to_restore_is_no_error_and_nothing_to_back_up_is_one(tmp_path: Path):
    assert restore(str(tmp_path / "nothing"), tmp_path / "data") is None
    with pytest.raises(BackupError, match="there is no"):
        make(tmp_path, str(tmp_path / "target"))


def test_the_studio_backs_up_by_itself_and_says_when_it_did(store: Store, tmp_path: Path):
    folder = store.database.directory
    assert last(folder) is None
    keep_backing_up(folder, str(tmp_path / "target"), timedelta(seconds=0.1))
    saved(store, 1)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if last(folder):
            shutil.rmtree(tmp_path / "again", ignore_errors=True)
            with restored(tmp_path / "target", tmp_path / "again") as again:
                if whole(store, again):
                    return
        time.sleep(0.2)
    pytest.fail("no backup")


def test_what_is_only_in_the_write_ahead_log_is_a_reason_to_back_up(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE things (name)")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = written(tmp_path)
        time.sleep(0.05)
        database.execute("INSERT INTO things VALUES ('one')")
        assert written(tmp_path) > before


def test_a_picture_that_was_deleted_since_does_not_come_back(store: Store, tmp_path: Path):
    folder, target = store.database.directory, str(tmp_path / "target")
    gone, kept = saved(store, 1), saved(store, 2)
    make(folder, target)
    store.hide(gone, by="ada")
    store.purge(timedelta(0))
    make(folder, target)
    with restored(tmp_path / "target", tmp_path / "again") as again:
        assert [one.id for one in again.trajectories()] == [kept]
        there = {file.name for file in (tmp_path / "again" / "images").glob("??/*.png")}
        assert there == {f"{image.sha256}.png" for image in store.trajectory(kept).images}


def test_what_is_done_now_and_then_goes_on_after_a_failure():
    done = threading.Event()
    acts = iter((OSError("disk full"), AnnotationsError("locked"), None))

    def act() -> None:
        if (problem := next(acts)) is not None:
            raise problem
        done.set()
        threading.Event().wait()

    keep_doing(act, timedelta(seconds=0.01), "test")
    assert done.wait(30)


def test_the_command_makes_and_restores(store: Store, tmp_path: Path):
    saved(store, 1)
    for do, data in (("make", store.database.directory), ("restore", tmp_path / "again")):
        command = [sys.executable, "-m", "annotations.backup", do, str(tmp_path / "target"), "--data", str(data)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.stdout.startswith("backup of 20"), done.stderr
    with closing(sqlite3.connect(tmp_path / "again" / FILE)) as database:
        assert database.execute("SELECT count(*) FROM trajectories").fetchone() == (1,)
