"""Many at once: everyone draws what they would draw alone, whoever comes and goes, and nothing is left behind."""

import random
from dataclasses import replace
from pathlib import Path

import preloaded
import pytest

from model.backends.janus import Janus
from model.backends.memory import most_positions
from model.backends.request import Request, RequestError
from model.decoding.engine import Engine
from model.decoding.prepared_request import prepare
from model.decoding.rollout import rollout
from model.events import Event, ImageCodesAdded, TrajectoryFinished, TrajectoryStarted, advance, fold
from model.trajectory import StopReason, Trajectory
from model.world.language import CATEGORIES, write
from model.world.random_scenes import sample_description


class Watched:
    """An engine, the trajectories it told of, and after how many steps each event came."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.steps = 0
        self.trajectories: dict[str, Trajectory] = {}
        self.came: dict[tuple[str, type[Event]], int] = {}  # the first of its kind

    def step(self) -> None:
        self.steps += 1
        for event in self.engine.step():
            known = self.trajectories.get(event.trajectory_id)
            self.trajectories[event.trajectory_id] = advance(known, event)
            self.came.setdefault((event.trajectory_id, type(event)), self.steps)


def any_request(rng: random.Random, janus: Janus, name: int) -> Request:
    """A random prompt with random settings; a third of them stop after a random number of tokens."""
    sampling = replace(
        janus.sampling,
        guidance=rng.choice((1.0, 2.5)),
        thinks=rng.random() < 0.5,
        top_k=rng.choice((None, 40)),
        published_contexts=rng.random() < 0.2,
    )
    left = rng.randrange(200) if name % 3 == 0 else 10**9

    def stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    prompt = write(sample_description(rng, rng.choice(CATEGORIES)))
    preview = rng.choice((None, 4))
    return Request(prompt, rng.randrange(999), rng.randint(1, 3), sampling, preview, stop=stop, id=str(name))


def test_many_at_random_draw_what_they_would_alone_and_leave_no_slot_behind(tiny: Janus, thorough: bool):
    rng, (count, at_once) = random.Random(4), (100, 9) if thorough else (8, 5)
    requests = [any_request(rng, tiny, name) for name in range(count)]
    engine = Engine(tiny, at_once=at_once, capacity=most_positions(tiny.image_codes, 3))
    watched, coming = Watched(engine), list(requests)
    while coming or engine.busy:
        if coming and (not engine.busy or rng.random() < 0.1):
            for _ in range(rng.randint(1, 4)):
                if coming:
                    engine.add(coming.pop(0))
        watched.step()
    assert len(watched.trajectories) == count
    cancelled = [t for t in watched.trajectories.values() if t.stop_reason is StopReason.CANCELLED]
    assert count / 7 <= len(cancelled) <= count / 2  # about a third
    for request in requests:
        together = watched.trajectories[request.id]
        alone = fold(rollout(tiny, [replace(request, stop=lambda: False)]))
        if together.stop_reason is StopReason.CANCELLED:
            for mine, whole in zip(together.segments, alone.segments, strict=False):
                if mine.kind == "image":
                    assert mine.codes == whole.codes[: len(mine.codes)]
        else:
            assert together == alone
    assert engine.decoder.slots.free == list(range(3 * at_once))
    assert engine.running == []


@pytest.mark.parametrize("others", [0, 7])
def test_a_newcomers_first_code_comes_within_three_steps_of_joining(tiny: Janus, others: int):
    plain = replace(tiny.sampling, thinks=False)
    watched = Watched(Engine(tiny, at_once=8, capacity=most_positions(tiny.image_codes, 3)))
    for name in range(others):
        watched.engine.add(Request("two cats", name, 3, plain, id=str(name)))
    for _ in range(30):
        if watched.engine.busy:
            watched.step()
    joined = watched.steps
    watched.engine.add(Request("a dog", 1, 1, plain, preview_every=1, id="newcomer"))
    for _ in range(3):
        watched.step()
    assert watched.came["newcomer", ImageCodesAdded] <= joined + 3


def test_a_full_engine_lets_in_whoever_came_first_as_soon_as_one_leaves(tiny: Janus):
    watched = Watched(Engine(tiny, at_once=2, capacity=most_positions(tiny.image_codes, 1)))
    for name in "abcd":
        watched.engine.add(Request("a cat", ord(name), 1, id=name))
    watched.step()
    assert len(watched.engine.waiting) == 2
    while watched.engine.busy:
        watched.step()
    started = [watched.came[name, TrajectoryStarted] for name in "abcd"]
    ended = [watched.came[name, TrajectoryFinished] for name in "abcd"]
    assert started[0] == started[1] == 1
    assert started[2] == min(ended[:2]) + 1
    assert started[3] == sorted(ended[:3])[1] + 1


def test_a_cancelled_request_makes_room_in_the_same_step(tiny: Janus):
    engine = Engine(tiny, at_once=1, capacity=most_positions(tiny.image_codes, 1))
    stopping: list[bool] = []
    engine.add(Request("a cat", rounds=1, stop=lambda: bool(stopping), id="first"))
    engine.add(Request("a dog", rounds=1, id="second"))
    for _ in range(5):
        engine.step()
    stopping.append(True)
    engine.step()
    assert engine.running == []
    assert {event.trajectory_id for event in engine.step()} == {"second"}
    engine.close()


def test_a_request_too_long_for_the_engine_is_refused_with_the_numbers(tiny: Janus):
    request = Request("a cat", rounds=3)
    engine = Engine(tiny, at_once=1, capacity=prepare(tiny, request).positions - 1)
    with pytest.raises(RequestError, match=f"3 rounds may take {prepare(tiny, request).positions} positions"):
        engine.add(request)


@pytest.mark.parametrize("name", ["guidance", "temperature", "text_temperature"])
def test_a_setting_that_is_no_number_is_refused_before_it_meets_the_others(tiny: Janus, name: str):
    engine = Engine(tiny, at_once=1, capacity=900)
    for value in (float("nan"), float("inf"), -1.0):
        with pytest.raises(RequestError, match=f"{name.replace('_', ' ')} is "):
            engine.add(Request("a cat", sampling=replace(tiny.sampling, **{name: value})))


@pytest.mark.parametrize("rounds", [0, 17])
def test_more_rounds_than_there_can_be_are_refused(tiny: Janus, rounds: int):
    engine = Engine(tiny, at_once=1, capacity=900)
    with pytest.raises(RequestError, match=f"The number of rounds is {rounds}; give a whole number from 1 to 16"):
        engine.add(Request("a cat", rounds=rounds))


@pytest.mark.thorough
def test_hundreds_more_drawings_take_no_more_memory(tiny_checkpoint: Path, thorough: bool):
    """In a process of its own, when every shape of batch has come by once: oneDNN keeps what it made for each."""
    code = """
import sys, psutil, torch
from dataclasses import replace
from model.decoding.load_for_inference import open_checkpoint
from model.decoding.engine import Engine
from model.backends.request import Request
from model.backends.memory import most_positions
torch.set_num_threads(1)
janus = open_checkpoint(sys.argv[1])
engine = Engine(janus, at_once=16, capacity=most_positions(janus.image_codes, 1))
sampling = replace(janus.sampling, thinks=False, guidance=2.0)
for count in map(int, sys.argv[2:]):
    for seed in range(count):
        engine.add(Request("two cats", seed, 1, sampling))
    while engine.busy:
        engine.step()
    print(psutil.Process().memory_info().rss)
"""
    counts = ("150", "500") if thorough else ("48", "80")
    done = preloaded.run("-c", code, tiny_checkpoint, *counts)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after - before <= 50e6
