"""Steps of one position for each stream, recorded once and repeated as a CUDA graph.

On a GPU a network's hundreds of small operations take longer to launch than to run. A graph launches all of them at
once, but repeats exactly what was recorded: operations, shapes, memory. So a graphed step reads all that changes from a
table of numbers, and the number of its rows is rounded up, that few graphs serve all steps: rows that take no step
write to a slot's bin.

Shapes: R rows, D hidden size.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from model.decoding.cache import Slots, Tables
from model.decoding.llama import Llama
from model.decoding.products import Product, by_torch
from model.decoding.sending import sent
from model.decoding.window import Window
from model.janus import CODE, TEXT, Janus

log = logging.getLogger(__name__)

GROWING = 8  # rows up to which their number doubles; beyond, it grows by as many
FEW = 4  # rows up to which a product can be a kernel's
OFTEN = 4  # uses of a step before it is captured
TRIES = 5  # by which the quicker way to do it is found
ONE_AT_A_TIME = threading.Lock()  # torch captures, and drops, one graph at a time in a process

Act = Callable[[], torch.Tensor]  # a step of what its table says → (R, D)
Capture = Callable[[Act], Act]
Attend = Callable[[torch.Tensor, Tables, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # as kernel.attend


@dataclass(frozen=True)
class Kernels:
    """What a step of one position each is made of; `few`: for few rows, where it has been of use."""

    attend: Attend
    few: Product | None = None

    def products(self, rows: int) -> tuple[Product, ...]:
        """The ways to multiply so many."""
        return (by_torch,) if self.few is None or rows > FEW else (by_torch, self.few)


class GraphedSteps:
    """One-position steps of the streams of a cache, each captured when it has been taken a few times."""

    def __init__(self, janus: Janus, llama: Llama, slots: Slots, kernels: Kernels, capture: Capture):
        self.janus, self.llama, self.slots, self.kernels = janus, llama, slots, kernels
        self.capture: Capture | None = capture
        self.steps: dict[int, GraphedStep] = {}  # by their rows

    def __call__(self, slots: Sequence[int], ids: Sequence[int], kinds: Sequence[int]) -> torch.Tensor:
        """A token and what it is (TEXT, CODE) to each of these slots → (len(slots), D), to be used before the next."""
        starts = self.slots.extend(slots, [1] * len(slots))
        turns = [start + self.slots.gaps[slot] for slot, start in zip(slots, starts, strict=True)]
        rows = rounded(len(slots))
        if rows not in self.steps:
            self.steps[rows] = GraphedStep(self.janus, self.llama, self.slots, self.kernels.attend, rows)
        step = self.steps[rows]
        step.fill([ids, kinds, slots, starts, turns])
        step.uses += 1
        if step.uses == OFTEN and self.capture is not None:
            self._capture(step)
        return step.act()[: len(slots)]

    def _capture(self, step: GraphedStep) -> None:
        captured = []
        for product in self.kernels.products(step.rows):
            try:
                captured.append(self.capture(functools.partial(step.compute, product)))
            except Exception as error:  # what it has broken, another attempt may make worse
                self.capture = None
                log.warning("a decoding step could not be captured, and goes on without: %s", error)
                break
        with ONE_AT_A_TIME:
            step.captured = quickest(captured) if captured else None
            captured.clear()

    def close(self) -> None:
        """Drop what was captured."""
        with ONE_AT_A_TIME:
            self.steps.clear()


def quickest(acts: Sequence[Act]) -> Act:
    """Of acts that do the same, which can be done again and again."""

    def seconds(act: Act) -> float:
        act().sum().item()  # waits
        began = time.perf_counter()
        for _ in range(TRIES):
            found = act()
        found.sum().item()
        return time.perf_counter() - began

    return min(acts, key=seconds) if len(acts) > 1 else acts[0]


def rounded(rows: int) -> int:
    """1, 2, 4, 8, and further by 8."""
    return 1 << (rows - 1).bit_length() if rows < GROWING else -(-rows // GROWING) * GROWING


class GraphedStep:
    """The step of so many rows. It reads ids, kinds, slots, positions and turns from `table`, (5, R)."""

    def __init__(self, janus: Janus, llama: Llama, slots: Slots, attend: Attend, rows: int):
        self.janus, self.llama, self.slots, self.attend, self.rows = janus, llama, slots, attend, rows
        self.idle = torch.tensor([[0], [TEXT], [0], [slots.capacity], [slots.capacity]]).expand(-1, rows)
        self.table = self.idle.to(slots.rotary[0].device, copy=True)
        self.captured: Act | None = None
        self.uses = 0

    def fill(self, numbers: Sequence[Sequence[int]]) -> None:
        """Say what the first rows do the next time; the others are idle."""
        table = self.idle.clone()
        table[:, : len(numbers[0])] = torch.tensor(numbers)
        self.table.copy_(sent(table, self.table.device))

    def act(self) -> torch.Tensor:
        """(R, D)."""
        return self.compute(by_torch) if self.captured is None else self.captured()

    def compute(self, product: Product) -> torch.Tensor:
        """(R, D). Nothing here asks what a number is; done twice, it is as if done once."""
        ids, kinds, _, positions, turns = self.table[..., None]
        drawn = kinds == CODE
        text, codes = self.janus.embed_text(ids.masked_fill(drawn, 0)), self.janus.embed_codes(ids * drawn)
        inputs = torch.where(drawn[..., None], codes.to(text.dtype), text)
        rows = Rows(self.attend, product, self.slots, self.table[2], positions, self.slots.turns(turns))
        return self.llama(inputs, rows)[:, 0]


class Rows:
    """The view of a graphed step: each row is at a position of a slot, which tensors on the one device say."""

    def __init__(
        self,
        attend: Attend,
        product: Product,
        cache: Slots,
        slots: torch.Tensor,
        positions: torch.Tensor,
        rotary: Tables,
    ):
        self.attended, self.product, self.stored = attend, product, cache.stored
        self.slots, self.positions, self.rotary = slots, positions, rotary

    def on(self, device: torch.device) -> Rows:
        return self

    def attend(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        return self.attended(self.stored[layer], self.rotary, self.slots, self.positions, projected)


@functools.cache
def capturing_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all, of high priority: those of usual priority come round again, and somebody may be painting there."""
    return torch.cuda.Stream(device, priority=-1)


class CudaGraphs:
    """Captures steps as CUDA graphs, which share the memory of what they compute on the way."""

    def __init__(self, device: torch.device):
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = capturing_stream(device)

    def __call__(self, act: Act) -> Act:
        graph = torch.cuda.CUDAGraph()
        with ONE_AT_A_TIME, torch.cuda.device(self.device):
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                act()  # libraries set themselves up before
                self.stream.synchronize()
                graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")  # others may paint meanwhile
                try:
                    found = act()
                finally:
                    graph.capture_end()
            torch.cuda.current_stream().wait_stream(self.stream)

        def replay() -> torch.Tensor:
            graph.replay()
            return found

        return replay


def on_gpu(llama: Llama, slots: Slots) -> tuple[Kernels, Capture] | None:
    """How steps are made and captured where the network is: nowhere but on a single GPU that Triton compiles for."""
    devices = {stored.device for stored in slots.stored}
    if len(devices) > 1 or slots.stored[0].device.type != "cuda":
        return None
    kernels = working_kernels(llama, slots)
    return kernels and (kernels, CudaGraphs(*devices))


def working_kernels(llama: Llama, slots: Slots) -> Kernels | None:
    """Those for this network; where Triton is not there or cannot compile them, None and a warning."""
    try:
        kernel = importlib.import_module("model.decoding.kernel")
        multiplies = kernel.multiplies(llama.model.config, slots.stored[0].dtype)
        kernels = Kernels(kernel.attend, kernel.product if multiplies else None)
        for product in kernels.products(FEW):
            check(kernels.attend, product, llama, slots)
    except Exception as error:
        log.warning("decoding goes on without its kernels, and slower: %s: %s", type(error).__name__, error)
        return None
    return kernels


@torch.inference_mode()
def check(attend: Attend, product: Product, llama: Llama, slots: Slots) -> None:
    """Raises ValueError where a layer does not find with them, after some positions, what it finds by torch."""
    layer, device, dtype = llama.layers[0], slots.stored[0].device, slots.stored[0].dtype
    last = min(100, slots.capacity) - 1
    trial = Slots((llama.key_heads, last + 1, llama.width), 1, [device], slots.rotary)
    generator, size = torch.Generator(device).manual_seed(0), llama.model.config.hidden_size
    inputs = torch.randn((1, last + 1, size), generator=generator, device=device, dtype=dtype) / 100
    expected = layer(inputs.clone(), Window(trial, [0], [last + 1]), 0)[:, -1:]
    slots, positions = torch.tensor([0] * FEW, device=device), torch.tensor([[last]] * FEW, device=device)
    rows = Rows(attend, product, trial, slots, positions, trial.turns(positions))
    difference = (layer(inputs[:, -1:].repeat(FEW, 1, 1), rows, 0) - expected).abs().max().item()
    if not difference <= 0.02 * (most := expected.abs().max().item()):
        raise ValueError(f"a layer finds up to {most:.3g} and with them is off by {difference:.3g}")
