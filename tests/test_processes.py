"""Several studios with one PostgreSQL database: what one process knows, does or holds, as the others see it."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import postgres_server
import pytest
from filelock import Timeout
from test_annotations_samples import aha

from annotations.db import postgres as server
from annotations.importing import staging
from annotations.importing.staging import Run
from annotations.ops.example_trajectories import fill_if_empty
from annotations.ops.scheduler import maintenance_lock
from annotations.processes.locks import ServerLock, in_one_process, lock_of
from annotations.queue.assignment import claim
from annotations.queue.leases import LEASE
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.store.imported_records import BatchName
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store


@pytest.fixture
def address(postgres: str):
    url = postgres.format(name="studio")
    with postgres_server.emptied_afterwards(url):
        yield url


@pytest.fixture
def studios(address: str, tmp_path: Path):
    """The stores of two studios on two machines: data folders of their own, pictures in a shared one."""
    stores = [open_store(tmp_path / name, address, str(tmp_path / "pictures")) for name in ("a", "b")]
    yield stores
    for store in stores:
        store.close()


def test_a_lock_is_held_by_one_process_and_free_once_its_connection_is_gone(address: str, tmp_path: Path):
    url = server.parse(address)
    first, second = lock_of(tmp_path, url, "job"), lock_of(tmp_path, url, "job")
    first.acquire()
    with pytest.raises(Timeout):
        second.acquire()
    lock_of(tmp_path, url, "other").acquire()
    postgres_server.run(address, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    assert not first.is_locked
    second.acquire(5)
    assert second.is_locked
    second.release()
    assert not second.is_locked


def test_a_job_is_done_by_one_studio_and_by_another_once_that_has_ended(address: str):
    url, done = server.parse(address), []
    first, second = (in_one_process(url, "backup", lambda name=name: done.append(name)) for name in ("a", "b"))
    first(), second(), first()
    assert done == ["a", "a"]
    del first  # its connection ends with it
    postgres_server.run(address, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    second()
    assert done == ["a", "a", "b"]
    in_one_process(None, "backup", lambda: done.append("sqlite"))()
    assert done[-1] == "sqlite"


def test_the_import_of_one_studio_is_not_taken_as_broken_off_by_another(studios: list[Store]):
    a, b = studios
    with Run(a, BatchName("x", "labels", "ours"), owner="me", now=a.clock()):
        assert staging.recover(b) == 0 and staging.under_way(b) is not None
    assert staging.under_way(b) is None


def test_backups_and_purges_of_all_studios_take_turns(studios: list[Store]):
    a, b = (store.database for store in studios)
    with maintenance_lock(a.directory, a.url), pytest.raises(Timeout):
        lock_of(b.directory, b.url, "maintenance").acquire()
    lock = lock_of(b.directory, b.url, "maintenance")
    assert isinstance(lock, ServerLock)
    lock.acquire()
    lock.release()


def test_two_studios_that_start_at_once_fill_an_empty_database_once(studios: list[Store]):
    threads = [threading.Thread(target=fill_if_empty, args=(store,)) for store in studios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    a, b = ([summary.id for summary in store.trajectories(limit=100)] for store in studios)
    assert a == b and len(set(a)) == len(a) > 10


def test_what_a_studio_that_died_had_lent_comes_back_at_the_other_and_its_picture_is_there(studios: list[Store]):
    a, b = studios
    trajectory, pictures = aha()
    kept = a.save(trajectory, pictures, owner="me")
    project = a.create_project(replace(REFLECTIONS_PROJECT, id="once", name="Once", overlap=1, collects=False))
    a.add_items(project.id, [NewItem(kept)])
    assert (lent := claim(a, project.id, "ada")) is not None
    assert claim(b, project.id, "bob") is None
    assert (again := claim(b, project.id, "ada")) is not None and again.item == lent.item  # hers, wherever she asks
    assert all(b.picture(sha256) == png for sha256, png in pictures.items())
    a.close()
    b.clock = lambda now=b.clock: now() + LEASE + timedelta(seconds=1)
    assert (later := claim(b, project.id, "bob")) is not None and later.item == lent.item
