"""Load test: annotators at work before, during and after a flood."""

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotations.ops.machine_speed import figures, spread
from annotations.store.store import open_store
from studio.load.annotation_load import AnnotationLoad, prepared
from studio.load.annotators import Annotator, PageActions
from studio.load.flood import flood
from studio.load.server import FORKS, Server, start_fork_server
from studio.settings import Mode

SLOWER = 2.0  # at most so many times the time of submits without the flood, 95 % of them
MORE = 100.0  # MB that the server may hold more than before, afterwards
SETTLING = 90.0  # seconds for that
LEAD = 3.0  # seconds of flood before the annotators begin
SAMPLES = 0.1  # seconds between two looks at the memory
ENDING = 90.0  # seconds that the flood may take to end


@dataclass(frozen=True)
class AttackResult:
    """Measurements of one run. Times in ms from submit to the next item, memory in MB."""

    annotators: int
    clients: int
    calm: tuple[float, ...]  # of submits before and after the flood
    during: tuple[float, ...]
    wanted: int  # submits while it was flooded
    refused: tuple[str, ...]  # what annotators were refused or lost meanwhile
    answers: Counter[tuple[str, int]]  # to the flood, by kind and status
    seconds: float  # of flood
    used: tuple[float, float]  # seconds of processor time meanwhile, of the server and of the clients that flood
    memory: tuple[float, float, float]  # before, at most during it, afterwards
    load: float  # of the machine, at the end

    @property
    def slower(self) -> float:
        return spread(self.during)[1] / spread(self.calm)[1]

    @property
    def passed(self) -> bool:
        back = self.memory[2] - self.memory[0] <= MORE
        return not self.refused and len(self.during) == self.wanted and self.slower <= SLOWER and back


async def measure(
    annotators: int = 18, each: int = 20, clients: int = 8, database: str | None = None, pause: float = 3
) -> AttackResult:
    """`each` submits of every annotator in the flood, as many without it, half of them before and half after, about
    `pause` seconds apart; in SQLite or a PostgreSQL database."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start_fork_server()
        with open_store(folder, database) as store:
            team = prepared(store, AnnotationLoad(annotators, items=annotators * (2 * each + 4), overlap=1))
        async with Server(folder, Mode.PUBLIC, database) as server:
            actions = await PageActions.of(server)
            await _work(team, server, actions, 2, pause)  # to warm up
            calm = await _work(team, server, actions, each // 2, pause)
            held = server.memory
            async with flooded(server, clients) as flooding:
                during = await _work(team, server, actions, each, pause)
            await _settle(server, held + MORE)
            after = server.memory
            calm += await _work(team, server, actions, each - each // 2, pause)
            return AttackResult(
                annotators=annotators,
                clients=clients,
                calm=calm,
                during=during,
                wanted=annotators * each,
                refused=tuple(
                    error
                    for annotator in team
                    for error in annotator.errors + ["a submit broke off"] * annotator.broken_off
                ),
                answers=flooding.answers,
                seconds=flooding.seconds,
                used=flooding.used,
                memory=(held, max(flooding.held), after),
                load=os.getloadavg()[0],
            )


async def _work(
    team: Sequence[Annotator], server: Server, actions: PageActions, each: int, pause: float
) -> tuple[float, ...]:
    """Let everybody submit `each` times; the times in ms."""
    for annotator in team:
        annotator.times.clear()
    await asyncio.gather(*(annotator.work(server, actions, most=each, pause=pause) for annotator in team))
    return tuple(ms for annotator in team for ms in annotator.times)


class Flooding:
    """Measurements of a flood."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.held: list[float] = []
        self.seconds = 0.0
        self.used = (0.0, 0.0)

    async def watch(self, server: Server) -> None:
        while True:
            self.held.append(server.memory)
            await asyncio.sleep(SAMPLES)


@asynccontextmanager
async def flooded(server: Server, clients: int) -> Any:
    """Flood the server by `clients` clients in a process of their own. Raises RuntimeError where that does not end."""
    stop, (receiving, sending) = FORKS.Event(), FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=flood, args=(server.url, clients, stop, sending), daemon=True)
    seen, began, used = Flooding(), time.monotonic(), server.cpu
    process.start()
    sending.close()  # here; where the flood breaks off, the other end says so
    watching = asyncio.create_task(seen.watch(server))
    try:
        await asyncio.sleep(LEAD)
        yield seen
        stop.set()
        seen.seconds, used = time.monotonic() - began, server.cpu - used
        if not await asyncio.to_thread(receiving.poll, ENDING):
            raise RuntimeError("the flood did not end")
        try:
            seen.answers, theirs = receiving.recv()
            seen.used = used, theirs
        except EOFError as error:
            raise RuntimeError("the flood broke off") from error
    finally:
        watching.cancel()
        process.terminate()
        process.join()


async def _settle(server: Server, most: float) -> None:
    """Wait until the server's memory is at most `most` MB, or SETTLING seconds have passed."""
    until = time.monotonic() + SETTLING
    while server.memory > most and time.monotonic() < until:
        await asyncio.sleep(1)


def table(result: AttackResult) -> str:
    (median, p95), (flooded_median, flooded_p95) = spread(result.calm), spread(result.during)
    held, peak, after = result.memory
    rows = {
        "annotators at once, clients that flood": f"{result.annotators} + {result.clients}",
        "submit and next without the flood, median, 95 %": f"{median:.0f}, {p95:.0f} ms",
        "submit and next in the flood": f"{flooded_median:.0f}, {flooded_p95:.0f} ms",
        f"95 %, times as long (at most {SLOWER})": f"{result.slower:.2f}",
        "submits wanted, done in the flood": f"{result.wanted}, {len(result.during)}",
        "refused or broken off (wanted none)": f"{len(result.refused)}",
        "memory before, at most, afterwards": f"{held:.0f}, {peak:.0f}, {after:.0f} MB",
        f"memory more than before (at most {MORE:.0f})": f"{after - held:+.0f} MB",
        "seconds of flood": f"{result.seconds:.0f}",
        "processor time, server and those who flood": f"{result.used[0]:.0f}, {result.used[1]:.0f} s",
        "load of the machine (1 min)": f"{result.load:.1f}",
    }
    lines = [figures(rows)]
    for kind in sorted({kind for kind, _ in result.answers}):
        counts = sorted((status, count) for (its, status), count in result.answers.items() if its == kind)
        counts_text = ", ".join(f"{count:,} × {status or 'broken off'}" for status, count in counts)
        lines.append(f"  {kind}: {counts_text}")
    return "\n".join(lines)
