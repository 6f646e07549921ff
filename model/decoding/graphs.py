"""Steps of one position for each stream, recorded once and repeated as a CUDA graph.

On a GPU a network's hundreds of small operations take longer to launch than to run. A graph launches all of them at
once, but repeats exactly what was recorded: operations, shapes, memory. So a graphed step reads all that changes from a
table of numbers; it has a row for every slot of two stretches, from the first slot on and up to the last, of which
those that take no step write to their slots' bins; and its sizes are rounded up, that few graphs serve all steps.

Shapes: R rows, D hidden size.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from model.decoding.cache import Slots
from model.decoding.llama import Llama
from model.decoding.window import Sight, places, put
from model.janus import CODE, TEXT, Janus

log = logging.getLogger(__name__)

SPAN = 128  # positions by which what is seen grows
FEW = 8  # rows up to which their number doubles; beyond, it grows by as many
OFTEN = 4  # uses of a step before it is captured
MOST = 256  # steps that are kept
ONE_AT_A_TIME = threading.Lock()  # torch captures, and drops, one graph at a time in a process

Act = Callable[[], torch.Tensor]  # a step of what its table says → (R, D)
Capture = Callable[[Act], Act]


@dataclass(frozen=True)
class Extent:
    """What one graph serves: so many of the first slots and of the last, seen up to a position."""

    first: int
    last: int
    seen: int


class GraphedSteps:
    """One-position steps of the streams of a cache, each captured when it has been taken a few times."""

    def __init__(self, janus: Janus, llama: Llama, slots: Slots, capture: Capture):
        self.janus, self.llama, self.slots, self.capture = janus, llama, slots, capture
        self.steps: dict[Extent, GraphedStep] = {}

    def __call__(self, slots: Sequence[int], ids: Sequence[int], kinds: Sequence[int]) -> torch.Tensor:
        """A token and what it is (TEXT, CODE) to each of these slots → (len(slots), D)."""
        starts = self.slots.extend(slots, [1] * len(slots))
        turns = [start + self.slots.gaps[slot] for slot, start in zip(slots, starts, strict=True)]
        step = self._step(extent_of(slots, max(starts) + 1, self.slots))
        rows = step.fill(slots, [ids, kinds, starts, turns])
        if step.uses == OFTEN:
            try:
                step.captured = self.capture(step.act)
            except RuntimeError as error:
                log.warning("a decoding step could not be captured, and goes on as it is: %s", error)
        return (step.captured or step.act)()[rows]

    def _step(self, extent: Extent) -> GraphedStep:
        step = self.steps.pop(extent, None) or GraphedStep(self.janus, self.llama, self.slots, extent)
        self.steps[extent] = step  # the latest last
        step.uses += 1
        if len(self.steps) > MOST:
            with ONE_AT_A_TIME:
                del self.steps[next(iter(self.steps))]
        return step


def extent_of(chosen: Sequence[int], seen: int, slots: Slots) -> Extent:
    """Drawing streams are the first slots, judging streams the last; the widest stretch of others is left out."""
    total = len(slots.lengths)
    before, after = max(pairwise([-1, *sorted(chosen), total]), key=lambda pair: pair[1] - pair[0])
    first, last = rounded(before + 1), rounded(total - after)
    if first + last > total:
        first, last = total, 0
    return Extent(first, last, min(-(-seen // SPAN) * SPAN, slots.capacity + 1))


def rounded(rows: int) -> int:
    """0, 1, 2, 4, 8, and further by 8."""
    return 1 << (rows - 1).bit_length() if 0 < rows < FEW else -(-rows // FEW) * FEW


class GraphedStep:
    """The step of one extent. `act` reads ids, kinds, positions and turns from `table`, (4, R)."""

    def __init__(self, janus: Janus, llama: Llama, slots: Slots, extent: Extent):
        self.janus, self.llama, self.slots, self.extent = janus, llama, slots, extent
        device, total = slots.rotary[0].device, len(slots.lengths)
        self.parts = [part for part in (range(extent.first), range(total - extent.last, total)) if part]
        self.row_of = {slot: row for row, slot in enumerate(slot for part in self.parts for slot in part)}
        self.rows = torch.tensor(list(self.row_of), device=device)
        self.idle = torch.tensor([[0], [TEXT], [slots.capacity], [slots.capacity]]).expand(-1, len(self.row_of))
        self.table = self.idle.to(device, copy=True)
        self.captured: Act | None = None
        self.uses = 0

    def fill(self, chosen: Sequence[int], numbers: Sequence[Sequence[int]]) -> list[int]:
        """Say what the next act is to do; the rows of the chosen slots."""
        rows = [self.row_of[slot] for slot in chosen]
        table = self.idle.clone()
        table[:, rows] = torch.tensor(numbers)
        self.table.copy_(table)
        return rows

    def act(self) -> torch.Tensor:
        """(R, D). Nothing here asks what a number is; done twice, it is as if done once."""
        ids, kinds, positions, turns = self.table[..., None]
        drawn = kinds == CODE
        text, codes = self.janus.embed_text(ids.masked_fill(drawn, 0)), self.janus.embed_codes(ids * drawn)
        inputs = torch.where(drawn[..., None], codes.to(text.dtype), text)
        return self.llama(inputs, Stretches(self, positions, turns))[:, 0]


class Stretches:
    """The view of a graphed step: whole stretches of slots, each looked at in place."""

    def __init__(self, step: GraphedStep, positions: torch.Tensor, turns: torch.Tensor):
        self.stored = step.slots.stored
        self.rotary = step.slots.turns(turns)
        self.places = places(step.slots, step.rows, positions)
        self.sizes = [len(part) for part in step.parts]
        each = zip(step.parts, step.rows.split(self.sizes), positions.split(self.sizes), strict=True)
        self.sights = [Sight(step.slots, *of, step.extent.seen) for of in each]

    def on(self, device: torch.device) -> Stretches:
        return self

    def write(self, layer: int, new: torch.Tensor) -> None:
        put(self.stored[layer], self.places, new)

    def attend(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        found = zip(self.sights, queries.split(self.sizes), strict=True)
        return torch.cat([sight.attend(self.stored[layer], asked) for sight, asked in found])


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


def capture_for(llama: Llama) -> Capture | None:
    """How steps are captured where the network is: nowhere but on a single GPU."""
    devices = {layer.device for layer in llama.layers}
    return CudaGraphs(*devices) if len(devices) == 1 and next(iter(devices)).type == "cuda" else None
