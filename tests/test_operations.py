"""A small network's layers on a CPU: compiled or by torch's kernels, they are transformers' layers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from model.decoding import llama
from model.decoding.cpu import native
from model.decoding.cpu.operations import Kernels, Operations, Shape
from model.decoding.kv_cache import CacheWindow, KVCache
from model.decoding.llama import Llama, operations_for

MAKES: dict[str, Callable[[Shape], Operations | None]] = {"compiled": native.native, "torch's": Kernels}


@pytest.fixture(params=MAKES)
def make(request: pytest.FixtureRequest) -> Callable[[Shape], Operations | None]:
    if request.param == "compiled" and native.library() is None:
        pytest.skip("no C compiler here")
    if request.param == "torch's" and not torch.backends.mkldnn.is_available():
        pytest.skip("torch without oneDNN")
    return MAKES[request.param]


def network(hidden: int, heads: int, key_heads: int) -> LlamaModel:
    torch.manual_seed(hidden + heads)
    sizes = {"hidden_size": hidden, "intermediate_size": 3 * hidden - 7, "num_hidden_layers": 2, "vocab_size": 8}
    model = LlamaModel(LlamaConfig(num_attention_heads=heads, num_key_value_heads=key_heads, **sizes)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, 1.0 if weight.ndim == 1 else 0.0, 0.2)
    return model


def ready(model: LlamaModel, make: Callable, monkeypatch: pytest.MonkeyPatch) -> Llama:
    monkeypatch.setattr(llama, "native", lambda shape: make(shape))
    found = Llama(model, operations_for(model))
    assert type(found.layers[0].operations) is type(make(Shape(1, 32, 1.0)))
    return found


def fed(model: Llama, slots: KVCache, rows: list[int], pieces: list[torch.Tensor]) -> list[torch.Tensor]:
    """Hidden states of every row's new positions."""
    counts = [len(piece) for piece in pieces]
    window = CacheWindow(slots, rows, counts)
    found = model(torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True), window)
    return [row[:count] for row, count in zip(found, counts, strict=True)]


@pytest.mark.parametrize("sizes", [(64, 4, 4), (64, 4, 2), (224, 7, 7), (96, 3, 1)], ids=str)
@torch.inference_mode()
def test_layers_find_what_transformers_finds_whoever_comes_with_how_many_positions(
    sizes: tuple[int, int, int], make: Callable, monkeypatch: pytest.MonkeyPatch
):
    model = network(*sizes)
    mine, rng = ready(model, make, monkeypatch), torch.Generator().manual_seed(0)
    slots = mine.slots(7, 70)
    streams = [torch.randn(64, sizes[0], generator=rng) for _ in range(5)]
    places, at, found = [6, 0, 2, 3, 1], [0] * 5, [[] for _ in range(5)]
    for step in range(20):
        coming = [i for i in range(5) if (step + i) % (i + 1) == 0]
        counts = [1 + (step + 3 * i) % 9 if step % 4 == 0 else 1 for i in coming]
        pieces = [streams[i][at[i] : at[i] + count] for i, count in zip(coming, counts, strict=True)]
        for i, rows in zip(coming, fed(mine, slots, [places[i] for i in coming], pieces), strict=True):
            found[i].append(rows)
            at[i] += len(rows)
    for stream, rows in zip(streams, found, strict=True):
        rows = torch.cat(rows)
        wanted = model(inputs_embeds=stream[None, : len(rows)], use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(rows, wanted, atol=2e-4, rtol=1e-3)


@pytest.mark.skipif(native.library() is None, reason="no C compiler here")
@torch.inference_mode()
def test_compiled_a_row_is_to_the_bit_what_it_is_alone(monkeypatch: pytest.MonkeyPatch):
    mine, rng = ready(network(224, 7, 7), native.native, monkeypatch), torch.Generator().manual_seed(0)
    beginnings = [torch.randn(count, 224, generator=rng) for count in (3, 11, 7, 1, 2, 9, 4, 6, 5)]
    steps = torch.randn(len(beginnings), 1, 224, generator=rng)

    def last(which: list[int]) -> list[torch.Tensor]:
        slots = mine.slots(len(which), 30)
        fed(mine, slots, list(range(len(which))), [beginnings[i] for i in which])
        return fed(mine, slots, list(range(len(which))), [steps[i] for i in which])

    for i, together in enumerate(last(list(range(len(beginnings))))):
        assert torch.equal(together, last([i])[0])


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 16, 33])
def test_a_product_is_a_product_for_any_number_of_rows_and_columns(rows: int, make: Callable):
    do, rng = make(Shape(1, 8, 1.0)), torch.Generator().manual_seed(rows)
    for size, outputs in ((5, 1), (24, 31), (24, 32), (24, 33), (7, 80)):
        inputs, weight, added, bias = (
            torch.randn(*shape, generator=rng) for shape in ((rows, size), (outputs, size), (rows, outputs), (outputs,))
        )
        packed = do.packed(weight)
        torch.testing.assert_close(do.product(inputs, packed), inputs @ weight.T)
        torch.testing.assert_close(do.product(inputs, packed, added), inputs @ weight.T + added)
        torch.testing.assert_close(do.product(inputs, packed, bias), inputs @ weight.T + bias)


def test_gates_and_norms_hold_for_very_large_and_very_small_numbers(make: Callable):
    do = make(Shape(1, 8, 1e-6))
    both = torch.tensor([[-200.0, -88.0, -1.0, 0.0, 1e-8, 3.0, 90.0, 300.0, *[2.0] * 8]])
    torch.testing.assert_close(do.gated(both), torch.nn.functional.silu(both[:, :8]) * 2)
    for scale in (0.0, 1e-4, 1.0, 1e6):
        hidden = scale * torch.arange(8.0)[None]
        torch.testing.assert_close(do.normal(hidden), hidden / (hidden.square().sum() + 1e-6).sqrt())


def test_without_a_compiler_or_with_one_that_fails_torchs_kernels_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(native, "user_cache_path", lambda *_, **__: tmp_path)
    for which in (lambda _: None, lambda _: str(broken)):
        native.library.cache_clear()
        monkeypatch.setattr(native.shutil, "which", which)
        assert native.native(Shape(1, 32, 1.0)) is None
    monkeypatch.undo()
    native.library.cache_clear()
    assert sorted(tmp_path.iterdir()) == [broken]
