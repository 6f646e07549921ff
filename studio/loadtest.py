"""How the studio fares with many visitors: `python -m studio.loadtest --visitors 32`

Starts a studio of its own whose network is scripted: it draws a recorded trajectory again at an even pace, so that the
web server and the store are measured and not the model. First one visitor, then many at once press the Draw page's
button over real HTTP and read what their browser would be sent. Each must see every row once and in order, and every
finished picture; how much longer it takes from the first patch to the last with many is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from gradio_client.utils import apply_diff

from annotations.recorded import fill_if_empty
from annotations.store import Store, open_store
from annotations.trajectories import Filter
from model.checkpoint import open_checkpoint
from model.decoding.grammar import Request
from model.events import Event, Failed, Preview
from model.replay import replay
from model.trajectory import Trajectory
from studio.checkpoints import Checkpoints
from studio.generator import AT_ONCE, Generator
from studio.server import start
from studio.settings import Settings

PATCH_SECONDS = 0.03  # between two patches; everything else comes at once
IDLE_SECONDS = 0.002
SLOWER = 1.25  # at most so many times the time that one visitor has
STARTING = 120  # seconds that the studio may take
PROMPT = "three hearts below a tree"


# --- the scripted network ---------------------------------------------------------------------------------------


class Script:
    """Stands where the engine stands, and plays a recorded aha moment to everybody who asks."""

    def __init__(self, store: Store) -> None:
        [recorded] = store.trajectories(limit=1, keep=Filter(recorded=True, aha=True))
        self._played = store.trajectory(recorded.id)
        self._picture = store.picture
        self.waiting: deque[Request] = deque()
        self._running: dict[str, Iterator[tuple[float, Event]]] = {}
        self._next: dict[str, tuple[float, Event]] = {}

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self._running)

    @property
    def line(self) -> int:
        return max(0, len(self.waiting) + len(self._running) - AT_ONCE)

    def add(self, request: Request) -> None:
        self.waiting.append(request)

    def step(self) -> list[Event]:
        while self.waiting and len(self._running) < AT_ONCE:
            self._begin(self.waiting.popleft())
        now = time.monotonic()
        events = [event for id in list(self._running) for event in self._due(id, now)]
        if not events:
            time.sleep(IDLE_SECONDS)
        return events

    def fail(self, error: Exception) -> list[Event]:
        return [Failed(trajectory_id=id, segment=0, error=str(error)) for id in self._running]

    def close(self) -> None:
        self._running.clear()

    def _begin(self, request: Request) -> None:
        created_at = datetime.now(UTC).isoformat()
        trajectory = replace(self._played, id=request.id, parent=None, created_at=created_at)
        self._running[request.id] = timed(trajectory, self._picture, time.monotonic())
        self._next[request.id] = next(self._running[request.id])

    def _due(self, id: str, now: float) -> Iterator[Event]:
        while id in self._next and self._next[id][0] <= now:
            yield self._next.pop(id)[1]
            if (after := next(self._running[id], None)) is not None:
                self._next[id] = after
            else:
                del self._running[id]


def timed(trajectory: Trajectory, picture: Any, begin: float) -> Iterator[tuple[float, Event]]:
    """Its events with the time each is due: patch by patch at an even pace."""
    due = begin
    for event in replay(trajectory, picture, group=1):
        if isinstance(event, Preview) and not event.whole:
            due += PATCH_SECONDS
        yield due, event


class Scripted(Generator):
    """A generator whose engine is a script."""

    def _new_engine(self) -> Script:
        return Script(self.store)


def serve(port: int, folder: Path) -> None:
    """A studio with a scripted network, until it is killed."""
    with open_store(folder) as store:
        fill_if_empty(store)
        start(Settings(port=port), store, Checkpoints(Scripted(open_checkpoint(), store))).block_thread()


# --- the visitors -----------------------------------------------------------------------------------------------


@dataclass
class Visit:
    """What one visitor's browser was sent."""

    rows: list[dict] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of every row, in seconds since the button was pressed
    gaps: int = 0  # rows that came out of order, changed or not at all
    ended: bool = False

    def take(self, value: dict, now: float) -> None:
        first, rows = value.get("first", 0), value.get("rows", [])
        known = len(self.rows) - first
        self.gaps += known < 0 or self.rows[first:] != rows[:known]
        self.rows += rows[known:]
        self.times += [now] * len(rows[known:])
        self.ended |= "trajectory" in value

    @property
    def drawing(self) -> float:
        """Seconds from the first patch to the last."""
        patches = [at for row, at in zip(self.rows, self.times, strict=True) if row["is"] in ("cells", "picture")]
        return patches[-1] - patches[0] if patches else float("nan")

    @property
    def complete(self) -> bool:
        """Whether every image that was begun was finished, and the end told."""
        begun = sum(row["is"] == "segment" and row["kind"] == "image" for row in self.rows)
        finished = sum(row["is"] == "picture" for row in self.rows)
        return self.ended and self.gaps == 0 and 0 < begun == finished


@dataclass(frozen=True)
class Button:
    """The Draw page's button, as a browser presses it."""

    fn_index: int
    trigger_id: int
    data: list[Any]

    @staticmethod
    def of(config: dict) -> Button:
        components = {one["id"]: one["props"] for one in config["components"]}
        on_page = config["page"][""]["components"]  # the front page's
        [button] = [id for id in on_page if components[id].get("elem_id") == "draw"]
        [asked] = [one for one in config["dependencies"] if [button, "click"] in map(list, one["targets"])]
        values = [components[id].get("value") for id in asked["inputs"]]
        return Button(asked["id"], button, [PROMPT, *values[1:]])


async def visit(client: httpx.AsyncClient, button: Button) -> Visit:
    """Press the button and read until the drawing has ended."""
    session, seen, began = uuid4().hex, Visit(), time.monotonic()
    asked = {"data": button.data, "fn_index": button.fn_index, "trigger_id": button.trigger_id}
    (await client.post("/gradio_api/queue/join", json=asked | {"session_hash": session})).raise_for_status()
    shown: list[Any] = []
    async with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        async for line in stream.aiter_lines():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            data = (message.get("output") or {}).get("data")
            if message.get("msg") == "process_generating" and data:
                shown = [apply_diff(*pair) for pair in zip(shown, data, strict=True)] if shown else data
                if isinstance(shown[0], dict) and "rows" in shown[0]:
                    seen.take(shown[0], time.monotonic() - began)
            if message.get("msg") == "process_completed":
                return seen
    return seen


async def visits(url: str, count: int) -> list[Visit]:
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=httpx.Limits(max_connections=None)) as client:
        button = Button.of((await client.get("/config")).raise_for_status().json())
        return await asyncio.gather(*(visit(client, button) for _ in range(count)))


# --- the command ------------------------------------------------------------------------------------------------


def measure(count: int) -> tuple[Visit, list[Visit]]:
    """One visitor, then `count` at once, at a studio of their own."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "studio.loadtest", "--serve", str(port), "--data", folder]
        server = subprocess.Popen(command)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, server)
            asyncio.run(visits(url, 1))  # to warm up
            [alone] = asyncio.run(visits(url, 1))
            return alone, asyncio.run(visits(url, count))
        finally:
            server.terminate()
            server.wait(30)


def wait_for(url: str, server: subprocess.Popen) -> None:
    """Raises RuntimeError where the studio does not answer."""
    until = time.monotonic() + STARTING
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError("the studio did not start")


def table(alone: Visit, many: Sequence[Visit]) -> str:
    times = sorted(one.drawing / alone.drawing for one in many)
    gap = max(later - earlier for one in many for earlier, later in itertools.pairwise(one.times))
    rows = {
        "visitors at once": f"{len(many)}",
        "saw every row in order and every picture": f"{sum(one.complete for one in many)}",
        "first to last patch, alone": f"{alone.drawing:.2f} s",
        "first to last patch, median of many": f"{statistics.median(times):.3f} × alone",
        "first to last patch, slowest of many": f"{times[-1]:.3f} × alone",
        "first row after, slowest": f"{max(one.times[0] for one in many):.2f} s",
        "longest silence between two rows": f"{gap:.2f} s",
    }
    return "\n".join(f"{name:44}{figure:>16}" for name, figure in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studio.loadtest", description=__doc__.split("\n")[0])
    parser.add_argument("--visitors", type=int, default=32, help="drawing at the same time")
    parser.add_argument("--serve", type=int, metavar="PORT", help="only: the studio with the scripted network")
    parser.add_argument("--data", type=Path, help="its folder")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.data)
        return
    alone, many = measure(arguments.visitors)
    print(table(alone, many))
    slowest = max(one.drawing / alone.drawing for one in many)
    if not all(one.complete for one in [alone, *many]) or slowest > SLOWER:
        sys.exit(f"loadtest: wanted every visitor to see all, at most {SLOWER} × as slow as one alone")


if __name__ == "__main__":
    main()
