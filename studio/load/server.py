"""A studio in a subprocess: started, stopped, killed.

Each is forked from a process that has imported everything already, so that the fiftieth start takes no longer than
needed. This one, which plays the people, imports none of it: what is to be served is named.
"""

import asyncio
import multiprocessing
import os
import pkgutil
import socket
import time
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx2
import psutil

from studio.settings import Mode

STARTING = 600  # seconds that a studio may take; a busy machine needs minutes
ENDING = 30
FORKS = multiprocessing.get_context("forkserver")
STUDIO, FORKED = "studio.load.scripted", "studio.load.forked"
ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    """A studio on one port and one data folder; restarted, it is a new process."""

    folder: Path
    mode: Mode = Mode.LOCAL
    database: str | None = None  # address of a PostgreSQL database
    port: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)  # further settings
    pace: float | None = None  # seconds between two patches of a drawing, where not as usual
    up: asyncio.Event = field(default_factory=asyncio.Event)  # set while it answers
    _process: BaseProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory(self) -> float:
        """MB that its process holds (resident set size)."""
        return psutil.Process(self._process.pid).memory_info().rss / 1e6

    @property
    def cpu(self) -> float:
        """Seconds of processor time that its process has used."""
        used = psutil.Process(self._process.pid).cpu_times()
        return used.user + used.system

    @property
    def _log(self) -> Path:
        return self.folder / "studio.log"

    async def __aenter__(self) -> "Server":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    async def start(self) -> float:
        """Start the studio; the seconds until it answered. Raises RuntimeError where it does not."""
        began = time.monotonic()
        self.port = self.port or free_port()
        start_fork_server()
        arguments = (self._log, self.port, self.folder, self.mode, self.database, dict(self.options), self.pace)
        self._process = FORKS.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        async with httpx2.AsyncClient(base_url=self.url) as client:
            while time.monotonic() - began < STARTING and self._process.is_alive():
                try:
                    if (await client.get("/", timeout=STARTING)).status_code == 200:
                        self.up.set()
                        return time.monotonic() - began
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
        self.end()
        raise RuntimeError(f"the studio did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def kill(self) -> None:
        """SIGKILL: it can do nothing any more, neither finish nor roll back."""
        self.up.clear()
        if self._process is not None:
            self._process.kill()
            self._process.join(ENDING)

    def end(self) -> None:
        self.up.clear()
        if self._process is not None:
            self._process.terminate()
            self._process.join(ENDING)
            if self._process.is_alive():
                self.kill()


def start_fork_server(*modules: str) -> None:
    """Start the fork server, which imports the studio, and other modules by name, in advance."""
    FORKS.set_forkserver_preload([FORKED, *modules])
    with chdir(ROOT):  # where it finds that
        forkserver.ensure_running()


def _serve(log: Path, *arguments: object) -> None:
    """Runs the studio in the new process, its output redirected into a file."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    pkgutil.resolve_name(f"{STUDIO}:serve")(*arguments)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
