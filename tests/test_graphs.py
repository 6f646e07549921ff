"""A step that was recorded once serves every later one: nothing that changes was recorded with it."""

import gc
import random
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_engine import Watched, any_request
from torch.fx.experimental.proxy_tensor import make_fx

from model.checkpoint import open_checkpoint
from model.decoding import batch
from model.decoding.batch import Decoder
from model.decoding.cache import Slots
from model.decoding.engine import Engine
from model.decoding.graphs import OFTEN, Act, Extent, extent_of
from model.decoding.request import Request
from model.janus import Janus
from model.streams import Codes, Text
from model.trajectory import StopReason


class Tape:
    """Records a step as a list of operations on the same memory, as a CUDA graph does, and counts what is replayed."""

    def __init__(self):
        self.captured = self.replayed = 0

    def __call__(self, act: Act) -> Act:
        self.captured += 1
        operations, nothing = make_fx(lambda _: act())(torch.zeros(())), torch.zeros(())

        def replay() -> torch.Tensor:
            self.replayed += 1
            return operations(nothing)

        return replay


Content = list[tuple[int, ...] | str]


def contents(janus: Janus, wanted: list[Request], at_once: int = 5) -> dict[str, Content]:
    """Codes and words of every trajectory that was not cancelled."""
    watched = Watched(Engine.for_requests(janus, wanted, at_once))
    while watched.engine.busy:
        watched.step()
    return {
        name: [getattr(segment, "codes", None) or segment.text for segment in found.segments]
        for name, found in watched.trajectories.items()
        if found.stop_reason is not StopReason.CANCELLED
    }


def test_ten_at_random_draw_from_recorded_steps_what_they_would_alone(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    rng = random.Random(3)
    wanted = [replace(any_request(rng, tiny, name), preview_every=None) for name in range(10)]
    alone = contents(tiny, [replace(request, stop=lambda: False) for request in wanted], at_once=1)
    tape = Tape()
    monkeypatch.setattr(batch, "capture_for", lambda llama: tape)
    found = contents(tiny, wanted)
    assert len(found) > 5
    assert found == {name: alone[name] for name in found}
    assert tape.captured > 3
    assert tape.replayed > 300


@torch.inference_mode()
def test_capturing_writes_nothing_that_the_step_does_not(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    """In between, the slot is given to somebody else: what the step read last is not theirs."""
    found = []
    for capture in (None, Tape()):
        monkeypatch.setattr(batch, "capture_for", lambda llama, capture=capture: capture)
        decoder = Decoder(tiny, 3, 60)
        for length, count in ((3, OFTEN - 1), (20, 3)):
            slot = decoder.slots.take()
            fed = [Text(tuple(range(20, 20 + length))), *(Codes((code,)) for code in range(count))]
            found.append(torch.cat([decoder.forward([(slot, [piece])]) for piece in fed]))
            decoder.slots.give_back(slot)
    assert capture.captured == 1
    for plain, graphed in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(graphed, plain)


def test_a_cache_goes_with_its_engine(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    """At once, not when the collector comes by: the next engine's cache may need the room."""
    monkeypatch.setattr(batch, "capture_for", lambda llama: Tape())
    gc.disable()
    try:
        engine = Engine.for_requests(tiny, [Request("two cars", 1, 1, tiny.sampling)], 1)
        while engine.busy:
            engine.step()
        assert engine.decoder.graphed.steps
        slots = weakref.ref(engine.decoder.slots)
        engine.close()
        del engine
        assert slots() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("slots", "seen", "extent"),
    [
        ([0, 1], 1, Extent(2, 0, 128)),  # one drawing and its twin
        ([11], 129, Extent(0, 1, 256)),  # one reflection
        ([0, 1, 4, 10], 128, Extent(8, 2, 128)),
        ([5, 0, 11], 300, Extent(8, 1, 301)),  # no further than there is room
        (range(12), 5, Extent(12, 0, 128)),
        ([0, 6, 9], 5, Extent(1, 8, 128)),
        ([4, 7], 5, Extent(0, 8, 128)),
        ([*range(5), *range(7, 12)], 5, Extent(12, 0, 128)),  # rounded up, there is nothing between
    ],
)
def test_a_record_reaches_from_both_ends_as_far_as_slots_are_in_use(slots: list[int], seen: int, extent: Extent):
    cache = Slots((1, 300, 2), 12, [torch.device("cpu")], (torch.zeros(400, 2),))
    assert extent_of(slots, seen, cache) == extent


def test_a_step_that_cannot_be_captured_is_taken_all_the_same(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    def fails(act: Act) -> Act:
        raise RuntimeError("no memory left")

    wanted = [Request("two cars", 1, 1, tiny.sampling, None, id="one")]
    alone = contents(tiny, wanted)
    monkeypatch.setattr(batch, "capture_for", lambda llama: fails)
    assert contents(tiny, wanted) == alone


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_on_a_gpu_a_graph_draws_what_its_operations_would(
    dtype: torch.dtype, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    janus = open_checkpoint(tiny_checkpoint, dtype=dtype, device="cuda")
    sampling = replace(janus.sampling, thinks=True, guidance=2.0, temperature=0.0, text_temperature=0.0)
    wanted = [Request("two cars", seed, 2, sampling, id=str(seed)) for seed in range(6)]
    replayed = contents(janus, wanted)
    monkeypatch.setattr(batch, "capture_for", lambda llama: None)
    assert replayed == contents(janus, wanted)
