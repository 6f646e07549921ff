"""Training runs as folders: what was asked for, the process that does it, how it ended. No torch, no Gradio.

    runs/NAME/
      run.json       what was asked for
      process.json   the supervisor: process id and its start time
      begun.json     the training command's process, once its turn has come
      ended.json     its exit status
      output.txt     what it printed
      stop, draws    empty files: somebody wants it stopped; its checkpoint is offered for drawing
      sources/       of each data set: manifest, and which revisions made its rows
      NAME/ NAME.jsonl NAME.state NAME.evaluation/    checkpoint, metrics, state for --resume, evaluations

Everything is read from the folders, so that a run outlives whoever started it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from model.atomic_files import write_whole

REQUEST, PROCESS, BEGUN, ENDED = ("run.json", "process.json", "begun.json", "ended.json")
OUTPUT, STOP, DRAWS = ("output.txt", "stop", "draws")
SOURCES = "sources"
STOPPED_CODES = (143, 130, -15, -2)  # SIGTERM and SIGINT, as exit statuses and as signals
STARTING = 10.0  # seconds that a run may be without a process
CLOCK = 2.0  # seconds by which two readings of a process's start time may differ
LAST_LINES = 12
LAST_BYTES = 20_000


class RunStatus(StrEnum):
    """How a run stands."""

    WAITING = "waiting"  # for those before it
    RUNNING = "running"
    STOPPED = "stopped"  # by somebody; it can be resumed
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def live(self) -> bool:
        return self in (RunStatus.WAITING, RunStatus.RUNNING)


@dataclass(frozen=True)
class RunRequest:
    """What was asked for."""

    name: str
    method: str  # a name of model.training.methods
    command: tuple[str, ...]  # what follows “python”
    steps: int
    checkpoint: str  # that it starts from, by its name
    data: tuple[str, ...] = ()  # names of the exports or folders
    started_by: str = ""
    created_at: str = ""  # ISO 8601, UTC
    queued_at: float = 0.0  # seconds since the epoch; runs take turns in this order

    @staticmethod
    def read(folder: Path) -> RunRequest | None:
        try:
            row = json.loads((folder / REQUEST).read_text("utf-8"))
            return RunRequest(**{name: tuple(v) if isinstance(v, list) else v for name, v in row.items()})
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def write(self, folder: Path) -> None:
        write_whole(folder / REQUEST, json.dumps(asdict(self), indent=1))


@dataclass(frozen=True)
class TrainingRun:
    """The present state of a run."""

    folder: Path
    request: RunRequest

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def out(self) -> Path:
        """The folder of the checkpoint."""
        return self.folder / self.name

    @property
    def metrics(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    @property
    def saved_state(self) -> Path:
        return self.folder / f"{self.name}.state"

    @property
    def evaluation(self) -> Path:
        """The folder of what was evaluated on fixed prompts."""
        return self.folder / f"{self.name}.evaluation"

    @property
    def has_checkpoint(self) -> bool:
        return (self.out / "provenance.json").is_file()

    @property
    def offered(self) -> bool:
        """Whether its checkpoint is offered for drawing."""
        return (self.folder / DRAWS).exists()

    @property
    def exit_code(self) -> int | None:
        return (read_json(self.folder / ENDED) or {}).get("code")

    @property
    def state(self) -> RunStatus:
        code = self.exit_code
        if code is not None:
            return RunStatus.FINISHED if code == 0 else RunStatus.STOPPED if code in STOPPED_CODES else RunStatus.FAILED
        if is_alive(read_json(self.folder / BEGUN)):
            return RunStatus.RUNNING
        supervisor = read_json(self.folder / PROCESS)
        if is_alive(supervisor) or (supervisor is None and time.time() - self.request.queued_at < STARTING):
            return RunStatus.WAITING
        if self.is_complete:
            return RunStatus.FINISHED
        return RunStatus.STOPPED if (self.folder / STOP).exists() else RunStatus.FAILED

    @property
    def is_complete(self) -> bool:
        """Whether the checkpoint has all steps."""
        provenance = read_json(self.out / "provenance.json") or {}
        return provenance.get("step", -1) >= self.request.steps

    @property
    def order(self) -> tuple[float, str]:
        """Runs take turns in this order."""
        return self.request.queued_at, self.name

    def last_lines(self, most: int = LAST_LINES) -> list[str]:
        """Of what it printed; of a line that was written over (progress bars) the last state."""
        try:
            with (self.folder / OUTPUT).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - LAST_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
        return [line for line in lines if line][-most:]

    def size(self) -> int:
        """Bytes on the disk."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # a run that saves moves its files meanwhile
                    total += os.stat(Path(folder) / name).st_size
        return total


def killed_words(code: int | None) -> str:
    """What a process's exit status says of how it was killed, as Python or a shell has it; empty where it was not."""
    number = -code if code is not None and code < 0 else (code or 0) - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""
    memory = ": the system ends so what needs more memory than there is" if name == "SIGKILL" else ""
    return f"It was ended from outside by {name}{memory}."


def read_json(path: Path) -> dict[str, Any] | None:
    """None where there is no such file, or it is no object."""
    try:
        row = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) else None


def identity(pid: int) -> dict[str, Any]:
    """A process as a file remembers it. Raises psutil.Error where it is gone."""
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def is_alive(process: dict[str, Any] | None) -> bool:
    """Whether it is the same process still: a later one of its number started at another time."""
    try:
        now = psutil.Process(int(process["pid"])) if process else None
        if now is None or now.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(now.create_time() - float(process["started"])) < CLOCK
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def read_run(folder: Path) -> TrainingRun | None:
    request = RunRequest.read(folder)
    return TrainingRun(folder, request) if request is not None and request.name == folder.name else None


def runs_in(place: Path) -> list[TrainingRun]:
    """All runs, newest first."""
    runs = [run for folder in place.glob("[!._]*") if (run := read_run(folder)) is not None]
    return sorted(runs, key=lambda run: (run.request.created_at, run.name), reverse=True)
