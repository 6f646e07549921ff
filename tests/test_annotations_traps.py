"""What goes wrong outside: a disk that is full, a database that somebody else holds, a server that is gone."""

import dataclasses
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import postgres_server
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from test_annotations_samples import aha, judged

from annotations.db.engine import FILE, open_server
from annotations.db.postgres import parse
from annotations.db.process_tables import Base
from annotations.db.upgrade import server_revisions
from annotations.errors import AwayError, DatabaseError, MigrationError
from annotations.queue.assignment import claim
from annotations.queue.submission import SubmitResult, submit
from annotations.store.store import Store, open_store, open_store_for_reading

HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("COMMIT")
"""


def save_one(store: Store, number: int = 0, **changes) -> str:
    trajectory, pictures = aha(number, **changes)
    return store.save(trajectory, pictures, owner="visitor")


def answers(turn, annotator: str = "ann") -> list:
    said = [judged(turn.trajectory_id, at, annotator, verdict_right="yes") for at in (2, 4)]
    return [dataclasses.replace(one, key=f"key {one.segment}") for one in said]


def test_a_database_that_another_process_holds_for_seconds_costs_patience_and_nothing_else(tmp_path):
    with open_store(tmp_path) as store:
        save_one(store)
        turn = claim(store, "reflections", "ann")
        command = [sys.executable, "-c", HOLDER, str(tmp_path / FILE), "1.5"]
        with store.database.writing() as session:  # longer than SQLite does by default
            assert session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar() >= 10_000
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout.readline() == "held\n"
            began = time.monotonic()
            assert submit(store, turn.item, "ann", answers(turn)).result is SubmitResult.COUNTED
            assert time.monotonic() - began > 1  # it did wait
            assert holder.wait(timeout=30) == 0
        assert len(store.history(turn.trajectory_id)) == 2


def test_a_full_disk_is_told_and_the_same_submit_goes_through_once_there_is_room(tmp_path):
    with open_store(tmp_path) as store:
        save_one(store)
        turn = claim(store, "reflections", "ann")
        long = [
            dataclasses.replace(a, answers={**a.answers, "reason_correction": "word " * 390}) for a in answers(turn)
        ]
        limit(store, pages(store))
        with pytest.raises(DatabaseError, match="full.*nothing was changed, look at its disk and try again"):
            for number in range(50):
                again = [dataclasses.replace(a, key=f"{a.key} {number}") for a in long]
                kept = submit(store, turn.item, "ann", again)
        stored = store.history(turn.trajectory_id)
        assert len(stored) % 2 == 0  # both parts of a submit, or none
        limit(store, 2**30)
        kept = submit(store, turn.item, "ann", again)
        assert [a.key for a in kept.annotations] == [a.key for a in again]
        assert len(store.history(turn.trajectory_id)) == len(stored) + 2
        check = sqlite3.connect(tmp_path / FILE)
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        check.close()


def pages(store: Store) -> int:
    with store.database.writing() as session:
        return session.connection().exec_driver_sql("PRAGMA page_count").scalar()


def limit(store: Store, most: int) -> None:
    """How large SQLite lets the file grow; past it, it fails as on a full disk."""
    with store.database.writing() as session:
        session.connection().exec_driver_sql(f"PRAGMA max_page_count = {most}")


@pytest.fixture
def address(postgres) -> str:
    return postgres


def fresh(address: str, name: str) -> str:
    postgres_server.run(address, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    postgres_server.run(address, f"CREATE DATABASE {name}")
    return address.format(name=name)


def test_on_a_server_the_migrations_make_the_tables_that_the_code_declares(tmp_path, address):
    url = fresh(address, "declared")
    open_store(tmp_path, url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()
    assert {change[1].name for change in differences} <= {"ix_trajectories_listing"}  # there without prompts


def test_on_a_server_any_prompt_can_be_kept(tmp_path, url):
    with open_store(tmp_path, url) as store:
        long = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(20_000))
        assert store.trajectory(save_one(store, prompt=long)).prompt == long


def test_processes_that_start_together_migrate_a_server_once(tmp_path, address):
    url = fresh(address, "together")
    with_threads = [threading.Thread(target=lambda: open_server(tmp_path, url).close()) for _ in range(4)]
    for thread in with_threads:
        thread.start()
    for thread in with_threads:
        thread.join()
    with open_store(tmp_path, url) as store:
        assert [project.id for project in store.projects()] == ["reflections"]
        found, wanted = server_revisions(parse(url))
        assert found == wanted


def test_a_server_of_newer_code_or_of_something_else_is_refused_and_left_alone(tmp_path, address):
    url = fresh(address, "somebodys")
    with pytest.raises(MigrationError, match="start the studio once"):
        open_store_for_reading(tmp_path, url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(MigrationError, match="database of something else: it has the tables recipes"):
        open_store(tmp_path, url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE recipes"))
    open_store(tmp_path, url).close()
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(MigrationError, match="newer code wrote it"):
        open_store(tmp_path, url)
    engine.dispose()


def test_an_address_that_leads_nowhere_is_told_in_one_line_and_without_its_password(tmp_path):
    with pytest.raises(DatabaseError, match="cannot be opened") as told:
        open_store(tmp_path, f"postgresql+psycopg://ann:secret@/name?host={tmp_path}")
    assert "secret" not in str(told.value)
    for wrong in ("mysql://host/name", "not an address"):
        with pytest.raises(DatabaseError, match="wanted postgresql"):
            open_store(tmp_path, wrong)


def test_a_server_that_goes_away_is_told_and_one_that_comes_back_is_used_again(tmp_path, address):
    url = fresh(address, "away")
    with open_store(tmp_path, url) as store:
        save_one(store)
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'away'"
        postgres_server.run(address, kill)
        turn = claim(store, "reflections", "ann")  # a connection that died is noticed before it is used
        assert submit(store, turn.item, "ann", answers(turn)).result is SubmitResult.COUNTED


def test_where_a_server_cannot_be_tested_the_reason_is_said(monkeypatch):
    monkeypatch.setattr(postgres_server, "INSTALLED", [])
    assert "apt-get install postgresql" in postgres_server.why_not()


def test_a_server_that_restarts_is_waited_for_and_one_that_stays_away_is_told_without_address(tmp_path, monkeypatch):
    with postgres_server.server() as address:
        postgres_server.run(address, "CREATE DATABASE restarted")
        folder = postgres_server.folder_of(address)
        with open_store(tmp_path, address.format(name="restarted")) as store:
            run = save_one(store)
            postgres_server.control(folder, "stop")
            back = threading.Timer(1.0, postgres_server.control, (folder, "start"))
            back.start()
            other = save_one(store, 1)  # waits until it is back
            back.join()
            assert {one.id for one in store.trajectories()} == {run, other}
            postgres_server.control(folder, "stop")
            monkeypatch.setattr("annotations.db.engine.AWAY_SECONDS", 0.5)
            for ask in (store.trajectories, lambda: save_one(store, 2)):
                with pytest.raises(AwayError) as told:
                    ask()
                assert "try again in a minute" in str(told.value)
                assert str(folder) not in str(told.value) and "socket" not in str(told.value)
            postgres_server.control(folder, "start")
            monkeypatch.setattr("annotations.db.engine.AWAY_SECONDS", 20)
            assert len(store.trajectories()) == 2


class Cut:
    """A database whose connection is cut once, just before a writing transaction ends."""

    def __init__(self, database, address: str) -> None:
        self._database, self._address, self.cuts = database, address, 1

    def __getattr__(self, name: str):
        return getattr(self._database, name)

    @contextmanager
    def writing(self):
        with self._database.writing() as session:
            yield session
            if self.cuts:
                self.cuts -= 1
                kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut'"
                postgres_server.run(self._address, kill)


def test_a_drawing_whose_transaction_is_cut_off_is_stored_once(tmp_path, address):
    with open_store(tmp_path, fresh(address, "cut")) as store:
        store.database = Cut(store.database, address)
        run = save_one(store)
        assert [one.id for one in store.trajectories()] == [run]
