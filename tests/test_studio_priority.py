"""People who have signed in come first: visitors' calls, drawings and bytes wait meanwhile, within bounds."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from model.decoding.engine_thread import EngineThread
from studio.http import priority
from studio.http.limits import LimitError
from studio.http.priority import Activity, ByteRate, CallSpacing, Seconds
from studio.inference.live_events import Sending


def test_people_are_at_work_while_they_wait_for_an_answer_and_a_moment_longer():
    clock = [0.0]
    activity = Activity(lambda: clock[0])
    assert not activity.signed_in_active
    with activity.serving():
        clock[0] = 100.0
        assert activity.signed_in_active
    clock[0] += priority.ACTIVE_FOR - 0.1
    assert activity.signed_in_active
    clock[0] += 0.2
    assert not activity.signed_in_active


def test_visitors_wait_for_one_another_only_while_somebody_is_at_work():
    async def seconds(count: int) -> float:
        turns, began = CallSpacing(Seconds(meanwhile=0.05, otherwise=0.0), activity), time.monotonic()
        await asyncio.gather(*(turns.begin() for _ in range(count)))
        return time.monotonic() - began

    activity = Activity()
    assert asyncio.run(seconds(8)) < 0.25
    with activity.serving():
        assert asyncio.run(seconds(8)) > 0.3


def test_visitors_who_would_wait_too_long_are_told_to_come_back(monkeypatch):
    async def ask() -> list[object]:
        turns = CallSpacing(Seconds(meanwhile=0.05, otherwise=0.0), activity)
        return await asyncio.gather(*(turns.begin() for _ in range(8)), return_exceptions=True)

    monkeypatch.setattr(priority, "MAX_WAIT", 0.24)

    activity = Activity()
    with activity.serving():
        refused = [one for one in asyncio.run(ask()) if one is not None]
    assert len(refused) == 2 and all(isinstance(one, LimitError) for one in refused)
    assert "Try again" in str(refused[0])


def test_bytes_of_all_visitors_come_at_one_pace():
    async def send() -> float:
        pace, began = ByteRate(Seconds(meanwhile=1e-3, otherwise=1e-4), Activity()), time.monotonic()
        await asyncio.gather(*(pace.take(500) for _ in range(4)))
        return time.monotonic() - began

    assert 0.19 < asyncio.run(send()) < 1


def test_an_engine_rests_after_each_step_while_somebody_is_at_work(monkeypatch):
    slept = []

    class Engine:
        busy, waiting = True, ()

        def step(self) -> list:
            slept and pytest.fail("stop")  # ends the thread
            return []

    def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(
        "model.decoding.engine_thread.time",
        SimpleNamespace(sleep=sleep, perf_counter=iter((0.0, 0.03, 1.0)).__next__),
    )
    with pytest.raises(BaseException, match="stop"):
        EngineThread(Engine, busy=lambda: True)._drive()
    assert slept == [0.03]


def test_the_more_drawings_are_shown_the_rarer_each_is_told_of(monkeypatch):
    monkeypatch.setattr("studio.inference.live_events.activity", SimpleNamespace(signed_in_active=False))
    sending = Sending(store=None, rows=[{}], sent_at=time.monotonic() - 0.2)
    assert sending.due() and sending.due(10) and not sending.due(40)
    monkeypatch.setattr("studio.inference.live_events.activity", SimpleNamespace(signed_in_active=True))
    assert sending.due(2) and not sending.due(10)
