"""Steps of one position for each stream, recorded once and repeated: on a GPU as a CUDA graph.

There a network's hundreds of small operations take longer to launch than to run. A graph launches all of them at once,
but repeats exactly what was recorded: operations, shapes, memory. So a recorded step reads all that changes from a
table of numbers; it has a row for every slot from the first to the last in use, of which those that take no step
write to their slots' bins; and its sizes are rounded up, that few records serve all steps.

Shapes: R rows, D hidden size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from model.decoding.cache import Slots
from model.decoding.llama import Llama
from model.decoding.window import Sight, Window
from model.janus import CODE, TEXT, Janus

log = logging.getLogger(__name__)

SPAN = 128  # positions by which what is seen grows
ROWS = 8  # by which many rows grow
OFTEN = 4  # times that a step is taken before it is recorded
MOST = 256  # records at a time

Act = Callable[[], torch.Tensor]  # a step of what the table says → (R, D)
Record = Callable[[Act], Act]


@dataclass(frozen=True)
class Extent:
    """What one record serves: the first `low` slots and the last `high`, seen up to a position."""

    low: int
    high: int
    seen: int


class RecordedSteps:
    """One-position steps of the streams of a cache, each recorded when it has been taken a few times."""

    def __init__(self, janus: Janus, llama: Llama, slots: Slots, record: Record):
        self.janus, self.llama, self.slots, self.record = janus, llama, slots, record
        self.steps: dict[Extent, RecordedStep] = {}

    def __call__(self, slots: Sequence[int], ids: Sequence[int], kinds: Sequence[int]) -> torch.Tensor:
        """A token and what it is (TEXT, CODE) to each of these slots → (len(slots), D)."""
        starts = self.slots.extend(slots, [1] * len(slots))
        turns = [start + self.slots.gaps[slot] for slot, start in zip(slots, starts, strict=True)]
        extent = extent_of(slots, max(starts) + 1, self.slots)
        step = self.steps.pop(extent, None) or RecordedStep(self.janus, self.llama, self.slots, extent)
        self.steps[extent] = step  # the latest last
        if len(self.steps) > MOST:
            del self.steps[next(iter(self.steps))]
        step.uses += 1
        if step.uses == OFTEN:
            try:
                step.act = self.record(step.act)
            except RuntimeError as error:  # goes on as it is
                log.warning("a decoding step could not be recorded: %s", error)
        return step(slots, [ids, kinds, starts, turns])


def extent_of(chosen: Sequence[int], seen: int, slots: Slots) -> Extent:
    """Drawing streams are the first slots, judging streams the last; the widest stretch of others is left out."""
    total = len(slots.lengths)
    before, after = max(pairwise([-1, *sorted(chosen), total]), key=lambda pair: pair[1] - pair[0])
    low, high = rounded(before + 1), rounded(total - after)
    if low + high > total:
        low, high = total, 0
    return Extent(low, high, min(-(-seen // SPAN) * SPAN, slots.capacity + 1))


def rounded(rows: int) -> int:
    """0, 1, 2, 4, 8, and further by ROWS."""
    return 1 << (rows - 1).bit_length() if 0 < rows < ROWS else -(-rows // ROWS) * ROWS


class RecordedStep:
    """The step of one extent. `act` reads ids, kinds, positions and turns from `table`, (4, R)."""

    def __init__(self, janus: Janus, llama: Llama, slots: Slots, extent: Extent):
        self.janus, self.llama, self.slots, self.extent = janus, llama, slots, extent
        device, total = slots.rotary[0].device, len(slots.lengths)
        self.parts = [part for part in (range(extent.low), range(total - extent.high, total)) if part]
        self.row_of = {slot: row for row, slot in enumerate(slot for part in self.parts for slot in part)}
        self.rows = torch.tensor(list(self.row_of), device=device)
        self.idle = torch.tensor([[0], [TEXT], [slots.capacity], [slots.capacity]]).expand(-1, len(self.row_of))
        self.table = self.idle.to(device, copy=True)
        self.act: Act = self.run
        self.uses = 0

    def __call__(self, chosen: Sequence[int], numbers: Sequence[Sequence[int]]) -> torch.Tensor:
        rows = [self.row_of[slot] for slot in chosen]
        table = self.idle.clone()
        table[:, rows] = torch.tensor(numbers)
        self.table.copy_(table)
        return self.act()[rows]

    def run(self) -> torch.Tensor:
        """(R, D): nothing here asks what a number is."""
        ids, kinds, positions, turns = self.table[..., None]
        drawn = kinds == CODE
        text, codes = self.janus.embed_text(ids.masked_fill(drawn, 0)), self.janus.embed_codes(ids * drawn)
        inputs = torch.where(drawn[..., None], codes.to(text.dtype), text)
        window = Still(self.slots, self.parts, self.rows, positions, turns, self.extent.seen)
        return self.llama(inputs, window)[:, 0]


class Still(Window):
    """What a recorded step writes to and sees: whole stretches of slots, each looked at in place."""

    def __init__(
        self,
        slots: Slots,
        parts: Sequence[range],
        rows: torch.Tensor,
        positions: torch.Tensor,
        turns: torch.Tensor,
        seen: int,
    ):
        self.slots, self.rows, self.positions = slots, rows, positions
        self.rotary = slots.turns(turns)
        self.sizes = [len(part) for part in parts]
        each = zip(parts, rows.split(self.sizes), positions.split(self.sizes), strict=True)
        self.sights = [Sight(slots, *of, seen) for of in each]

    def on(self, device: torch.device) -> Window:
        return self

    def attend(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        found = zip(self.sights, queries.split(self.sizes), strict=True)
        return torch.cat([sight.attend(self.slots.stored[layer], asked) for sight, asked in found])


class CudaGraphs:
    """Records steps as CUDA graphs, which share the memory of what they compute on the way."""

    def __init__(self, device: torch.device):
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, act: Act) -> Act:
        graph, aside = torch.cuda.CUDAGraph(), torch.cuda.Stream(self.device)
        with torch.cuda.device(self.device):
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                act()  # libraries set themselves up outside the record
            torch.cuda.current_stream().wait_stream(aside)
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):  # others may go on
                found = act()

        def replay() -> torch.Tensor:
            graph.replay()
            return found

        return replay


def recorder(llama: Llama) -> Record | None:
    """How steps are recorded where the network is: nowhere but on a single GPU."""
    devices = {layer.device for layer in llama.layers}
    return CudaGraphs(*devices) if len(devices) == 1 and next(iter(devices)).type == "cuda" else None
