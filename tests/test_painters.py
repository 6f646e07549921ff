"""Pictures are painted beside the decode loop: nobody waits for another's, and nobody gets what is no longer wanted."""

import threading
import time
from dataclasses import replace

import pytest
import torch

from model.decoding.engine import Engine
from model.decoding.request import Request
from model.events import Event, ImageCodesAdded, Preview, TrajectoryFinished, TrajectoryStarted
from model.janus import Janus
from model.trajectory import StopReason


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """No image is decoded before it is set."""
    gate, decode = threading.Event(), Janus.decode

    def waits(janus: Janus, codes: torch.Tensor) -> object:
        assert gate.wait(60)
        return decode(janus, codes)

    monkeypatch.setattr(Janus, "decode", waits)
    return gate


def request(janus: Janus, name: str, **values: object) -> Request:
    sampling = replace(janus.sampling, thinks=False, guidance=1.0)
    return Request("two cars", 1, 1, sampling, None, id=name, **values)


def codes_of(events: list[Event], name: str) -> int:
    return sum(len(e.codes) for e in events if isinstance(e, ImageCodesAdded) and e.trajectory_id == name)


def drawn_but_not_painted(engine: Engine, name: str) -> list[Event]:
    events: list[Event] = []
    while codes_of(events, name) < engine.janus.image_codes:
        events += engine.step()
    return events


def test_others_draw_on_while_a_picture_is_painted(tiny: Janus, gate: threading.Event):
    first, second = request(tiny, "first"), request(tiny, "second")
    engine = Engine.for_requests(tiny, [first, second], 2)
    engine.waiting.pop()
    events = drawn_but_not_painted(engine, "first")
    engine.add(second)
    events += drawn_but_not_painted(engine, "second")
    assert not any(isinstance(event, Preview) for event in events)
    gate.set()
    while engine.busy:
        events += engine.step()
    assert [e.trajectory_id for e in events if isinstance(e, Preview)] == ["first", "second"]
    engine.close()


def test_who_stops_while_painted_ends_at_once_and_gets_no_picture(tiny: Janus, gate: threading.Event):
    stopped = threading.Event()
    engine = Engine.for_requests(tiny, [request(tiny, "one", stop=stopped.is_set), request(tiny, "other")], 2)
    other = engine.waiting.pop()
    drawn_but_not_painted(engine, "one")
    stopped.set()
    began = time.monotonic()
    events = engine.step()
    assert time.monotonic() - began < 30  # not for the picture
    assert [e.stop_reason for e in events if isinstance(e, TrajectoryFinished)] == [StopReason.CANCELLED]
    assert not engine.busy
    engine.add(other)
    gate.set()
    while engine.busy:
        events += engine.step()
    assert {e.trajectory_id for e in events if isinstance(e, Preview)} == {"other"}
    engine.close()


def test_what_was_under_way_when_everybody_was_forgotten_reaches_nobody(tiny: Janus, gate: threading.Event):
    engine = Engine.for_requests(tiny, [request(tiny, "forgotten"), request(tiny, "next")], 2)
    after = engine.waiting.pop()
    drawn_but_not_painted(engine, "forgotten")
    engine.step()
    engine.clear()
    engine.add(after)
    gate.set()
    events: list[Event] = []
    while engine.busy:
        events += engine.step()
    assert isinstance(events[0], TrajectoryStarted)
    assert {e.trajectory_id for e in events} == {"next"}
    assert isinstance(events[-1], TrajectoryFinished)
    engine.close()
