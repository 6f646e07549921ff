"""The doctor names every way in which a real data folder was broken, and mends only what cannot lose anything."""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import preloaded
import pytest
from test_annotations_samples import aha, judged, png

from annotations import backup
from annotations.db.engine import FILE
from annotations.db.upgrade import MIGRATIONS, upgrade
from annotations.doctor import check_disk, examine, main
from annotations.errors import DirectoryError
from annotations.ops.data_repair import Finding, Severity, repair
from annotations.pictures.images import path_of
from annotations.store.listing import Filter
from annotations.store.store import open_store

ROOT = Path(__file__).parent.parent


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three drawings with six pictures, annotated; the studio is not running."""
    with open_store(tmp_path / "data") as store:
        for number in range(3):
            trajectory, pictures = aha(number, id=f"run{number}")
            store.save(trajectory, pictures, owner="ada")
            store.annotate(judged(f"run{number}", verdict_right="yes"))
    return tmp_path / "data"


def sql(data: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data / FILE)) as database:  # foreign keys are off, as in any careless tool
        for statement in statements:
            database.execute(statement)
        database.commit()


def picture(data: Path, number: int = 0) -> Path:
    return path_of(data / "images", hashlib.sha256(png(number)).hexdigest())


def found(data: Path, **options) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(data, **options)}


def wrong(data: Path, **options) -> set[str]:
    return {name for name, finding in found(data, **options).items() if finding.level is Severity.WRONG}


def test_nothing_is_wrong_with_a_healthy_folder(data: Path):
    checks = found(data, least_free=1)
    assert wrong(data, least_free=1) == set()
    assert {"sqlite", "disk", "backup", "journal", "integrity", "references", "tables"} < set(checks)
    assert {"trajectories", "copies", "traits", "lost", "damaged", "described", "orphans"} < set(checks)


def test_it_looks_while_a_studio_is_running(data: Path):
    with open_store(data) as store:
        trajectory, pictures = aha(9)
        store.save(trajectory, pictures, owner="ada")
        assert wrong(data, least_free=1) == set()


def test_an_old_sqlite_is_told_and_a_new_one_is_fine(data: Path):
    assert found(data, sqlite_version=(3, 40, 1))["sqlite"].level is Severity.NOTE
    assert "can corrupt a write-ahead log" in found(data, sqlite_version=(3, 51, 2))["sqlite"].said
    assert found(data, sqlite_version=(3, 51, 3))["sqlite"].level is Severity.FINE


def test_a_write_ahead_log_on_an_old_sqlite_is_wrong_until_it_is_mended(data: Path):
    sql(data, "PRAGMA journal_mode = wal")
    journal = found(data, sqlite_version=(3, 40, 1))["journal"]
    assert (journal.level, journal.said) == (Severity.WRONG, "journal mode wal, wanted is delete")
    assert found(data, sqlite_version=(3, 53, 0))["journal"].level is Severity.FINE


def test_a_full_disk_is_told(data: Path):
    assert "disk" in wrong(data, least_free=10**18)
    assert "wanted are 1e+06 TB: room for a copy" in found(data, least_free=10**18)["disk"].said


def a_damaged_page(data: Path) -> None:
    content = bytearray((data / FILE).read_bytes())
    content[4096 * 8 : 4096 * 8 + 64] = b"\xff" * 64
    (data / FILE).write_bytes(content)


def another_tables(data: Path) -> None:
    sql(data, "UPDATE alembic_version SET version_num = '0001'")


Break = Callable[[Path], object]
BREAKS: dict[str, tuple[Break, set[str], str]] = {
    "a damaged page of the database": (a_damaged_page, {"integrity"}, "damaged"),
    "tables of an older version": (another_tables, {"tables"}, "revision 0001, the newest are"),
    "an annotation whose drawing is gone": (
        lambda data: sql(data, "PRAGMA foreign_keys = OFF", "DELETE FROM trajectories WHERE id = 'run1'"),
        {"references"},
        "annotations to trajectories",
    ),
    "a picture's file lost": (lambda data: picture(data).unlink(), {"lost"}, "1 pictures have no file"),
    "a picture's file changed": (
        lambda data: picture(data).write_bytes(png(99)),
        {"damaged"},
        "1 pictures are damaged",
    ),
    "a picture's file cut short": (lambda data: os.truncate(picture(data), 20), {"damaged"}, picture(Path("x")).stem),
    "a body that is no JSON": (
        lambda data: sql(data, "UPDATE trajectories SET body = '{' WHERE id = 'run2'"),
        {"trajectories"},
        "1 cannot be read: run2",
    ),
    "a list that says something else": (
        lambda data: sql(data, "UPDATE trajectories SET prompt = 'x', aha = 0, cover = NULL WHERE id = 'run0'"),
        {"copies"},
        "1 are listed as something else than they say: run0",
    ),
    "a drawing without its list of pictures": (
        lambda data: sql(data, "DELETE FROM trajectory_images WHERE trajectory_id = 'run0'"),
        {"copies"},
        "run0",
    ),
    "a word that no search finds": (
        lambda data: sql(data, "DELETE FROM traits WHERE trait = CAST('word apples' AS BLOB)"),
        {"traits"},
        "1 traits are not found, or found wrongly: word apples",
    ),
    "a deleted drawing that is listed": (
        lambda data: sql(data, "INSERT INTO deletions VALUES (99, 'run0', 'ann', '2026-01-01 00:00:00.000000', NULL)"),
        {"traits"},
        "visible",
    ),
    "a picture that is not described": (
        lambda data: sql(data, f"DELETE FROM images WHERE sha256 = '{picture(data).stem}'"),
        {"references", "described"},
        "trajectory_images to images",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_named(data: Path, name: str):
    broken, checks, said = BREAKS[name]
    broken(data)
    assert checks <= wrong(data, least_free=1)
    assert any(said in finding.said for finding in found(data, least_free=1).values())
    assert main(["--data", str(data), "--json"]) == 1


@pytest.mark.parametrize(
    "name",
    [
        "a list that says something else",
        "a drawing without its list of pictures",
        "a word that no search finds",
        "a picture that is not described",
    ],
)
def test_what_can_be_mended_without_loss_is_mended(data: Path, name: str):
    with open_store(data) as store:
        before = [store.trajectory(listed.id) for listed in store.trajectories()], store.trajectories()
    BREAKS[name][0](data)
    assert wrong(data, least_free=1)
    repair(data)
    assert wrong(data, least_free=1) == set()
    with open_store(data) as store:
        assert ([store.trajectory(listed.id) for listed in store.trajectories()], store.trajectories()) == before
        assert store.trajectories(keep=Filter(search="apples", aha=True)) == before[1]


def test_a_folder_that_others_can_open_is_told(data: Path):
    data.chmod(0o755)
    assert found(data)["rights"].level is Severity.NOTE
    data.chmod(0o700)
    assert found(data)["rights"].level is Severity.FINE


def test_a_disk_that_is_nearly_full_is_told_while_the_studio_runs(data: Path):
    check_disk(data, least_free=1)
    with pytest.raises(DirectoryError, match="nearly full"):
        check_disk(data, least_free=2**62)


def test_tables_of_an_older_version_are_migrated_by_mending(tmp_path: Path):
    first = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, first)
    for later in sorted((first / "versions").glob("*.py"))[1:]:
        later.unlink()
    (tmp_path / "data").mkdir()
    upgrade(tmp_path / "data" / FILE, first)
    assert wrong(tmp_path / "data", least_free=1) == {"tables"}
    repair(tmp_path / "data")
    assert wrong(tmp_path / "data", least_free=1) == set()


@pytest.mark.parametrize("name", ["a picture's file lost", "a picture's file changed", "a body that is no JSON"])
def test_what_is_lost_is_not_hidden_by_mending(data: Path, name: str):
    broken, checks, _ = BREAKS[name]
    broken(data)
    repair(data)
    assert checks <= wrong(data, least_free=1)


def test_files_that_nothing_shows_are_told_and_moved_aside_not_removed(data: Path):
    left, young, partial = picture(data, 50), picture(data, 51), picture(data, 52).with_name(".x.partial")
    for file, content in ((left, png(50)), (young, png(51)), (partial, b"half")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for file in (left, partial):
        os.utime(file, (0, 0))
    orphans = found(data, least_free=1)["orphans"]
    assert (orphans.level, orphans.count) == (Severity.NOTE, 2)
    assert wrong(data, least_free=1) == set()
    assert len(repair(data)) == 2
    assert (data / "orphans" / left.name).read_bytes() == png(50)
    assert (data / "orphans" / ".x.partial").read_bytes() == b"half"
    assert young.is_file()  # may belong to a drawing that is being saved
    assert picture(data).is_file()
    assert found(data, least_free=1)["orphans"].level is Severity.FINE


def test_a_file_that_is_no_database_and_a_folder_without_one_are_told(data: Path, tmp_path: Path):
    assert wrong(tmp_path / "nowhere") == {"database"}
    (data / FILE).write_bytes(b"not a database at all" * 1000)
    assert "database" in wrong(data)
    assert main(["--data", str(tmp_path / "nowhere"), "--fix"]) == 1
    assert not (tmp_path / "nowhere").exists()


def test_it_says_when_the_last_backup_was(data: Path, tmp_path: Path):
    assert found(data)["backup"].level is Severity.NOTE
    backup.make(data, str(tmp_path / "target"))
    assert "backed up last at 20" in found(data)["backup"].said


def test_a_running_studio_is_not_mended(data: Path):
    if not (sqlite3.sqlite_version_info < (3, 51, 3)):
        pytest.skip("this SQLite lets several processes write")
    with open_store(data):
        done = preloaded.run("-m", "annotations.doctor", "--fix", "--data", data)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing was mended: another process already writes")


def test_the_command_tells_people_and_programs(data: Path, capsys: pytest.CaptureFixture):
    assert main(["--data", str(data)]) == 0
    assert f"nothing is wrong with {data}" in capsys.readouterr().out
    shutil.copy(picture(data), data / "copy.png")
    picture(data).unlink()
    assert main(["--data", str(data)]) == 1
    told = capsys.readouterr().out
    assert f"✗ lost         1 pictures have no file: {picture(data).stem}\n    → restore from a backup" in told
    assert main(["--data", str(data), "--json", "--fix"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["wrong"] == 1
    assert {finding["check"] for finding in report["findings"] if finding["level"] == "wrong"} == {"lost"}
