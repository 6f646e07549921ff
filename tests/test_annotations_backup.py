"""Backups while the studio runs, into a folder that stands in for the Hub, and back."""

import errno
import json
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from commands import run
from test_annotations_samples import aha, judged

from annotations import backup
from annotations.backup import MANIFEST, keep_backing_up, last, make, restore, unpack, written
from annotations.db.engine import FILE
from annotations.db.locks import maintenance_lock
from annotations.errors import AnnotationsError, BackupError, DiskFullError
from annotations.ops.backup_target import BackupTarget
from annotations.processes.periodic import run_periodically
from annotations.store.store import Store, open_store


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
    stop, first = threading.Event(), saved(store, 1000)

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
        assert first in {one.id for one in listed}
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


def test_a_full_disk_of_temporary_folders_is_named_by_a_backup_and_by_a_restore(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target, temporary = tmp_path / "target", tmp_path / "temporary"
    temporary.mkdir()
    saved(store, 1)
    make(store.database.directory, str(target))

    def full(of: object, name: object, to: Path = temporary) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(to))

    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(backup, "_copy", full)
    monkeypatch.setattr(BackupTarget, "get", full)
    for call in (
        lambda: make(store.database.directory, str(target)),
        lambda: restore(str(target), tmp_path / "again"),
    ):
        with pytest.raises(DiskFullError, match=f"^{temporary} is full; make room there"):
            call()
    assert not (tmp_path / "again" / FILE).exists()


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

    run_periodically(act, timedelta(seconds=0.01), "test")
    assert done.wait(30)


def test_the_command_makes_and_restores(store: Store, tmp_path: Path):
    saved(store, 1)
    for do, data in (("make", store.database.directory), ("restore", tmp_path / "again")):
        done = run("annotations.backup", do, tmp_path / "target", "--data", data)
        assert done.stdout.startswith("backup of 20"), done.stderr
    with closing(sqlite3.connect(tmp_path / "again" / FILE)) as database:
        assert database.execute("SELECT count(*) FROM trajectories").fetchone() == (1,)


def kinds(target: Path) -> list[str]:
    return sorted(file.name for file in target.iterdir())


@pytest.mark.parametrize("kept", [0, 1, 200])
def test_a_manifest_that_is_cut_short_ends_neither_restores_nor_further_backups(
    store: Store, tmp_path: Path, kept: int
):
    target, folder = tmp_path / "target", store.database.directory
    saved(store, 1)
    make(folder, str(target))
    saved(store, 2)
    make(folder, str(target))
    (target / MANIFEST).write_bytes((target / MANIFEST).read_bytes()[:kept])
    with restored(target, tmp_path / "again") as again:
        assert whole(store, again)
    saved(store, 3)
    make(folder, str(target))
    with restored(target, tmp_path / "third") as again:
        assert whole(store, again)


def test_where_every_manifest_is_cut_short_what_is_there_comes_back_and_is_not_added_to(store: Store, tmp_path: Path):
    target = tmp_path / "target"
    saved(store, 1)
    make(store.database.directory, str(target))
    for manifest in target.glob("backup*.json"):
        manifest.write_text("{")
    with pytest.raises(BackupError, match="cut short"):
        make(store.database.directory, str(target))
    with restored(target, tmp_path / "again") as again:
        assert whole(store, again)


def killed_at(step: int, folder: Path, target: Path) -> bool:
    """Make a backup in a process that ends at this of its openings, moves and removals there; whether it did."""
    left = step

    def count(event: str, given: tuple) -> None:
        nonlocal left
        if event in ("os.rename", "os.remove") or (event == "open" and str(given[0]).startswith(str(target))):
            left -= 1
            if left < 0:
                os._exit(9)

    if (child := os.fork()) == 0:
        try:
            sys.addaudithook(count)
            make(folder, str(target))
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def test_a_backup_that_is_killed_anywhere_leaves_a_target_that_goes_on(store: Store, tmp_path: Path):
    target, folder = tmp_path / "target", store.database.directory
    saved(store, 1)
    make(folder, str(target))
    before = [one.id for one in store.trajectories()]
    saved(store, 2)
    for step in range(0, 60, 4):
        killed = killed_at(step, folder, target)
        with restored(target, tmp_path / f"again-{step}") as again:
            found = [one.id for one in again.trajectories()]
            assert found == before or whole(store, again)
        if not killed:
            break
    make(folder, str(target))
    assert not list(target.glob("*.partial")) and not list(target.glob(".*.partial"))
    with restored(target, tmp_path / "last") as again:
        assert whole(store, again)


def test_a_clock_that_was_set_back_leaves_no_picture_out(store: Store, tmp_path: Path):
    target, folder = tmp_path / "target", store.database.directory
    saved(store, 1)
    make(folder, str(target))
    saved(store, 2)
    for picture in (folder / "images").rglob("*.png"):
        os.utime(picture, (0, 0))  # as a clock says that was set back
    make(folder, str(target))
    with restored(target, tmp_path / "again") as again:
        assert whole(store, again)


def test_a_clock_that_was_set_back_holds_up_no_backup(store: Store, tmp_path: Path):
    target, folder = tmp_path / "target", store.database.directory
    saved(store, 1)
    ahead = json.loads(json.dumps(make(folder, str(target)).made_at))
    saved(store, 2)
    os.utime(folder / FILE, (0, 0))
    keep_backing_up(folder, str(target), timedelta(hours=1))
    until = time.monotonic() + 30
    while json.loads((target / MANIFEST).read_text())["made_at"] == ahead and time.monotonic() < until:
        time.sleep(0.1)
    with restored(target, tmp_path / "again") as again:
        assert whole(store, again)


def test_a_target_of_before_without_a_list_of_pictures_goes_on(store: Store, tmp_path: Path):
    target, folder = tmp_path / "target", store.database.directory
    saved(store, 1)
    make(folder, str(target))
    for file in (*target.glob("*.txt"), *target.glob("backup-*.json")):
        file.unlink()
    told = json.loads((target / MANIFEST).read_text())
    del told["index"]
    (target / MANIFEST).write_text(json.dumps(told))
    saved(store, 2)
    make(folder, str(target))
    with restored(target, tmp_path / "again") as again:
        assert whole(store, again)


def test_a_picture_that_a_purge_removes_meanwhile_stops_no_backup(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gone, kept = saved(store, 1), saved(store, 2)
    lost = store.trajectory(gone).images[0].sha256
    known = backup._pictures

    def purged(copy: Path) -> set[str]:
        (store.database.directory / "images" / lost[:2] / f"{lost}.png").unlink(missing_ok=True)
        return known(copy)

    store.hide(gone, by="ada")
    monkeypatch.setattr(backup, "_pictures", purged)
    make(store.database.directory, str(tmp_path / "target"))
    with restored(tmp_path / "target", tmp_path / "again") as again:
        assert [one.id for one in again.trajectories()] == [kept]


def test_backups_and_purges_of_a_folder_take_turns(store: Store, tmp_path: Path):
    saved(store, 1)
    done: list[str] = []
    with maintenance_lock(store.database.directory):
        acts = {"backup": lambda: make(store.database.directory, str(tmp_path / "target")), "purge": store.purge}
        threads = [
            threading.Thread(target=lambda name=name, act=act: (act(), done.append(name))) for name, act in acts.items()
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        assert done == []
    for thread in threads:
        thread.join(30)
    assert sorted(done) == ["backup", "purge"]


def test_targets_that_cannot_be_are_refused_with_a_reason(store: Store, tmp_path: Path, monkeypatch):
    folder = store.database.directory
    (tmp_path / "file").write_text("")
    for target, why in (
        ("/proc/x", "cannot be written"),
        (str(tmp_path / "file"), "cannot be written"),
        (str(tmp_path / "file" / "below"), "cannot be written"),
        (str(folder), "inside the data folder"),
        (str(folder / "images" / ".." / "backups"), "inside the data folder"),
        ("nosuch://place", "cannot be written"),
    ):
        with pytest.raises(BackupError, match=why):
            backup.check_target(target, folder)
    backup.check_target(str(tmp_path / "target"), folder)
    assert kinds(tmp_path / "target") == []
    monkeypatch.setattr("annotations.ops.backup_target.LEAST_FREE", 2**60)
    with pytest.raises(BackupError, match="make room"):
        backup.check_target(str(tmp_path / "target"), folder)


def test_data_and_backups_are_for_their_owner_only(tmp_path: Path):
    data, target = tmp_path / "new" / "data", tmp_path / "target"
    before = os.umask(0o022)
    try:
        with open_store(data) as store:
            saved(store, 1)
            make(data, str(target))
        restore(str(target), tmp_path / "again")
    finally:
        os.umask(before)
    for folder in (data, tmp_path / "again"):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    assert all(file.stat().st_mode & 0o077 == 0 for file in target.iterdir())


def test_nothing_is_unpacked_outside_of_its_folder_by_an_older_python_either(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)  # as before Python 3.11.4
    for name, is_link in (("../outside.png", False), ("/outside.png", False), ("link.png", True)):
        with tarfile.open(tmp_path / "packed.tar", "w") as packed:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = (tarfile.SYMTYPE, "/etc/passwd") if is_link else (tarfile.REGTYPE, "")
            packed.addfile(member)
        with (
            tarfile.open(tmp_path / "packed.tar") as packed,
            pytest.raises(BackupError, match="no picture of a backup"),
        ):
            unpack(packed, tmp_path / "images")
    with tarfile.open(tmp_path / "packed.tar", "w") as packed:
        packed.addfile(tarfile.TarInfo("ab/one.png"))
    with tarfile.open(tmp_path / "packed.tar") as packed:
        unpack(packed, tmp_path / "images")
    assert [file.name for file in (tmp_path / "images").rglob("*.png")] == ["one.png"]
