"""Single-token decode steps captured as a CUDA graph and replayed.

On a GPU a network's hundreds of small operations take longer to launch than to run. A graph launches all of them at
once, but repeats exactly what was recorded: operations, shapes, memory. So a graphed step reads all that changes from a
table of numbers, and the number of its rows is rounded up, that few graphs serve all steps: rows that take no step
write to a slot's bin.

Shapes: R rows, D hidden size.
"""

import functools
import logging
import threading
from collections.abc import Callable, Sequence

import torch

from model.backends.janus import CODE, TEXT, Janus
from model.decoding.cuda.kernel_choice import Attend, GraphView, working_kernel
from model.decoding.kv_cache import KVCache, to_device
from model.decoding.llama import Llama

log = logging.getLogger(__name__)

GROWING = 8  # rows up to which their number doubles; beyond, it grows by as many
OFTEN = 4  # uses of a step before it is captured
ONE_AT_A_TIME = threading.Lock()  # torch captures, and drops, one graph at a time in a process
CHOSEN: dict[tuple, Attend | None] = {}  # once in a process, so that a seed draws the same in every engine
CHOOSING = threading.Lock()

Act = Callable[[], torch.Tensor]  # a step → (R, D)
Capture = Callable[[Act], Act]


class GraphedSteps:
    """One-position steps of the streams of a cache, each captured when it has been taken a few times."""

    def __init__(self, janus: Janus, llama: Llama, slots: KVCache, attend: Attend, capture: Capture):
        self.janus, self.llama, self.slots, self.attend = janus, llama, slots, attend
        self.capture: Capture | None = capture
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
        if step.uses == OFTEN and self.capture is not None:
            try:
                step.captured = self.capture(step.act)
            except Exception as error:  # what it has broken, another attempt may make worse
                self.capture = None
                log.warning("a decoding step could not be captured; they go on as they are: %s", error)
        return (step.captured or step.act)()[: len(slots)]

    def close(self) -> None:
        """Drop what was captured."""
        with ONE_AT_A_TIME:
            self.steps.clear()


def rounded(rows: int) -> int:
    """1, 2, 4, 8, and further by 8."""
    return 1 << (rows - 1).bit_length() if rows < GROWING else -(-rows // GROWING) * GROWING


class GraphedStep:
    """The step of so many rows. `act` reads ids, kinds, slots, positions and turns from `table`, (5, R)."""

    def __init__(self, janus: Janus, llama: Llama, slots: KVCache, attend: Attend, rows: int):
        self.janus, self.llama, self.slots, self.attend = janus, llama, slots, attend
        self.idle = torch.tensor([[0], [TEXT], [0], [slots.capacity], [slots.capacity]]).expand(-1, rows)
        self.table = self.idle.to(slots.rotary[0].device, copy=True)
        self.captured: Act | None = None
        self.uses = 0

    def fill(self, numbers: Sequence[Sequence[int]]) -> None:
        """Set the inputs of the first rows, (5, ≤ R); the other rows are idle."""
        table = self.idle.clone()
        table[:, : len(numbers[0])] = torch.tensor(numbers)
        self.table.copy_(to_device(table, self.table.device))

    def act(self) -> torch.Tensor:
        """(R, D) hidden states. No operation depends on the host, and repeating the step writes the same cache
        entries."""
        ids, kinds, _, positions, turns = self.table[..., None]
        drawn = kinds == CODE
        text, codes = self.janus.embed_text(ids.masked_fill(drawn, 0)), self.janus.embed_codes(ids * drawn)
        inputs = torch.where(drawn[..., None], codes.to(text.dtype), text)
        view = GraphView(self.attend, self.slots, self.table[2], positions, turns)
        return self.llama(inputs, view)[:, 0]


@functools.cache
def capturing_stream(device: torch.device) -> torch.cuda.Stream:
    """The CUDA stream on which graphs are captured, of high priority: torch's pool of default-priority streams is
    reused round-robin, so that one of those may be in use by another thread."""
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
                    out = act()
                finally:
                    graph.capture_end()
            torch.cuda.current_stream().wait_stream(self.stream)

        def replay() -> torch.Tensor:
            graph.replay()
            return out

        return replay


def on_gpu(llama: Llama, slots: KVCache) -> tuple[Attend, Capture] | None:
    """How steps attend and are captured where the network is: nowhere but on a single GPU that Triton compiles for."""
    devices = {stored.device for stored in slots.stored}
    if len(devices) > 1 or slots.stored[0].device.type != "cuda":
        return None
    [device], config = devices, llama.model.config
    sizes = (config.hidden_size, config.intermediate_size, config.num_attention_heads, config.num_key_value_heads)
    with CHOOSING:
        key = (device, slots.stored[0].dtype, *sizes)
        if key not in CHOSEN:
            CHOSEN[key] = working_kernel(llama, slots)
    attend = CHOSEN[key]
    return attend and (attend, CudaGraphs(device))
