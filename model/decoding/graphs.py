"""Steps of one position for each stream, recorded once and repeated as a CUDA graph.

On a GPU a network's hundreds of small operations take longer to launch than to run. A graph launches all of them at
once, but repeats exactly what was recorded: operations, shapes, memory. So a graphed step reads all that changes from a
table of numbers, and the number of its rows is rounded up, that few graphs serve all steps: rows that take no step
write to a slot's bin.

Shapes: R rows, D hidden size.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Sequence

import torch

from model.decoding.cache import Slots, Tables
from model.decoding.llama import Llama
from model.decoding.sending import sent
from model.decoding.window import Window
from model.janus import CODE, TEXT, Janus

log = logging.getLogger(__name__)

FEW = 8  # rows up to which their number doubles; beyond, it grows by as many
OFTEN = 4  # uses of a step before it is captured
ONE_AT_A_TIME = threading.Lock()  # torch captures, and drops, one graph at a time in a process

Act = Callable[[], torch.Tensor]  # a step of what its table says → (R, D)
Capture = Callable[[Act], Act]
Attend = Callable[[torch.Tensor, Tables, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # as kernel.attend


class GraphedSteps:
    """One-position steps of the streams of a cache, each captured when it has been taken a few times."""

    def __init__(self, janus: Janus, llama: Llama, slots: Slots, attend: Attend, capture: Capture):
        self.janus, self.llama, self.slots, self.attend, self.capture = janus, llama, slots, attend, capture
        self.steps: dict[int, GraphedStep] = {}  # by their rows

    def __call__(self, slots: Sequence[int], ids: Sequence[int], kinds: Sequence[int]) -> torch.Tensor:
        """A token and what it is (TEXT, CODE) to each of these slots → (len(slots), D), to be used before the next."""
        starts = self.slots.extend(slots, [1] * len(slots))
        turns = [start + self.slots.gaps[slot] for slot, start in zip(slots, starts, strict=True)]
        rows = rounded(len(slots))
        if rows not in self.steps:
            self.steps[rows] = GraphedStep(self.janus, self.llama, self.slots, self.attend, rows)
        step = self.steps[rows]
        step.fill([ids, kinds, slots, starts, turns])
        step.uses += 1
        if step.uses == OFTEN:
            try:
                step.captured = self.capture(step.act)
            except RuntimeError as error:
                log.warning("a decoding step could not be captured, and goes on as it is: %s", error)
        return (step.captured or step.act)()[: len(slots)]

    def close(self) -> None:
        """Drop what was captured."""
        with ONE_AT_A_TIME:
            self.steps.clear()


def rounded(rows: int) -> int:
    """1, 2, 4, 8, and further by 8."""
    return 1 << (rows - 1).bit_length() if rows < FEW else -(-rows // FEW) * FEW


class GraphedStep:
    """The step of so many rows. `act` reads ids, kinds, slots, positions and turns from `table`, (5, R)."""

    def __init__(self, janus: Janus, llama: Llama, slots: Slots, attend: Attend, rows: int):
        self.janus, self.llama, self.slots, self.attend = janus, llama, slots, attend
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
        """(R, D). Nothing here asks what a number is; done twice, it is as if done once."""
        ids, kinds, _, positions, turns = self.table[..., None]
        drawn = kinds == CODE
        text, codes = self.janus.embed_text(ids.masked_fill(drawn, 0)), self.janus.embed_codes(ids * drawn)
        inputs = torch.where(drawn[..., None], codes.to(text.dtype), text)
        rows = Rows(self.attend, self.slots, self.table[2], positions, self.slots.turns(turns))
        return self.llama(inputs, rows)[:, 0]


class Rows:
    """The view of a graphed step: each row is at a position of a slot, which tensors on the one device say."""

    def __init__(self, attend: Attend, cache: Slots, slots: torch.Tensor, positions: torch.Tensor, rotary: Tables):
        self.attended, self.stored = attend, cache.stored
        self.slots, self.positions, self.rotary = slots, positions, rotary

    def on(self, device: torch.device) -> Rows:
        return self

    def attend(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        return self.attended(self.stored[layer], self.rotary, self.slots, self.positions, projected)


class CudaGraphs:
    """Captures steps as CUDA graphs, which share the memory of what they compute on the way."""

    def __init__(self, device: torch.device):
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)

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


def on_gpu(llama: Llama, slots: Slots) -> tuple[Attend, Capture] | None:
    """How a step attends and is captured where the network is: nowhere but on a single GPU that Triton compiles for."""
    devices = {stored.device for stored in slots.stored}
    if len(devices) > 1 or slots.stored[0].device.type != "cuda":
        return None
    attend = working_kernel(llama, slots)
    return attend and (attend, CudaGraphs(*devices))


def working_kernel(llama: Llama, slots: Slots) -> Attend | None:
    """The kernel for this cache; where Triton is not there or cannot compile it, None and a warning."""
    try:
        attend = importlib.import_module("model.decoding.kernel").attend
        check(attend, llama, slots)
    except Exception as error:
        log.warning("decoding goes on without its kernel, and slower: %s: %s", type(error).__name__, error)
        return None
    return attend


@torch.inference_mode()
def check(attend: Attend, llama: Llama, slots: Slots) -> None:
    """Raises ValueError where, after some positions, it does not find what torch finds."""
    device, heads, width = slots.rotary[0].device, llama.key_heads, llama.width
    last, queries = min(100, slots.capacity) - 1, llama.model.config.num_attention_heads
    trial = Slots((heads, last + 1, width), 1, [device], slots.rotary)
    generator = torch.Generator(device).manual_seed(0)
    shape, dtype = (1, last + 1, (queries + 2 * heads) * width), slots.stored[0].dtype
    projected = torch.randn(shape, generator=generator, device=device, dtype=dtype)
    expected = Window(trial, [0], [last + 1]).attend(0, projected)[:, -1:]
    slot, position = torch.tensor([0], device=device), torch.tensor([[last]], device=device)
    found = attend(trial.stored[0], trial.turns(position), slot, position, projected[:, -1:])
    if not torch.allclose(found, expected, rtol=0.02, atol=0.02):
        raise ValueError(f"it is off by {(found - expected).abs().max().item():.3g}")
