"""What was deleted is gone for good a day later, unless somebody's work refers to it."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Pool, event, text
from test_annotations_samples import aha, judged
from thoroughness import ON_POSTGRES

from annotations.db.engine import Database, open_database, open_server
from annotations.errors import NotFoundError
from annotations.store.store import Store, open_store
from model.trajectory import Parent

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        store.clock = Clock()
        yield store


def files(store: Store) -> set[str]:
    return {path.stem for path in (store.database.directory / "images").rglob("*.png")}


def saved(store: Store, number: int, **changed) -> str:
    trajectory, pictures = aha(number)
    return store.save(replace(trajectory, **changed), pictures, owner="ada")


def later(store: Store, **time: float) -> None:
    store.clock.now += timedelta(**time)


def test_a_deleted_drawing_and_its_pictures_are_gone_a_day_later(store: Store):
    run, other = saved(store, 1), saved(store, 2)
    kept = set(images_of(store, other))
    store.hide(run, by="ada")
    assert (store.purge(), len(store.trajectories())) == (0, 1)
    later(store, days=1, seconds=1)
    assert (store.purge(), store.purge()) == (1, 0)
    assert files(store) == kept
    assert store.trajectory(other)
    with pytest.raises(NotFoundError):
        store.trajectory(run)


def images_of(store: Store, run: str) -> list[str]:
    return [image.sha256 for image in store.trajectory(run).images]


def test_a_picture_that_another_drawing_shows_stays(store: Store):
    run, twin = saved(store, 1, id="one"), saved(store, 1, id="two")
    store.hide(run, by="ada")
    later(store, days=2)
    assert store.purge() == 1
    assert all(store.picture(sha256) for sha256 in images_of(store, twin))


def test_what_somebody_annotated_or_went_on_from_is_kept_and_stays_hidden(store: Store):
    annotated, parent = saved(store, 1), saved(store, 2)
    branch = saved(store, 3, parent=Parent(parent, 1, 0))
    store.annotate(judged(annotated, verdict_right="yes"))
    for run in (annotated, parent):
        store.hide(run, by="ada")
    later(store, days=2)
    assert store.purge() == 0
    store.hide(branch, by="ada")
    later(store, days=2)
    assert store.purge() == 2  # the branch, and now its parent, too
    assert len(files(store)) > 0


def test_a_recorded_example_stays_hidden(store: Store):
    trajectory, pictures = aha(1)
    run = store.save(trajectory, pictures, owner="recorded", recorded=True)
    store.hide(run, by="ada")
    later(store, days=2)
    assert (store.purge(), store.trajectories()) == (0, [])


def test_nothing_that_is_not_deleted_is_ever_purged(store: Store):
    saved(store, 1)
    later(store, days=1000)
    assert store.purge() == 0
    assert len(store.trajectories()) == 1


def test_a_drawing_can_be_saved_again_after_its_picture_was_removed(store: Store):
    store.hide(saved(store, 1, id="one"), by="ada")
    later(store, days=2)
    store.purge()
    again = saved(store, 1, id="two")
    assert all(store.picture(sha256) for sha256 in images_of(store, again))


SAVING_AND_PURGING = """
import sys
from datetime import timedelta
from pathlib import Path
from test_annotations_samples import aha
import os
import subprocess
import sys
from dataclasses import replace
from annotations.db.engine import Database, open_database, open_server
from annotations.store.store import Store

folder, url, me = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = Store(open_server(folder, url) if url else open_database(folder, sqlite_version=(3, 51, 3)))
for number in range(int(sys.argv[4])):
    trajectory, pictures = aha(number % 2)  # the same few pictures everywhere
    run = store.save(replace(trajectory, id=f"{me}-{number}"), pictures, owner=me)
    if number % 5:
        store.hide(run, by=me)
        store.purge(timedelta(seconds=-60))
"""


@ON_POSTGRES
def test_two_processes_on_one_folder_lose_no_picture_of_a_visible_drawing(
    url: str | None, tmp_path: Path, thorough: bool
):
    root = Path(__file__).parent
    here = os.environ | {"PYTHONPATH": f"{root.parent}{os.pathsep}{root}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SAVING_AND_PURGING, str(tmp_path), url or ""]
    rounds = "300" if thorough else "10"
    piped = {"env": here, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([*command, name, rounds], **piped) for name in ("one", "two")]
    for process in both:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    database = open_server(tmp_path, url) if url else open_database(tmp_path, sqlite_version=(3, 51, 3))
    with Store(database) as store:
        runs = store.trajectories(limit=200)
        assert len(runs) == 2 * int(rounds) // 5
        assert all(store.picture(sha256) for run in runs for sha256 in images_of(store, run.id))


class Purging:
    """A database beside which another process purges, just before each writing transaction."""

    def __init__(self, database: Database, other: Store) -> None:
        self._database, self._other = database, other

    def __getattr__(self, name: str):
        return getattr(self._database, name)

    def writing(self):
        self._other.purge(timedelta(seconds=-60))
        return self._database.writing()


def test_a_picture_that_another_process_purges_while_it_is_saved_again_is_there(tmp_path: Path):
    sound = {"sqlite_version": (3, 51, 3)}
    with Store(open_database(tmp_path, **sound)) as other, Store(open_database(tmp_path, **sound)) as store:
        store.hide(saved(store, 1), by="ada")
        store.database = Purging(store.database, other)
        run = saved(store, 1)
        assert all(store.picture(sha256) for sha256 in images_of(store, run))


@pytest.mark.parametrize("version", [(3, 51, 2), (3, 51, 3)], ids=["rollback journal", "write-ahead log"])
def test_nothing_of_a_purged_drawing_is_left_in_the_files_of_the_database(tmp_path: Path, version: tuple[int, ...]):
    def keep_what_is_deleted(dbapi, _record) -> None:
        dbapi.execute("PRAGMA secure_delete = OFF")  # as most builds of SQLite begin

    event.listen(Pool, "connect", keep_what_is_deleted)
    try:
        database = open_database(tmp_path, sqlite_version=version)
        with Store(database) as store:
            words = [f"a zebra that is called {number}" * 9 for number in range(40)]
            runs = [saved(store, 1, id=f"run{number}", prompt=prompt) for number, prompt in enumerate(words)]
            for run in runs[1:]:
                store.hide(run, by="ada")
            assert store.purge(timedelta(seconds=-60)) == 39
            held = b"".join(file.read_bytes() for file in tmp_path.glob("studio.db*"))
            assert [number for number, prompt in enumerate(words) if prompt.encode() in held] == [0]
            with database.reading() as session:
                assert session.scalar(text("PRAGMA secure_delete")) == 1
    finally:
        event.remove(Pool, "connect", keep_what_is_deleted)
