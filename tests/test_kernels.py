"""The decoding kernel finds what torch finds; without a GPU Triton interprets it, and compiles it for one."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attending import attend_by_torch
from test_graphs import Content, contents

from model.backends.janus import Janus
from model.backends.request import Request, Task
from model.decoding import decoder as decoder_module
from model.decoding import grammar
from model.decoding.cuda.kernel_choice import working_kernel
from model.decoding.decoder import Decoder
from model.world.plan import read_plan
from model.world.scene import render

if sys.platform != "linux":
    pytest.skip("Triton is for Linux", allow_module_level=True)

from model.decoding.cuda.triton_attention import attend

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
    """The first two rows of a picture and a short reflection on another: Triton's interpreter is slow."""
    monkeypatch.setattr(grammar, "MOST_REFLECTION_TOKENS", 12)
    sampling = replace(tiny.sampling, thinks=False, guidance=2.0, text_temperature=0.0)
    source = render(read_plan("red car at 2 3"))
    judged = Request("two cars", 0, 1, sampling, None, task=Task.JUDGE, source=source, id="judged")

    def found() -> dict[str, Content]:
        steps = itertools.count()
        drawn = Request("two cars", 0, 1, sampling, None, stop=lambda: next(steps) > 2 * tiny.side, id="drawn")
        return contents(tiny, [drawn, judged], cancelled=True)

    expected = found()
    assert len(expected["drawn"][0]) >= 2 * tiny.side
    monkeypatch.setattr(decoder_module, "on_gpu", lambda *of: (working_kernel(*of), lambda act: act))
    assert found() == expected


@pytest.mark.parametrize("capacity", [1, 60])
def test_it_works_for_the_caches_of_a_tiny_network(capacity: int, tiny: Janus):
    decoder = Decoder(tiny, 2, capacity)
    assert working_kernel(decoder.prepared.llama, decoder.slots) is attend


@pytest.mark.thorough
def test_it_compiles_for_gpus_that_are_not_here(tmp_path: Path):
    """For an A100 and an H100, within the shared memory that every GPU since has, and reading ahead."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "compiling.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 2 * 4
    for each in found:
        assert each["shared"] < 100_000 and each["reads_ahead"], each
