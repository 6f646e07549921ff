"""Selection of the GPU kernels of single-token decode steps: Triton's where they compile, agree and pay, else torch's.

Knows how a step sees the cache; not how it is recorded.
Shapes: R rows, D hidden size.
"""

import importlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from model.decoding.cuda.products import Product, by_torch
from model.decoding.kv_cache import CacheWindow, KVCache, Tables
from model.decoding.llama import Llama

log = logging.getLogger(__name__)

ROWS = (1, 2, 4)  # for which products may be a kernel's, where that is quicker
CLOSE = 1.03  # times as long as torch is quick enough: one choice less that depends on the moment
TIMES = 20  # by which the quicker is found

Act = Callable[[], torch.Tensor]  # a step, or a part of one → (R, D)
Attend = Callable[[torch.Tensor, Tables, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # triton_kernels'
Quicker = Callable[[Act, Act], bool]  # whether the first takes no longer than the second


@dataclass(frozen=True)
class KernelChoice:
    """What a step of one position each is made of; `multiply` is for so few rows."""

    attend: Attend
    multiply: Product = by_torch
    few: int = 0

    def product(self, rows: int) -> Product:
        return self.multiply if rows <= self.few else by_torch


class Rows:
    """The view of a graphed step: each row is at a position of a slot, which tensors on the one device say."""

    def __init__(
        self,
        attend: Attend,
        product: Product,
        cache: KVCache,
        slots: torch.Tensor,
        positions: torch.Tensor,
        turns: torch.Tensor,
    ):
        self.kernel, self.product, self.stored = attend, product, cache.stored
        self.slots, self.positions, self.rotary = slots, positions, cache.turns(turns)

    def on(self, device: torch.device) -> "Rows":
        return self

    def attend(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        return self.kernel(self.stored[layer], self.rotary, self.slots, self.positions, projected)


@torch.inference_mode()
def working_kernels(llama: Llama, slots: KVCache, quicker: Quicker) -> KernelChoice | None:
    """Those for this network; where Triton is not there or cannot compile them, None and a warning."""
    trial = KernelTrial(llama, slots)
    try:
        kernels = importlib.import_module("model.decoding.cuda.triton_kernels")
        trial.check(kernels.attend, by_torch, 1)
    except Exception as error:
        log.warning("decoding goes on without its kernels, and slower: %s: %s", type(error).__name__, error)
        return None
    few = 0
    try:
        if kernels.multiplies(llama.model.config, slots.stored[0].dtype):
            for rows in ROWS:
                trial.check(kernels.attend, kernels.product, rows)
                if quicker(*(trial.act(kernels.attend, way, rows) for way in (kernels.product, by_torch))):
                    few = rows
    except Exception as error:
        log.warning("decoding multiplies more than %d rows by torch: %s: %s", few, type(error).__name__, error)
    return KernelChoice(kernels.attend, kernels.product, few) if few else KernelChoice(kernels.attend)


class KernelTrial:
    """The first layer after some positions: what it is made of can be compared there."""

    def __init__(self, llama: Llama, slots: KVCache):
        self.layer, self.last = llama.layers[0], min(100, slots.capacity) - 1
        self.device = slots.stored[0].device
        self.cache = KVCache((llama.key_heads, self.last + 1, llama.width), 1, [self.device], slots.rotary)
        shape, generator = (1, self.last + 1, llama.model.config.hidden_size), torch.Generator(self.device)
        kind = {"device": self.device, "dtype": slots.stored[0].dtype}
        self.inputs = torch.randn(shape, generator=generator.manual_seed(0), **kind) / 100
        window = CacheWindow(self.cache, [0], [self.last + 1])
        self.expected = self.layer(self.inputs.clone(), window, 0)[:, -1]

    def act(self, attend: Attend, product: Product, rows: int) -> Act:
        """The last position, as often as there are rows."""
        positions = torch.tensor([[self.last]] * rows, device=self.device)
        inputs, slots = self.inputs[:, -1:].repeat(rows, 1, 1), torch.zeros_like(positions[:, 0])

        def act() -> torch.Tensor:
            view = Rows(attend, product, self.cache, slots, positions, positions)
            return self.layer(inputs.clone(), view, 0)[:, 0]

        return act

    def check(self, attend: Attend, product: Product, rows: int) -> None:
        """Raises ValueError where anything else is found with them than by torch."""
        difference = (self.act(attend, product, rows)() - self.expected).abs().max().item()
        if not difference <= 0.02 * (most := self.expected.abs().max().item()):
            raise ValueError(f"a layer finds up to {most:.3g}, and with them is off by {difference:.3g}")


def is_quicker(act: Act, than: Act) -> bool:
    """Each done a few times; as good as quicker is enough."""

    def seconds(act: Act) -> float:
        act().sum().item()  # waits
        began = time.perf_counter()
        for _ in range(TIMES):
            found = act()
        found.sum().item()
        return time.perf_counter() - began

    return seconds(act) < CLOSE * seconds(than)
