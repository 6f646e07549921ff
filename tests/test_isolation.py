"""Nothing in one request reaches another: what is wrong is refused, or ends its own trajectory, and says why."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from thoroughness import few

from model.backends.janus import Janus
from model.backends.memory import most_positions
from model.backends.request import Request, RequestError, Task
from model.decoding.engine import Engine
from model.events import Event, Failed, advance
from model.trajectory import Image, Segment, Thought, Token, Trajectory

NEIGHBOURS = ("two red apples", "a blue car above a cat")


def engine_of(janus: Janus) -> Engine:
    return Engine(janus, at_once=3, capacity=most_positions(janus.image_codes, 2))


def neighbours(janus: Janus) -> list[Request]:
    sampling = replace(janus.sampling, guidance=2.0)
    return [Request(prompt, seed, 2, sampling, id=prompt) for seed, prompt in enumerate(NEIGHBOURS)]


def finished(engine: Engine, *, steps: int = 5_000) -> dict[str, Trajectory]:
    known: dict[str, Trajectory] = {}
    for _ in range(steps):
        if not engine.busy:
            return known
        told(known, engine.step())
    raise AssertionError(f"the engine is busy after {steps} steps")


def told(known: dict[str, Trajectory], events: Sequence[Event]) -> None:
    for event in events:
        known[event.trajectory_id] = advance(known.get(event.trajectory_id), event)


def segments(drawn: dict[str, Trajectory]) -> list[tuple[Segment, ...]]:
    return [drawn[prompt].segments for prompt in NEIGHBOURS]


@pytest.fixture(scope="module")
def alone(tiny: Janus) -> list[tuple[Segment, ...]]:
    """What the neighbours draw while nobody else is there."""
    engine = engine_of(tiny)
    for request in neighbours(tiny):
        engine.add(request)
    return segments(finished(engine))


HUGE = 10**400
REFUSED = {
    **{
        f"{name} {value!s:.12}": {"sampling": {name: value}}
        for name in ("guidance", "temperature", "text_temperature", "top_k")
        for value in (float("nan"), float("inf"), -1, HUGE, "2", None if name != "top_k" else -3)
    },
    "no seed": {"seed": None},
    "negative seed": {"seed": -1},
    "huge seed": {"seed": HUGE},
    "seed between numbers": {"seed": 0.5},
    "rounds": {"rounds": 0},
    "many rounds": {"rounds": HUGE},
    "true rounds": {"rounds": "2"},
    "NUL": {"prompt": "a cat\x00"},
    "half a letter": {"prompt": "a \ud800 cat"},
    "nothing to see": {"prompt": "\u200b\ufeff "},
    "no text": {"prompt": 3},
    "a book": {"prompt": "cat " * 100_000},
    "no picture": {"task": Task.JUDGE},
    "a small picture": {"task": Task.JUDGE, "source": np.zeros((8, 8, 3), np.uint8)},
    "a picture of floats": {"task": Task.EDIT, "source": np.zeros((64, 64, 3))},
    "codes of another network": {"prefix": (Image(codes=(1,) * 5, finished=True),)},
    "a code out of the code book": {"prefix": (Image(codes=(10**9,) * 64, finished=True),)},
    "a foreign token": {"prefix": (Thought(tokens=(Token(10**9, "x"),), finished=True),)},
    "a thought without end": {"prefix": (Thought(tokens=(Token(1, "x"),) * 5_000, finished=True),)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_cannot_be_drawn_is_refused_before_it_meets_others(tiny: Janus, name: str):
    given = dict(REFUSED[name])
    if "sampling" in given:
        given["sampling"] = replace(tiny.sampling, **given["sampling"])
    engine = engine_of(tiny)
    with pytest.raises(RequestError) as refusal:
        engine.add(Request(**{"prompt": "a cat"} | given))
    assert 10 < len(str(refusal.value)) < 400
    assert not engine.busy


@pytest.mark.parametrize("temperature", few([5e-324, 1e-320, 1e-6, 1000], 0, 3))
def test_settings_at_their_bounds_draw_beside_others(tiny: Janus, alone: list, temperature: float):
    extreme = replace(tiny.sampling, temperature=temperature, text_temperature=temperature, guidance=1000.0)
    engine, known = started(tiny, Request("a dog", 5, 2, extreme, id="extreme"))
    known = finished_from(engine, known)
    assert known["extreme"].images
    assert segments(known) == alone


def started(janus: Janus, request: Request, steps: int = 12) -> tuple[Engine, dict[str, Trajectory]]:
    """An engine in which the neighbours and one more have drawn for some steps."""
    engine, known = engine_of(janus), {}
    first, last = neighbours(janus)
    for each in (first, request, last):
        engine.add(each)
    for _ in range(steps):
        told(known, engine.step())
    return engine, known


def test_numbers_that_are_not_finite_end_their_own_drawing_and_leave_nothing_in_its_room(tiny: Janus, alone: list):
    engine, known = started(tiny, Request("a dog", 5, 2, id="spoilt"))
    spoilt = next(run for run in engine.running if run.request.id == "spoilt")
    for stored in engine.decoder.slots.stored:
        stored[spoilt.streams[0].slot] = float("nan")
    events = []
    while engine.busy:
        events += engine.step()
    told(known, events)
    assert [event.trajectory_id for event in events if isinstance(event, Failed)] == ["spoilt"]
    assert "finite" in known["spoilt"].error
    assert segments(known) == alone
    assert all(stored.isfinite().all() for stored in engine.decoder.slots.stored)
    for request in neighbours(tiny):
        engine.add(replace(request))
    assert segments(finished(engine)) == alone


def test_a_step_that_breaks_for_one_is_computed_for_the_others(
    tiny: Janus, alone: list, monkeypatch: pytest.MonkeyPatch
):
    engine, known = started(tiny, Request("a dog", 5, 2, id="broken"))
    broken = next(run for run in engine.running if run.request.id == "broken").streams[0].slot
    forward = engine.decoder.forward

    def breaking(feeds: Sequence) -> object:
        hidden = forward(feeds)
        if any(slot == broken for slot, _ in feeds):
            raise RuntimeError("this row cannot be computed")
        return hidden

    monkeypatch.setattr(engine.decoder, "forward", breaking)
    known |= finished_from(engine, known)
    assert "cannot be computed" in known["broken"].error
    assert segments(known) == alone


def test_a_picture_that_cannot_be_painted_ends_its_own_drawing(
    tiny: Janus, alone: list, monkeypatch: pytest.MonkeyPatch
):
    engine, known = started(tiny, Request("a dog", 5, 2, id="broken"))
    paint = engine.image_decoders.finished.decode
    codes_of_neighbours = {segment.codes for each in alone for segment in each if isinstance(segment, Image)}

    def breaking(wanted: Sequence[Sequence[int]]) -> np.ndarray:
        if any(tuple(codes) not in codes_of_neighbours for codes in wanted):
            raise RuntimeError("no memory to paint this")
        return paint(wanted)

    monkeypatch.setattr(engine.image_decoders.finished, "decode", breaking)
    known |= finished_from(engine, known)
    assert "no memory to paint" in known["broken"].error
    assert segments(known) == alone


def test_who_cannot_be_asked_whether_to_stop_ends_alone(tiny: Janus, alone: list):
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        if asked > 5:
            raise ConnectionError("whoever asked is gone")
        return False

    engine, known = started(tiny, Request("a dog", 5, 2, stop=stop, id="gone"))
    known |= finished_from(engine, known)
    assert "is gone" in known["gone"].error
    assert segments(known) == alone


def finished_from(engine: Engine, known: dict[str, Trajectory]) -> dict[str, Trajectory]:
    """All trajectories, once the engine has no more to do."""
    while engine.busy:
        told(known, engine.step())
    return known
