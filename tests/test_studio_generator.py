"""The generator: events for many visitors at once, and every trajectory kept, however it ended."""

import itertools
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from annotations.errors import TrajectoryError
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.backends.registry import open_backend
from model.backends.request import Request, RequestError
from model.decoding.engine import Engine
from model.decoding.janus_backend import JanusBackend
from model.decoding.rollout import rollout
from model.events import ImageCodesAdded, TrajectoryFinished, fold
from model.trajectory import StopReason
from studio.inference import generator, request_queue
from studio.inference.generator import Generator
from studio.inference.request_queue import QueueFull, QueuePosition

ROOT = Path(__file__).parent.parent


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def test_a_finished_trajectory_is_stored_before_its_last_event_is_seen(tiny: Janus, store: Store):
    for event in Generator(JanusBackend(tiny), store).stream("two birds", 1, 1, owner="ada"):
        if isinstance(event, TrajectoryFinished):
            kept = store.trajectory(event.trajectory_id)
            assert kept.stop_reason == event.stop_reason
            assert store.picture(kept.images[0].sha256).startswith(b"\x89PNG")
            return
    pytest.fail("no end")


def test_what_is_stored_is_what_the_events_told(tiny: Janus, store: Store):
    told = fold(Generator(JanusBackend(tiny), store).stream("two birds", 1, 2, owner="ada"))
    assert store.trajectory(told.id) == told
    assert store.trajectories()[0].owner == "ada"


def test_a_drawing_is_the_same_where_the_verifier_cannot_be_imported(
    tiny_checkpoint: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    generator = Generator(open_backend(tiny_checkpoint), store)
    told = fold(generator.stream("two birds", 1, 2, owner="ada"))
    for name in ("verifier", "reasons", "defects"):
        monkeypatch.setitem(sys.modules, f"model.world.{name}", None)
    assert fold(generator.stream("two birds", 1, 2, owner="ada")) == told
    assert len(store.trajectories()) == 2


@pytest.mark.thorough  # the suite looks through the imports instead: `tests/test_layers.py`
def test_the_studio_draws_the_same_when_the_verifier_cannot_be_imported(tiny_checkpoint: Path, tmp_path: Path):
    code = """
import gc, sys
gc.disable()  # an import makes no garbage to speak of
for name in ("verifier", "reasons", "defects"): sys.modules[f"model.world.{name}"] = None
from studio import main as app
from studio.pages import build
from studio.settings import Settings
with app.open_store(PATH) as store:
    generator = app.Generator(app.open_backend(CHECKPOINT), store)
    build(Settings(), store, app.Checkpoints(generator))
    list(generator.stream("two birds", 1, 2, owner="ada"))
"""
    data = tmp_path / "apart"
    given = f"from pathlib import Path; PATH, CHECKPOINT = Path({str(data)!r}), {str(tiny_checkpoint)!r}"
    done = subprocess.run([sys.executable, "-c", given + code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open_store(tmp_path / "here") as store:
        told = fold(Generator(open_backend(tiny_checkpoint), store).stream("two birds", 1, 2, owner="ada"))
    with open_store(data) as apart:
        assert apart.trajectory(apart.trajectories()[0].id) == told


def test_stop_takes_effect_between_tokens_and_keeps_what_was_drawn(tiny: Janus, store: Store):
    stop = threading.Event()
    events = []
    for event in Generator(JanusBackend(tiny), store).stream("two birds", 1, 3, owner="ada", stop=stop.is_set):
        events.append(event)
        if isinstance(event, ImageCodesAdded):
            stop.set()
    kept = store.trajectory(events[0].trajectory_id)
    assert kept.stop_reason is StopReason.CANCELLED
    assert 0 < len(kept.images[0].codes) < tiny.image_codes


def test_a_visitor_who_leaves_is_a_trajectory_cancelled(tiny: Janus, store: Store):
    events = Generator(JanusBackend(tiny), store).stream("two birds", 1, 3, owner="ada")
    first = next(events)
    while not isinstance(next(events), ImageCodesAdded):
        pass
    events.close()
    assert store.trajectory(first.trajectory_id).stop_reason is StopReason.CANCELLED


def test_an_error_ends_as_a_failed_trajectory_and_the_next_visitor_draws(tiny: Janus, store: Store, monkeypatch):
    steps, real = itertools.count(), Engine.step

    def breaking(engine: Engine):
        if next(steps) == 5:
            raise MemoryError("no more")
        return real(engine)

    monkeypatch.setattr(Engine, "step", breaking)
    generator = Generator(JanusBackend(tiny), store)
    told = fold(generator.stream("two birds", 1, 1, owner="ada"))
    assert told.stop_reason is StopReason.FAILED
    assert store.trajectory(told.id).error == "MemoryError: no more"
    assert fold(generator.stream("two birds", 1, 1, owner="ada")).error is None


def test_where_no_other_engine_has_room_everybody_is_told_and_the_next_visitor_may_have_it(
    narrow: Generator, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """The new engine is made in the room of the broken one."""
    made, real, thread = [], Engine.step, narrow.backend._thread

    def new_engine() -> Engine:
        made.append(thread._engine)
        if len(made) <= 2:
            raise torch.OutOfMemoryError("no room for a cache")
        return Engine(narrow.backend.janus, at_once=1, capacity=900)

    monkeypatch.setattr(thread, "_new_engine", new_engine)
    first, second = narrow.stream("two birds", 1, 3, owner="ada"), narrow.stream("a cat", 2, 1, owner="bob")
    told = [next(first)]
    assert isinstance(next(second), QueuePosition)
    broken = thread._engine
    monkeypatch.setattr(Engine, "step", lambda engine: (_ for _ in ()).throw(RuntimeError("a bad step")))
    told += first
    assert fold(told).error == "RuntimeError: a bad step"
    with pytest.raises(QueueFull, match="Nothing can be drawn at the moment .no room for a cache.; come back later"):
        list(second)
    assert made == [None, None]
    assert broken.decoder.slots.stored == []
    monkeypatch.setattr(Engine, "step", real)
    assert fold(narrow.stream("two birds", 1, 1, owner="ada")).error is None


def test_a_prompt_that_cannot_be_drawn_is_refused_before_anything_is_stored(tiny: Janus, store: Store):
    generator = Generator(JanusBackend(tiny), store)
    with pytest.raises(RequestError):
        list(generator.stream(" ", 1, 1, owner="ada"))
    assert store.trajectories() == []


def test_visitors_at_the_same_time_get_what_they_would_get_alone(tiny: Janus, store: Store):
    generator = Generator(JanusBackend(tiny), store)
    prompts = ["two birds", "a yellow boat", "four stars"]
    told = {}

    def visit(seed: int) -> None:
        told[seed] = fold(generator.stream(prompts[seed], seed, 1, owner="ada"))

    visitors = [threading.Thread(target=visit, args=(seed,)) for seed in range(3)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    for seed, prompt in enumerate(prompts):
        assert told[seed] == fold(rollout(tiny, [Request(prompt, seed, 1)]))
    assert len(store.trajectories()) == 3


def test_a_trajectory_that_cannot_be_stored_is_an_error_that_says_so(tiny: Janus, store: Store):
    with pytest.raises(TrajectoryError, match="characters that cannot be stored"):
        list(Generator(JanusBackend(tiny), store).stream("a cat", 1, 1, owner="\0"))


def test_a_word_outside_the_world_is_doubted_only_for_the_embedded_network(tiny: Janus, store: Store):
    generator = Generator(JanusBackend(tiny), store)
    assert generator.backend.warning("two birds") is None
    assert "zebra" in generator.backend.warning("a zebra")


@pytest.fixture
def narrow(tiny: Janus, store: Store, monkeypatch: pytest.MonkeyPatch) -> Generator:
    """A generator with room for one visitor, who is drawing, and one who waits."""
    monkeypatch.setattr(generator, "AT_ONCE", 1)
    monkeypatch.setattr(request_queue, "MOST_WAITING", 1)
    monkeypatch.setattr(request_queue, "POSITION_INTERVAL", 0.01)
    return Generator(JanusBackend(tiny), store)


def test_who_waits_hears_how_long_the_line_is_and_draws_when_it_is_over(narrow: Generator):
    first = narrow.stream("two birds", 1, 3, owner="ada")
    next(first)
    heard = list(narrow.stream("a cat", 2, 1, owner="bob"))
    waits = [one for one in heard if isinstance(one, QueuePosition)]
    assert waits and all(one.before == 0 for one in waits)
    assert heard[: len(waits)] == waits
    assert fold(heard[len(waits) :]).stop_reason is not None


def test_a_line_that_is_too_long_is_said_with_its_length(narrow: Generator):
    first, second = (narrow.stream("two birds", seed, 3, owner="ada") for seed in (1, 2))
    next(first)
    assert isinstance(next(second), QueuePosition)
    with pytest.raises(QueueFull, match="1 drawings are waiting already"):
        next(narrow.stream("a cat", 3, 1, owner="bob"))
    second.close()
    first.close()


def test_a_crowd_that_comes_at_once_is_let_in_while_there_is_room(narrow: Generator):
    for seed in (1, 2):
        narrow.serving._join(Request("two birds", seed, 1))
    with pytest.raises(QueueFull):
        narrow.serving._join(Request("two birds", 3, 1))


def test_who_stops_while_waiting_leaves_no_trajectory(narrow: Generator, store: Store):
    first = narrow.stream("two birds", 1, 3, owner="ada")
    next(first)
    assert list(narrow.stream("a cat", 2, 1, owner="bob", stop=lambda: True)) == []
    first.close()
    assert [row.owner for row in store.trajectories()] == ["ada"]
