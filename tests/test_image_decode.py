"""Pictures are painted beside the decode loop: nobody waits for another's, and nobody gets what is no longer wanted."""

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.decoder import Decoder
from model.decoding.engine import Engine
from model.events import Event, Failed, ImageCodesAdded, Preview, TrajectoryFinished, TrajectoryStarted, fold
from model.trajectory import StopReason


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No image is decoded before it is set."""
    gate, decode, waited = threading.Event(), Janus.decode, []

    def waits(janus: Janus, codes: torch.Tensor) -> object:
        waited.append(gate.wait(30))
        return decode(janus, codes)

    monkeypatch.setattr(Janus, "decode", waits)
    yield gate
    assert all(waited), "the loop waited for a picture that could not come"


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


def test_who_stops_while_an_image_is_painted_still_gets_it(tiny: Janus, gate: threading.Event):
    stopped = threading.Event()
    engine = Engine.for_requests(tiny, [request(tiny, "one", stop=stopped.is_set)], 1)
    events = drawn_but_not_painted(engine, "one")
    stopped.set()
    events += engine.step()
    gate.set()
    while engine.busy:
        events += engine.step()
    assert [e.stop_reason for e in events if isinstance(e, TrajectoryFinished)] == [StopReason.CANCELLED]
    [image] = fold(events).images
    assert image.sha256 and len(image.codes) == tiny.image_codes
    engine.close()


def test_what_was_under_way_when_everybody_was_forgotten_reaches_nobody(tiny: Janus, gate: threading.Event):
    engine = Engine.for_requests(tiny, [request(tiny, "forgotten"), request(tiny, "next")], 2)
    after = engine.waiting.pop().request
    drawn_but_not_painted(engine, "forgotten")
    assert engine.running
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


def test_a_picture_that_cannot_be_painted_ends_its_own_trajectory_alone(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    decode = Janus.decode

    def full(janus: Janus, codes: torch.Tensor) -> object:
        monkeypatch.setattr(Janus, "decode", decode)
        raise MemoryError("no room for pixels")

    engine = Engine.for_requests(tiny, [request(tiny, "first"), request(tiny, "second")], 2)
    second = engine.waiting.pop().request
    monkeypatch.setattr(Janus, "decode", full)
    events = drawn_but_not_painted(engine, "first")
    engine.add(second)
    while engine.busy:
        events += engine.step()
    ends = [(e.trajectory_id, type(e)) for e in events if isinstance(e, Failed | TrajectoryFinished)]
    assert ends == [("first", Failed), ("second", TrajectoryFinished)]
    engine.close()


def test_a_step_that_fails_ends_nobody_twice_and_nobody_who_only_waits_for_a_picture(
    tiny: Janus, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    stopped = threading.Event()
    names = {"painted": {}, "stopped": {"stop": stopped.is_set}, "drawing": {}}
    engine = Engine.for_requests(tiny, [request(tiny, name, **values) for name, values in names.items()], 3)
    later = [engine.waiting.pop().request, engine.waiting.pop().request]
    events = drawn_but_not_painted(engine, "painted")
    for each in later:
        engine.add(each)
    events += engine.step()
    stopped.set()

    def breaks(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(Decoder, "_advance", breaks)
        events += engine.step()
    gate.set()
    while engine.busy:
        events += engine.step()
    ends = sorted((e.trajectory_id, type(e)) for e in events if isinstance(e, Failed | TrajectoryFinished))
    assert ends == [("drawing", Failed), ("painted", TrajectoryFinished), ("stopped", TrajectoryFinished)]
    engine.close()


def test_nothing_of_an_engine_is_left_when_it_was_closed(tiny: Janus, gate: threading.Event):
    """At once, also while it paints."""
    engine = Engine.for_requests(tiny, [request(tiny, "one")], 1)
    drawn_but_not_painted(engine, "one")
    decoders = weakref.ref(engine.image_decoders)
    engine.close()
    gc.disable()
    try:
        del engine
        assert decoders() is None
    finally:
        gc.enable()
        gate.set()
