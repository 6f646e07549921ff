"""Load test: visits of the front page and drawings; the server's CPU and memory for each."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import httpx2

from annotations.ops.machine_speed import figures
from studio.load.flood import address, client_at
from studio.load.page_client import API, Handler, PageClient
from studio.load.server import Server
from studio.load.visitors import visit
from studio.settings import Mode

MORE = 100.0  # MB that the server may hold more than after the first few
ADDRESSES = 200  # that visitors come from
PAGES_AT_ONCE = 4  # visitors who open a page at the same time
DRAWINGS_AT_ONCE = 24  # who draw
SESSIONS = 1000  # of visitors, that a studio keeps at most
FIRST = (40, 24)  # visits and drawings before anything is measured


@dataclass(frozen=True)
class VisitCosts:
    """Measurements of one run."""

    visits: int
    drawings: int
    incomplete: int  # drawings that were not seen whole
    cpu: float  # ms of processor time of the server for each visit
    cpu_drawing: float  # … and for each drawing
    memory: tuple[float, float, float]  # MB after the first few, after all visits, after all drawings
    seconds: float
    load: float  # of the machine, at the end

    @property
    def each_session(self) -> float:
        """kB that the server holds for each session it keeps."""
        return 1000 * max(0.0, self.memory[1] - self.memory[0]) / max(1, min(self.visits, SESSIONS))

    @property
    def passed(self) -> bool:
        return not self.incomplete and max(self.memory) - self.memory[0] <= MORE


async def measure(visits: int = 2000, drawings: int = 1000) -> VisitCosts:
    """Visits of the front page first, then drawings, at a studio of their own. Raises httpx2.HTTPError."""
    mode = Mode.LOCAL if address(0) is None else Mode.PUBLIC  # from one address there would be too many
    with tempfile.TemporaryDirectory() as folder:
        async with Server(Path(folder), mode) as server, AsyncExitStack() as opened:
            clients = [client_at(server.url, number, timeout=None) for number in range(ADDRESSES)]
            people = [await opened.enter_async_context(client) for client in clients]
            return await _measured(server, cycle(people), visits, drawings)


async def _measured(server: Server, people: Iterator[httpx2.AsyncClient], visits: int, drawings: int) -> VisitCosts:
    config = (await next(people).get("/config")).raise_for_status().json()
    loads, button = Handler.on_load(config), Handler.on(config, "", "draw", "click")
    whole: list[bool] = []

    async def open_page(client: httpx2.AsyncClient) -> None:
        await open_front_page(client, loads)

    async def draw(client: httpx2.AsyncClient) -> None:
        whole.append((await visit(client, button)).complete)

    await _many(open_page, people, FIRST[0], PAGES_AT_ONCE)
    await _many(draw, people, min(FIRST[1], drawings), DRAWINGS_AT_ONCE)
    began, memory, used = time.monotonic(), [server.memory], [server.cpu]
    for what, count, at_once in ((open_page, visits, PAGES_AT_ONCE), (draw, drawings, DRAWINGS_AT_ONCE)):
        await _many(what, people, count, at_once)
        memory.append(server.memory)
        used.append(server.cpu)
    return VisitCosts(
        visits=visits,
        drawings=drawings,
        incomplete=whole.count(False),
        cpu=1000 * (used[1] - used[0]) / max(1, visits),
        cpu_drawing=1000 * (used[2] - used[1]) / max(1, drawings),
        memory=tuple(memory),
        seconds=time.monotonic() - began,
        load=os.getloadavg()[0],
    )


async def open_front_page(client: httpx2.AsyncClient, loads: list[Handler]) -> None:
    """What a browser that was here before asks for: the page, what fills it, and its heartbeat stream."""
    page = PageClient(client)
    (await client.get("/")).raise_for_status()
    async with client.stream("GET", f"{API}/heartbeat/{page.session}"):
        for handler in loads:
            await page.ask(handler)


async def _many(
    action: Callable[[httpx2.AsyncClient], Awaitable[None]],
    clients: Iterator[httpx2.AsyncClient],
    count: int,
    at_once: int,
) -> None:
    """Runs `action` `count` times, `at_once` of them concurrently."""
    remaining = iter(range(count))

    async def worker() -> None:
        for _ in remaining:
            await action(next(clients))

    await asyncio.gather(*(worker() for _ in range(at_once)))


def table(costs: VisitCosts) -> str:
    first, read, drawn = costs.memory
    rows = {
        "visits of the front page": f"{costs.visits:,}",
        "drawings (by a scripted network)": f"{costs.drawings:,}",
        "drawings not seen whole (wanted none)": f"{costs.incomplete}",
        "processor time of a visit": f"{costs.cpu:.1f} ms",
        "processor time of a drawing": f"{costs.cpu_drawing:.0f} ms",
        "memory of a session": f"{costs.each_session:.0f} kB",
        "memory after the first few": f"{first:.0f} MB",
        "memory after all visits": f"{read:.0f} MB",
        "memory after all drawings": f"{drawn:.0f} MB",
        f"memory more than at first (at most {MORE:.0f})": f"{max(read, drawn) - first:+.0f} MB",
        "seconds": f"{costs.seconds:.0f}",
        "load of the machine (1 min)": f"{costs.load:.1f}",
    }
    return figures(rows)
