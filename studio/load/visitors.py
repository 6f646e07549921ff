"""Load test: many visitors drawing at once; order and completeness of what they see, delay against one alone."""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from gradio_client.utils import apply_diff

from annotations.ops.machine_speed import figures
from studio.load.page_client import Handler, PageClient
from studio.load.server import Server

SLOWER = 1.25  # at most so many times the time that one visitor has
PROMPT = "three hearts below a tree"


@dataclass
class VisitResult:
    """The rows that one visitor's page received."""

    rows: list[dict] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of every row, in seconds since the button was pressed
    gaps: int = 0  # rows that came out of order, changed or not at all
    ended: bool = False
    run: str = ""  # its id

    def take(self, value: dict, now: float) -> None:
        first, rows = value.get("first", 0), value.get("rows", [])
        known = len(self.rows) - first
        self.gaps += known < 0 or self.rows[first:] != rows[:known]
        self.rows += rows[known:]
        self.times += [now] * len(rows[known:])
        self.ended |= "trajectory" in value
        self.run = value.get("run", self.run)

    @property
    def drawing(self) -> float:
        """Seconds from the first patch to the last."""
        patches = [at for row, at in zip(self.rows, self.times, strict=True) if row["is"] in ("cells", "picture")]
        return patches[-1] - patches[0] if patches else float("nan")

    @property
    def complete(self) -> bool:
        """Whether every image that was begun was finished, and the end was received."""
        begun = sum(row["is"] == "segment" and row["kind"] == "image" for row in self.rows)
        finished = sum(row["is"] == "picture" for row in self.rows)
        return self.ended and self.gaps == 0 and 0 < begun == finished


async def visit(client: httpx2.AsyncClient, button: Handler, seen: VisitResult | None = None) -> VisitResult:
    """Start a drawing and read its stream to the end into `seen`."""
    return await _read(PageClient(client).messages(button, [PROMPT, *button.values[1:]]), seen or VisitResult())


async def follow(client: httpx2.AsyncClient, follows: Handler, run: str) -> VisitResult:
    """Follow a drawing that is under way for somebody else."""
    return await _read(PageClient(client).messages(follows, [], {"run": run}), VisitResult())


async def _read(messages: AsyncIterator[dict[str, Any]], seen: VisitResult) -> VisitResult:
    began, shown = time.monotonic(), list[Any]()
    async for message in messages:
        data = (message.get("output") or {}).get("data")
        if message.get("msg") == "process_generating" and data:
            shown = [apply_diff(*pair) for pair in zip(shown, data, strict=True)] if shown else data
            if isinstance(shown[0], dict) and "rows" in shown[0]:
                seen.take(shown[0], time.monotonic() - began)
    return seen


async def visits(url: str, count: int) -> list[VisitResult]:
    async with httpx2.AsyncClient(base_url=url, timeout=None, limits=httpx2.Limits(max_connections=None)) as client:
        config = (await client.get("/config")).raise_for_status().json()
        button = Handler.on(config, "", "draw", "click")
        return await asyncio.gather(*(visit(client, button) for _ in range(count)))


async def measure(count: int, pace: float | None = None) -> tuple[VisitResult, list[VisitResult]]:
    """One visitor alone, then `count` at once, at a studio of their own, which draws a patch every `pace` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        async with Server(Path(folder), pace=pace) as server:
            await visits(server.url, 1)  # to warm up
            [alone] = await visits(server.url, 1)
            return alone, await visits(server.url, count)


def table(alone: VisitResult, many: Sequence[VisitResult]) -> str:
    times = sorted(visit.drawing / alone.drawing for visit in many)
    gap = max(later - earlier for visit in many for earlier, later in itertools.pairwise(visit.times))
    rows = {
        "visitors at once": f"{len(many)}",
        "saw every row in order and every picture": f"{sum(visit.complete for visit in many)}",
        "first to last patch, alone": f"{alone.drawing:.2f} s",
        "first to last patch, median of many": f"{statistics.median(times):.3f} × alone",
        "first to last patch, slowest of many": f"{times[-1]:.3f} × alone",
        "first row after, slowest": f"{max(visit.times[0] for visit in many):.2f} s",
        "longest silence between two rows": f"{gap:.2f} s",
    }
    return figures(rows)


def passed(alone: VisitResult, many: Sequence[VisitResult]) -> bool:
    """Whether every visit is complete, and none took more than SLOWER times as long as the one alone."""
    slowest = max(visit.drawing / alone.drawing for visit in many)
    return all(visit.complete for visit in [alone, *many]) and slowest <= SLOWER
