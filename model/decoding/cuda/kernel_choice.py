"""Attention of single-token decode steps on a GPU: Triton's kernel where it compiles and agrees with torch.

Knows how a step sees the cache; not how it is recorded.
Shapes: R rows, D hidden size.
"""

import importlib
import logging
from collections.abc import Callable

import torch

from model.decoding.kv_cache import CacheWindow, KVCache, Tables
from model.decoding.llama import Llama

log = logging.getLogger(__name__)

Attend = Callable[[torch.Tensor, Tables, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # triton_attention'


class GraphView:
    """The view of a graphed step: each row is at a position of a slot, which tensors on the one device say."""

    def __init__(
        self, attend: Attend, cache: KVCache, slots: torch.Tensor, positions: torch.Tensor, turns: torch.Tensor
    ):
        self.kernel, self.stored = attend, cache.stored
        self.slots, self.positions, self.rotary = slots, positions, cache.rotary_at(turns)

    def on(self, device: torch.device) -> "GraphView":
        return self

    def attend(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        return self.kernel(self.stored[layer], self.rotary, self.slots, self.positions, projected)


def working_kernel(llama: Llama, cache: KVCache) -> Attend | None:
    """That for this network; where Triton is not there or cannot compile it, None and a warning."""
    try:
        attend: Attend = importlib.import_module("model.decoding.cuda.triton_attention").attend
        check_kernel(attend, llama, cache)
    except Exception as error:
        log.warning("decoding goes on without its kernel, and slower: %s: %s", type(error).__name__, error)
        return None
    return attend


@torch.inference_mode()
def check_kernel(attend: Attend, llama: Llama, cache: KVCache) -> None:
    """Compares the first layer's output at the last of some positions with torch's: a ValueError where they differ."""
    layer, last = llama.layers[0], min(100, cache.capacity) - 1
    stored = cache.stored[0]
    trial = KVCache((llama.key_heads, last + 1, llama.width), 1, [stored.device], cache.rotary)
    shape, generator = (1, last + 1, llama.model.config.hidden_size), torch.Generator(stored.device)
    inputs = torch.randn(shape, generator=generator.manual_seed(0), device=stored.device, dtype=stored.dtype) / 100
    expected = layer(inputs.clone(), CacheWindow(trial, [0], [last + 1]), 0)[:, -1]
    positions = torch.tensor([[last]], device=stored.device)
    view = GraphView(attend, trial, torch.zeros_like(positions[:, 0]), positions, positions)
    difference = (layer(inputs[:, -1:].clone(), view, 0)[:, 0] - expected).abs().max().item()
    largest = expected.abs().max().item()
    if not difference <= 0.02 * largest:
        raise ValueError(f"a layer's output is up to {largest:.3g}, and with the kernel off by {difference:.3g}")
