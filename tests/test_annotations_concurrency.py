"""Many at once: threads, processes, processes that are killed; with a write-ahead log and without."""

import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_annotations_samples import aha, judged
from unsynced import SYNCED_ENGINE

from annotations.db import engine
from annotations.db.engine import FILE, has_wal_bug, open_database
from annotations.errors import BusyError
from annotations.store.store import Store, open_store

ROOT = Path(__file__).parent.parent
OLD, SOUND = (3, 40, 1), (3, 51, 3)
WRITER = """
import sys
from pathlib import Path
from annotations.schema.annotation import Annotation
from annotations.store.store import open_store

store = open_store(Path(sys.argv[1]))
for number in range(100_000):
    key = f"key-{number}"
    store.annotate(Annotation(sys.argv[2], 2, f"annotator {number}", {"verdict_right": "yes"}, key=key))
    print(key, flush=True)
"""


def saved(store: Store) -> str:
    trajectory, pictures = aha()
    return store.save(trajectory, pictures, owner="visitor")


def journal(directory: Path) -> str:
    connection = sqlite3.connect(directory / FILE)
    try:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]
    finally:
        connection.close()


def test_the_versions_with_the_bug_are_known():
    assert [has_wal_bug(v) for v in ((3, 6, 23), (3, 7, 0), OLD, (3, 51, 2), SOUND, (3, 53, 0))] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("version", [OLD, SOUND])
def test_sixteen_threads_lose_nothing_and_are_never_locked_out(tmp_path, version, thorough):
    count = 20 if thorough else 6
    store = Store(open_database(tmp_path, sqlite_version=version))
    trajectory_id = saved(store)
    stop = threading.Event()

    def annotate(thread: int) -> None:
        for number in range(count):
            answer = "yes" if number % 2 else "no"
            store.annotate(judged(trajectory_id, 2 + thread % 2 * 2, f"annotator {thread}", verdict_right=answer))

    def read() -> None:
        while not stop.is_set():
            store.counts()
            store.annotations(trajectory_id)

    with ThreadPoolExecutor(18) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for done in [pool.submit(annotate, thread) for thread in range(16)]:
            done.result(timeout=120)
        stop.set()
        for reader in readers:
            reader.result(timeout=30)
    history = store.history(trajectory_id)
    assert len(history) == 16 * count
    assert len(store.annotations(trajectory_id)) == 16
    assert {a.answers["verdict_right"] for a in store.annotations(trajectory_id)} == {"yes"}
    store.close()


def test_one_key_from_many_threads_is_one_annotation(tmp_path):
    with open_store(tmp_path) as store:
        annotation = judged(saved(store), verdict_right="yes")
        annotation = type(annotation)(**vars(annotation) | {"key": "the same"})
        with ThreadPoolExecutor(16) as pool:
            ids = set(pool.map(lambda _: store.annotate(annotation).id, range(32)))
        assert len(ids) == len(store.history(annotation.trajectory_id)) == 1


def test_a_killed_process_loses_no_confirmed_submission(tmp_path, thorough):
    with open_store(tmp_path) as store:
        trajectory_id = saved(store)
    for attempt in range(3 if thorough else 1):
        command = [sys.executable, "-c", WRITER, str(tmp_path), trajectory_id]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            confirmed = [writer.stdout.readline().strip() for _ in range(40 + 7 * attempt)]
            writer.send_signal(signal.SIGKILL)
            confirmed += writer.stdout.read().split("\n")[:-1]
        with open_store(tmp_path) as store:
            assert set(confirmed) <= {revision.key for revision in store.history(trajectory_id)}
            assert len(store.annotations(trajectory_id)) == len(store.history(trajectory_id))
        connection = sqlite3.connect(tmp_path / FILE)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_an_old_sqlite_keeps_a_rollback_journal_and_one_writing_process(tmp_path):
    with open_database(tmp_path, sqlite_version=OLD):
        assert journal(tmp_path) == "delete"
        with pytest.raises(BusyError, match=r"another process already writes.*SQLite 3\.40\.1 allows only one"):
            open_database(tmp_path, sqlite_version=OLD)
    open_database(tmp_path, sqlite_version=OLD).close()  # free again


def test_the_lock_holds_against_another_process_and_dies_with_it(tmp_path):
    code = (
        "import sys; from pathlib import Path; from annotations.db.engine import open_database;"
        f"database = open_database(Path(sys.argv[1]), sqlite_version={OLD});"
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(BusyError):
            open_database(tmp_path, sqlite_version=OLD)
        other.kill()
    open_database(tmp_path, sqlite_version=OLD).close()


def test_a_sound_sqlite_uses_a_write_ahead_log_and_any_number_of_processes(tmp_path):
    with open_database(tmp_path, sqlite_version=SOUND), open_database(tmp_path, sqlite_version=SOUND):
        assert journal(tmp_path) == "wal"


def test_a_database_moves_between_sound_and_old_sqlite(tmp_path):
    ids = []
    for version in (SOUND, OLD, SOUND):
        with Store(open_database(tmp_path, sqlite_version=version)) as store:
            ids.append(saved(store))
            assert {listed.id for listed in store.trajectories()} == set(ids)


def test_every_connection_keeps_its_promises(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_engine", SYNCED_ENGINE)
    for version, synchronous in ((OLD, 3), (SOUND, 2)):
        with open_database(tmp_path, sqlite_version=version) as database:
            with database.writing() as session:
                ask = session.connection().exec_driver_sql
                assert ask("PRAGMA synchronous").scalar() == synchronous
                assert ask("PRAGMA foreign_keys").scalar() == 1
            with database.reading() as session:
                assert session.connection().exec_driver_sql("PRAGMA query_only").scalar() == 1
