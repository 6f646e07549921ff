"""The app in a process of its own, for tests: started on a free port, waited for, looked into, stopped or killed.

The process has imported everything before it begins (see `preloaded`), unless a test asks for a new one.
"""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.request import urlopen

import preloaded

from annotations.store.store import Store, open_store_for_reading

ROOT = Path(__file__).parent.parent
START = 180  # s that the app may take to answer


@dataclass
class Server:
    """The app in a process of its own."""

    data: Path
    checkpoint: Path | str
    log: Path
    examples: bool = False
    mode: str = "local"
    more: Mapping[str, str] = field(default_factory=dict)  # variables of the environment beside those
    new_python: bool = False
    port: int = 0
    process: BaseProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.port = free_port()
        environment = app_environment(self.data, self.checkpoint, self.port, self.mode, examples=self.examples)
        environment |= self.more
        self.process = preloaded.start(["app.py"], self.log, self.log, environment, new=self.new_python)
        until = time.monotonic() + START
        while not self._answers():
            assert self.process.is_alive(), f"the app ended while starting:\n{self.log.read_text()}"
            assert time.monotonic() < until, f"the app did not answer within {START} s:\n{self.log.read_text()}"
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urlopen(self.url, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.join(30)
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join(30)

    def store(self) -> Store:
        """To look into, while the app runs or after it."""
        return open_store_for_reading(self.data)


def app_environment(
    data: Path, checkpoint: Path | str, port: int, mode: str = "local", *, examples: bool = False
) -> dict[str, str]:
    chosen = {"DATA": data, "CHECKPOINT": checkpoint, "PORT": port, "MODE": mode, "EXAMPLES": str(examples).lower()}
    return (
        dict(os.environ)
        | {"OMP_NUM_THREADS": "1"}
        | {f"AHA_STUDIO_{name}": str(value) for name, value in chosen.items()}
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_in_vain(data: Path, checkpoint: Path, port: int) -> str:
    """What the app says when it cannot start: its last line, after checking that it says no more than needed."""
    environment = app_environment(data, checkpoint, port)
    ended = preloaded.run("app.py", environment=environment, timeout=START)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stdout + ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("Aha Studio cannot start")]
    assert len(lines) == 1 and ended.stderr.rstrip().endswith(lines[0])
    return lines[0]
