"""A step that was recorded once serves every later one: nothing that changes was recorded with it."""

import gc
import random
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attending import attend_by_torch
from test_engine import Watched, any_request
from torch.fx.experimental.proxy_tensor import make_fx

from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding import decoder as decoder_module
from model.decoding.cuda import kernel_choice
from model.decoding.cuda.cuda_graphs import OFTEN, Act, rounded
from model.decoding.decoder import Decoder
from model.decoding.engine import Engine
from model.decoding.load_for_inference import open_checkpoint
from model.sequences import Codes, Text
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


def contents(janus: Janus, wanted: list[Request], at_once: int = 5, *, cancelled: bool = False) -> dict[str, Content]:
    """Codes and words of every trajectory; of those that were `cancelled` only where they are asked for."""
    watched = Watched(Engine.for_requests(janus, wanted, at_once))
    while watched.engine.busy:
        watched.step()
    return {
        name: [getattr(segment, "codes", None) or segment.text for segment in found.segments]
        for name, found in watched.trajectories.items()
        if cancelled or found.stop_reason is not StopReason.CANCELLED
    }


def test_four_at_random_draw_from_recorded_steps_what_they_would_alone(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    rng = random.Random(3)
    wanted = [replace(any_request(rng, tiny, name), preview_every=None) for name in range(4)]
    alone = contents(tiny, [replace(request, stop=lambda: False) for request in wanted], at_once=1)
    tape = Tape()
    monkeypatch.setattr(decoder_module, "on_gpu", lambda *_: (attend_by_torch, tape))
    found = contents(tiny, wanted)
    assert len(found) > 1
    assert found == {name: alone[name] for name in found}
    assert tape.captured > 3
    assert tape.replayed > 200


@torch.inference_mode()
def test_capturing_writes_nothing_that_the_step_does_not(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    """In between, the slot is given to somebody else: what the step read last is not theirs."""
    found = []
    tape = Tape()
    for gpu in (None, (attend_by_torch, tape)):
        monkeypatch.setattr(decoder_module, "on_gpu", lambda *_, gpu=gpu: gpu)
        decoder = Decoder(tiny, 3, 60)
        for length, count in ((3, OFTEN - 1), (20, 3)):
            slot = decoder.slots.acquire()
            fed = [Text(tuple(range(20, 20 + length))), *(Codes((code,)) for code in range(count))]
            found.append(torch.cat([decoder.forward([(slot, [piece])]) for piece in fed]))
            decoder.slots.release(slot)
    assert tape.captured == 1
    for plain, graphed in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(graphed, plain)


def test_a_cache_goes_with_its_engine(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    """At once, not when the collector comes by: the next engine's cache may need the room."""
    monkeypatch.setattr(decoder_module, "on_gpu", lambda *_: (attend_by_torch, Tape()))
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


def test_few_numbers_of_rows_serve_all():
    assert [rounded(rows) for rows in (1, 2, 3, 5, 8, 9, 16, 17)] == [1, 2, 4, 8, 8, 16, 16, 24]


def test_a_step_that_cannot_be_captured_is_taken_all_the_same(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    def fails(act: Act) -> Act:
        raise RuntimeError("no memory left")

    wanted = [Request("two cars", 1, 1, tiny.sampling, None, id="one")]
    alone = contents(tiny, wanted)
    monkeypatch.setattr(decoder_module, "on_gpu", lambda *_: (attend_by_torch, fails))
    assert contents(tiny, wanted) == alone


def test_a_kernel_is_checked_against_torch_before_it_is_used(tiny: Janus):
    decoder = Decoder(tiny, 2, 60)
    kernel_choice.check_kernel(attend_by_torch, decoder.prepared.llama, decoder.slots)
    with pytest.raises(ValueError, match="off by"):
        kernel_choice.check_kernel(lambda *of: 1.5 * attend_by_torch(*of), decoder.prepared.llama, decoder.slots)


def test_where_a_kernel_does_not_compile_decoding_goes_on_without(
    tiny: Janus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fails(*_: object) -> None:
        raise OSError("no C compiler")

    monkeypatch.setattr(kernel_choice, "check_kernel", fails)
    decoder = Decoder(tiny, 2, 60)
    assert kernel_choice.working_kernel(decoder.prepared.llama, decoder.slots) is None
    assert "no C compiler" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_on_a_gpu_a_graph_draws_what_its_operations_would(
    dtype: torch.dtype, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    janus = open_checkpoint(tiny_checkpoint, dtype=dtype, device="cuda")
    sampling = replace(janus.sampling, thinks=True, guidance=2.0, temperature=0.0, text_temperature=0.0)
    wanted = [Request("two cars", seed, 2, sampling, id=str(seed)) for seed in range(6)]
    replayed = contents(janus, wanted)
    monkeypatch.setattr(decoder_module, "on_gpu", lambda *_: None)
    assert replayed == contents(janus, wanted)
