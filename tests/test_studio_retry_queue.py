"""A drawing that ends while the database is away, or where there is no room, is stored later."""

import time
from pathlib import Path

import postgres_server
import pytest

from annotations.db import engine
from annotations.errors import AwayError, DatabaseError
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.backends.request import RequestError
from model.decoding.janus_backend import JanusBackend
from model.events import TrajectoryFinished, fold
from studio.http.whole_numbers import whole_number
from studio.inference import retry_queue
from studio.inference.draw_request import LARGEST_SEED, chosen_seed
from studio.inference.generator import Generator
from studio.inference.live_events import PageVisit, Sessions, live
from studio.inference.retry_queue import KEPT, RetryQueue, StoredLater


class Away:
    """A store whose database is away for the first few times that something is saved."""

    def __init__(self, store: Store, times: int) -> None:
        self._store, self.times = store, times

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def save(self, *given, **more) -> str:
        if self.times:
            self.times -= 1
            raise AwayError("connection to /run/socket failed")
        return self._store.save(*given, **more)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_queue, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry_queue, "LAST_PAUSE", 0.1)


def stored(store: Store, count: int) -> list:
    until = time.monotonic() + 30
    while len(found := store.trajectories()) < count and time.monotonic() < until:
        time.sleep(0.02)
    return found


def test_a_drawing_that_ends_while_the_database_is_away_is_told_and_stored_later(tiny: Janus, store: Store):
    events = []
    with pytest.raises(StoredLater, match="your drawing is kept"):
        for event in Generator(JanusBackend(tiny), Away(store, 3)).stream("two birds", 1, 1, owner="ada"):
            events.append(event)
    assert isinstance(events[-1], TrajectoryFinished)
    assert [row.owner for row in stored(store, 1)] == ["ada"]
    assert store.trajectory(events[0].trajectory_id) == fold(events)


def test_a_drawing_that_ends_where_there_is_no_room_for_pictures_is_stored_later(tiny: Janus, store: Store):
    folder = store.database.directory / "images"
    folder.rmdir() if folder.exists() else None
    folder.write_text("a file where the folder should be")
    events = Generator(JanusBackend(tiny), store).stream("two birds", 1, 1, owner="ada")
    with pytest.raises(StoredLater, match="Pictures cannot be written just now; your drawing is kept"):
        list(events)
    assert not store.trajectories()
    folder.unlink()
    assert [row.owner for row in stored(store, 1)] == ["ada"]


def test_who_draws_meanwhile_sees_the_drawing_whole_and_a_word_without_address(tiny: Janus, store: Store):
    events = Generator(JanusBackend(tiny), Away(store, 2)).stream("two birds", 1, 1, owner="ada")
    *_, whole, last = live(events, PageVisit("ada", "page"), Sessions(), store)
    assert last[0]["notice"] == KEPT and "socket" not in str(last)
    assert "notice" not in whole[0] or not whole[0]["notice"]
    assert stored(store, 1)


def test_who_left_meanwhile_has_the_drawing_stored_as_cancelled_later(tiny: Janus, store: Store):
    events = Generator(JanusBackend(tiny), Away(store, 2)).stream("two birds", 1, 3, owner="ada")
    next(events)
    next(events)
    events.close()
    assert stored(store, 1)


def test_what_waits_is_bounded_in_number_and_in_time(drawn, store: Store, monkeypatch, caplog):
    monkeypatch.setattr(retry_queue, "MOST", 1)
    monkeypatch.setattr(retry_queue, "LONGEST", 0.2)
    away = Away(store, 10**6)
    saves = RetryQueue(away)
    with pytest.raises(StoredLater):
        saves.save(drawn, {}, "ada")
    with pytest.raises(AwayError) as told:
        saves.save(drawn, {}, "ada")
    assert not isinstance(told.value, StoredLater)
    until = time.monotonic() + 30
    while saves._running and time.monotonic() < until:
        time.sleep(0.02)
    assert not saves._running and "away too long" in caplog.text
    with pytest.raises(DatabaseError, match="your drawing is kept"):  # there is room again
        saves.save(drawn, {}, "ada")


def test_a_drawing_outlives_a_server_that_is_stopped_and_started(tiny: Janus, tmp_path: Path, monkeypatch):
    if reason := postgres_server.why_not():
        pytest.skip(reason)
    monkeypatch.setattr(engine, "AWAY_SECONDS", 0.2)
    with postgres_server.server() as address:
        postgres_server.run(address, "CREATE DATABASE away")
        folder = postgres_server.folder_of(address)
        with open_store(tmp_path / "data", address.format(name="away")) as store:
            events = Generator(JanusBackend(tiny), store).stream("two birds", 1, 1, owner="ada")
            told = [next(events)]
            postgres_server.control(folder, "stop")
            with pytest.raises(StoredLater) as said:
                told.extend(events)
            assert str(folder) not in str(said.value)
            postgres_server.control(folder, "start")
            monkeypatch.setattr(engine, "AWAY_SECONDS", 20)
            assert [row.id for row in stored(store, 1)] == [told[0].trajectory_id]


def test_a_number_that_is_none_is_said_and_a_large_one_is_kept_within_bounds():
    assert chosen_seed(10**30, False) == LARGEST_SEED and chosen_seed(-3, False) == 0
    for seed in (float("nan"), float("inf"), 10**400, "7", [1]):
        with pytest.raises(RequestError, match="seed is"):
            chosen_seed(seed, False)


@pytest.mark.parametrize("sent", [None, True, "", "-1", "1.5", "²", "9" * 5000, 10**30, -1, 1.5, float("inf"), [3]])
def test_what_is_no_whole_number_is_none(sent):
    assert whole_number(sent) is None
    assert whole_number("12") == whole_number(12) == whole_number(12.0) == 12
