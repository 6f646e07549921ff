"""Several studios with one PostgreSQL database: what one process knows, does or holds, as the others see it."""

import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import postgres_server
import pytest
from filelock import Timeout
from test_annotations_samples import aha

from annotations.auth.password_login import TRIES, SignIn
from annotations.db import postgres as server
from annotations.db.locks import ServerLock, in_one_process, lock_of, maintenance_lock
from annotations.errors import NotFoundError, SignInError
from annotations.importing import staging
from annotations.importing.staging import ImportRun
from annotations.ops.example_trajectories import fill_if_empty
from annotations.processes import live_events
from annotations.processes.messages import ProcessMessages
from annotations.queue.assignment import claim
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.store.imported_records import BatchName
from annotations.store.items import NewItem
from annotations.store.leases import LEASE
from annotations.store.listing import Filter
from annotations.store.store import Store, open_store
from model.events import Event, SegmentFinished, replay
from model.trajectory import StopReason
from studio.http.limits import MAX_RUNNING, RATES, REMOTE_TTL, LimitError, Limits
from studio.inference import served_copies
from studio.inference.live_drawings import SILENT, LiveDrawings
from studio.inference.live_events import PageVisit, following
from studio.inference.replays import not_stored
from studio.settings import Settings


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
    with ImportRun(a, BatchName("x", "labels", "ours"), owner="me", now=a.clock()):
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


def drawing_of(store: Store, run: str) -> list[Event]:
    """The events of a recorded drawing, under another id."""
    recorded = store.trajectory(store.trajectories(limit=1, keep=Filter(aha=True))[0].id)
    return list(replay(replace(recorded, id=run, parent=None), store.picture, group=16))


def test_a_drawing_of_one_studio_is_followed_at_the_other_while_it_is_drawn(studios: list[Store]):
    a, b = studios
    trajectory, pictures = aha()
    a.save(trajectory, pictures, owner="me")
    events = drawing_of(a, "live")
    drawing, watching = LiveDrawings.of(a), LiveDrawings.of(b)
    for event in events[:5]:
        drawing.add(event, "visitor")
    drawing.publish()
    assert watching.is_live("live") and not watching.is_live("other")
    seen = watching.follow("live")
    assert [next(seen) for _ in range(5)] == events[:5]
    for event in events[5:]:
        drawing.add(event, "visitor")
    assert [*seen] == events[5:]  # its own thread publishes
    assert not watching.is_live("live")


def test_what_a_studio_that_died_was_drawing_is_stored_by_another(studios: list[Store]):
    a, b = studios
    trajectory, pictures = aha()
    a.save(trajectory, pictures, owner="me")
    events = drawing_of(a, "left")
    drawn = next(number for number, event in enumerate(events) if isinstance(event, SegmentFinished) and event.sha256)
    rows = [event.to_dict() for event in events[: drawn + 2]]
    now = b.clock()
    live_events.publish(b.database, [live_events.EventBatch("left", 0, rows, "visitor")], ["left"], [], now)
    assert LiveDrawings.of(b).recover() == []
    b.clock = lambda: now + SILENT + timedelta(seconds=1)
    assert not LiveDrawings.of(b).is_live("left")
    assert LiveDrawings.of(b).recover() == ["left"] and LiveDrawings.of(b).recover() == []
    kept = a.trajectory("left")
    assert kept.stop_reason is StopReason.CANCELLED and kept.images[0].sha256 in pictures


def test_a_drawing_of_a_sqlite_studio_is_followed_from_memory_and_not_after_it_was_deleted(tmp_path: Path):
    with open_store(tmp_path) as store:
        trajectory, pictures = aha()
        store.save(trajectory, pictures, owner="me")
        events = drawing_of(store, "live")
        live = LiveDrawings.of(store)
        for event in events[:-1]:
            live.add(event, "visitor")
        seen = live.follow("live")
        assert [next(seen) for _ in events[:-1]] == events[:-1] and live.is_live("live")
        live.add(events[-1], "visitor")
        assert [*seen] == events[-1:] and not live.is_live("live")
        assert "cannot be shown" in not_stored(store, "live", NotFoundError("there is none"))["notice"]


def test_what_a_visitor_uses_up_at_one_studio_counts_at_the_other(studios: list[Store]):
    now = [0.0]
    a, b = (Limits(lambda: now[0], shared=True) for _ in studios)
    for store, limits in zip(studios, (a, b), strict=True):
        ProcessMessages.of(store).share("limits", limits.usage_delta, limits.merge_remote_usage)
    first, second = map(ProcessMessages.of, studios)
    for _ in range(int(RATES["drawings"].burst)):
        a.take("drawings", "192.0.2.1")
    with ExitStack() as running:
        for _ in range(MAX_RUNNING["drawings"]):
            running.enter_context(a.during("drawings", "192.0.2.1"))
        first.exchange(), second.exchange()
        with pytest.raises(LimitError, match="Too many drawings"):
            b.take("drawings", "192.0.2.1")
        with pytest.raises(LimitError, match="under way already"), b.during("drawings", "192.0.2.1"):
            pass
        b.take("drawings", "192.0.2.2")
    now[0] += REMOTE_TTL + 1
    with b.during("drawings", "192.0.2.1"):  # what was said of a process that is silent no longer counts
        b.take("drawings", "192.0.2.1")


def test_wrong_passwords_at_one_studio_delay_tries_at_the_other(studios: list[Store]):
    moment = studios[0].clock()
    a, b = (SignIn(store, lambda: moment) for store in studios)
    for store, sign_in in zip(studios, (a, b), strict=True):
        ProcessMessages.of(store).share("sign-ins", sign_in.failures_delta, sign_in.merge_remote_failures)
    for _ in range(TRIES):
        with pytest.raises(SignInError, match="do not open an account"):
            a("ada", "a wrong password", origin="192.0.2.1")
    for store in studios:
        ProcessMessages.of(store).exchange()
    with pytest.raises(SignInError, match="too many tries"):
        b("ada", "a wrong password", origin="192.0.2.1")


def test_the_files_of_a_deleted_drawing_are_removed_at_all_studios(studios: list[Store], tmp_path: Path, monkeypatch):
    monkeypatch.setattr(served_copies, "served_folder", lambda: tmp_path / "served")
    copy = tmp_path / "served" / "x" / "copy.json"
    copy.parent.mkdir(parents=True)
    copy.write_text("{}")
    a, b = studios
    served_copies.note(b, "run", copy)
    for store in studios:
        removals = served_copies.Removals.of(store)
        ProcessMessages.of(store).share("removed", removals.removals_delta, removals.apply_remote_removals)
    served_copies.remove(a, "run")
    assert copy.exists()
    for store in studios:
        ProcessMessages.of(store).exchange()
    assert not copy.exists()


def test_a_page_that_is_opened_on_a_drawing_under_way_follows_it_and_may_not_delete_it(tmp_path: Path):
    settings, visit = Settings(pace=0), PageVisit("visitor", "page")
    with open_store(tmp_path) as store:
        trajectory, pictures = aha()
        store.save(trajectory, pictures, owner="me")
        events = drawing_of(store, "live")
        for event in events[:-1]:
            LiveDrawings.of(store).add(event, "visitor")
        assert not_stored(store, "live", NotFoundError("there is none"))["watch"] == "live"
        LiveDrawings.of(store).add(events[-1], "visitor")
        *_, last = following("live", visit, store, settings)
        assert last["trajectory"]["id"] == "live" and last["receipt"] == ""
        *_, stored = following(store.trajectories()[0].id, visit, store, settings)  # which has ended long ago
        assert stored["trajectory"]["segments"] and "notice" not in stored
