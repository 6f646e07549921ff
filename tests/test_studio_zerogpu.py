"""A GPU lent call by call: trajectories made in a real fork, with everything pickled on its way, as ZeroGPU does it."""

import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.backends.request import Request, RequestError
from model.decoding.janus_backend import JanusBackend
from model.decoding.rollout import rollout
from model.events import ImageCodesAdded, fold
from model.trajectory import StopReason
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.inference.request_queue import QueueFull
from studio.inference.zerogpu import LOAN, LentBackend, lender, make, seconds
from studio.main import drawing
from studio.pages import build
from studio.settings import Settings

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        yield store


def in_a_fork(task: Callable[..., Iterator]) -> Callable[..., Iterator]:
    """A generator function that runs in a fork, which it tells to stop when it is closed."""

    def asked(*arguments):
        here, there = FORK.Pipe()
        closed, sent = FORK.Event(), pickle.dumps(arguments)

        def work() -> None:
            try:
                for value in task(*pickle.loads(sent)):
                    if closed.is_set():
                        break
                    there.send(value)
                there.send(None)
            except Exception as error:  # sent to whoever asked
                there.send(error)

        process = FORK.Process(target=work, daemon=True)
        process.start()
        try:
            while (value := here.recv()) is not None:
                if isinstance(value, Exception):
                    raise value
                yield value
        finally:
            closed.set()
            process.join(60)
            assert process.exitcode == 0

    return asked


def test_a_trajectory_made_in_a_fork_is_the_same_and_is_kept_outside_it(tiny: Janus, store: Store):
    told = fold(
        Generator(JanusBackend(tiny), store, LentBackend(JanusBackend(tiny), in_a_fork(make))).stream(
            "two birds", 4, 2, owner="ada"
        )
    )
    assert told == fold(rollout(tiny, [Request("two birds", 4, 2)]))
    assert store.trajectory(told.id) == told
    assert store.picture(told.images[0].sha256).startswith(b"\x89PNG")


def test_a_visitor_who_stops_gives_the_gpu_back_and_keeps_what_was_drawn(tiny: Janus, store: Store):
    generator, codes = Generator(JanusBackend(tiny), store, LentBackend(JanusBackend(tiny), in_a_fork(make))), []

    def stop() -> bool:
        return len(codes) > 3

    stream = generator.stream("two birds", 4, 3, owner="ada", stop=stop)
    told = fold(codes.append(event) or event if isinstance(event, ImageCodesAdded) else event for event in stream)
    assert told.stop_reason is StopReason.CANCELLED
    assert store.trajectory(told.id) == told


def test_who_closes_the_page_gives_the_gpu_back(tiny: Janus, store: Store):
    stream = Generator(JanusBackend(tiny), store, LentBackend(JanusBackend(tiny), in_a_fork(make))).stream(
        "two birds", 4, 3, owner="ada"
    )
    run = next(stream).trajectory_id
    stream.close()  # waits for the fork, which ends well
    assert store.trajectory(run).stop_reason is StopReason.CANCELLED


def test_what_breaks_in_the_fork_ends_the_trajectory_and_is_said(tiny: Janus, store: Store):
    def breaking(name: str, request: Request):
        for number, event in enumerate(make(name, request)):
            if number == 5:
                raise MemoryError("no more")
            yield event

    told = fold(
        Generator(JanusBackend(tiny), store, LentBackend(JanusBackend(tiny), in_a_fork(breaking))).stream(
            "two birds", 4, 2, owner="ada"
        )
    )
    assert told.stop_reason is StopReason.FAILED
    assert store.trajectory(told.id).error == "MemoryError: no more"


def test_a_gpu_that_is_not_lent_is_said_and_nothing_is_stored(tiny: Janus, store: Store):
    def refusing(name: str, request: Request):
        raise RuntimeError("you have 3 s of GPU left today")
        yield

    generator = Generator(JanusBackend(tiny), store, LentBackend(JanusBackend(tiny), refusing))
    with pytest.raises(QueueFull, match="3 s of GPU left"):
        list(generator.stream("two birds", 4, 2, owner="ada"))
    with pytest.raises(RequestError):
        list(generator.stream(" ", 4, 2, owner="ada"))
    assert store.trajectories() == []


def test_the_time_asked_for_grows_with_the_rounds(tiny: Janus):
    LentBackend(JanusBackend(tiny), make)
    few, many = (seconds(tiny.name, Request("two birds", rounds=rounds)) for rounds in (1, 4))
    assert 5 < few < many <= 120


def test_visitors_are_told_that_a_loan_has_its_price(tiny: Janus, store: Store):
    def said(serving: LentBackend | None) -> str:
        return str(build(Settings(), store, Checkpoints(Generator(JanusBackend(tiny), store, serving))).config)

    assert LOAN in said(LentBackend(JanusBackend(tiny), make))
    assert LOAN not in said(None)


def test_on_zero_gpu_everything_is_loaded_at_the_start_and_drawn_on_loan(
    tiny_checkpoint: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    asked = {}

    def gpu(duration: Callable[..., int]) -> Callable:
        asked["duration"] = duration
        return in_a_fork

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=gpu))
    checkpoints = drawing(Settings(checkpoint=f"{tiny_checkpoint}, embedded"), store, on_loan=True)
    assert asked["duration"] is seconds
    served = [checkpoints.named(name).serving for name in checkpoints.names]
    assert len(served) == 2
    assert all(isinstance(each, LentBackend) for each in served)
    told = fold(checkpoints.named(checkpoints.names[0]).stream("two birds", 1, 1, owner="ada"))
    assert told.images


def test_elsewhere_there_is_no_lender():
    with pytest.raises(ModuleNotFoundError, match="spaces"):
        lender()
