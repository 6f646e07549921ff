"""The decoding kernels find what torch finds; without a GPU Triton interprets them, and compiles them for one."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from attending import attend_by_torch
from test_graphs import contents
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding import decoder as decoder_module
from model.decoding import grammar
from model.decoding.cuda.kernels import ROWS, KernelChoice, KernelTrial, is_quicker, working_kernels
from model.decoding.cuda.products import by_torch
from model.decoding.decoder import Decoder
from model.decoding.llama import Llama

if sys.platform != "linux":
    pytest.skip("Triton is for Linux", allow_module_level=True)

from model.decoding.cuda.triton_kernels import attend, product

ROOT = Path(__file__).parent.parent
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(("heads", "each", "width"), [(2, 1, 64), (2, 3, 32), (1, 4, 128)])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_it_finds_what_torch_finds_and_keeps_what_is_new(
    heads: int, each: int, width: int, dtype: torch.dtype, near: float
):
    """In slots in any order, at positions from the first to the last; the last row is idle."""
    rng, capacity = torch.Generator().manual_seed(heads + width), 150

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64).to(DEVICE, dtype)

    stored, projected = random(6, heads, 2, capacity + 1, width), random(5, 1, (each + 2) * heads * width)
    slots = torch.tensor([4, 1, 0, 3, 0], device=DEVICE)
    positions = torch.tensor([[0], [64], [129], [149], [capacity]], device=DEVICE)
    rotary = random(5, 1, 1, width), random(5, 1, 1, width)
    theirs, mine = stored.clone(), stored.clone()
    expected = attend_by_torch(theirs, rotary, slots, positions, projected)
    found = attend(mine, rotary, slots, positions, projected)
    torch.testing.assert_close(found[:4], expected[:4], rtol=near, atol=near)
    torch.testing.assert_close(mine, theirs, rtol=near, atol=near)
    assert (mine != stored).any(-1).sum() == 5 * heads * 2  # nothing else was written


def test_drawings_are_those_of_the_layers_without_it(tiny: Janus, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grammar, "MOST_REFLECTION_TOKENS", 12)  # Triton's interpreter is slow
    sampling = replace(tiny.sampling, thinks=False, guidance=2.0, text_temperature=0.0)
    wanted = [Request("two cars", 0, 1, sampling, None, id="one")]
    expected = contents(tiny, wanted)
    monkeypatch.setattr(decoder_module, "on_gpu", lambda *of: (working_kernels(*of, is_quicker), lambda act: act))
    assert contents(tiny, wanted) == expected


@pytest.mark.parametrize("capacity", [1, 60])
def test_they_work_for_the_caches_of_a_tiny_network(capacity: int, tiny: Janus):
    decoder = Decoder(tiny, 2, capacity)
    assert working_kernels(decoder.prepared.llama, decoder.slots, is_quicker) == KernelChoice(attend)


def whole_blocks() -> Llama:
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_hidden_layers": 1}
    return Llama(LlamaModel(LlamaConfig(vocab_size=8, **sizes)).to(DEVICE, torch.bfloat16), None)


@pytest.mark.parametrize(("quicker", "few"), [((True, True, True), 4), ((True, True, False), 2), ((False,) * 3, 0)])
def test_products_are_a_kernel_s_where_that_is_quicker(quicker: tuple[bool, ...], few: int):
    answers, llama = iter(quicker), whole_blocks()
    found = working_kernels(llama, llama.slots(2, 60), lambda *_: next(answers))
    assert found.attend is attend and found.few == few
    assert [found.product(rows) is product for rows in (1, 2, 4, 8)] == [rows <= few for rows in (1, 2, 4, 8)]


def test_where_only_the_product_does_not_work_torch_multiplies(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    check = KernelTrial.check

    def fails(trial: KernelTrial, attended: object, by: object, rows: int) -> None:
        if by is product:
            raise OSError("out of registers")
        check(trial, attended, by, rows)

    monkeypatch.setattr(KernelTrial, "check", fails)
    llama = whole_blocks()
    assert working_kernels(llama, llama.slots(2, 60), is_quicker) == KernelChoice(attend)
    assert "out of registers" in caplog.text


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_few_rows_are_multiplied_as_torch_does(rows: int, dtype: torch.dtype, near: float):
    rng = torch.Generator().manual_seed(rows)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng).to(DEVICE, dtype)

    norm = LlamaRMSNorm(512, 1e-5).to(DEVICE, dtype)
    norm.weight.data = random(512)
    inputs, weight, sum_so_far = random(rows, 1, 512), random(32, 512) / 16, random(rows, 1, 32)
    for ways in ({}, {"norm": norm}, {"gate": F.silu}, {"norm": norm, "gate": F.silu}):
        expected = by_torch(inputs, weight, None, **ways)
        torch.testing.assert_close(product(inputs, weight, None, **ways), expected, rtol=near, atol=near)
    expected = by_torch(inputs, weight, None, onto=sum_so_far.clone())
    found = product(inputs, weight, None, onto=sum_so_far)
    assert found is sum_so_far
    torch.testing.assert_close(found, expected, rtol=near, atol=near)


def test_it_compiles_for_gpus_that_are_not_here(tmp_path: Path, thorough: bool):
    """For an A100 and an H100, within the shared memory that every GPU since has, and reading ahead; without `--all`
    products of the most rows alone, which need the most."""
    rows = ROWS if thorough else ROWS[-1:]
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "compiling.py"), *map(str, rows)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 2 * (4 + len(rows) * 4)
    for each in found:
        assert each["shared"] < 100_000 and each["reads_ahead"], each
