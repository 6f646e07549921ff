"""Paths of a training run: checkpoint folder, state and log beside it; how a run begins, and the signal that ends it.

    out = better    better/    better.state    better.jsonl

Nothing is replaced but an earlier run's own.
"""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from model.backends.checkpoint import path_of
from model.backends.checkpoint_folder import CheckpointError, check_replaceable, restore
from model.training.runs.metrics_log import read_rows


class RunStopped(Exception):
    """A run that a signal ended, after it was saved; `code` is the exit status by the shell's convention."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class RunStart:
    """How a run begins: anew, or where the last save of the same run stood."""

    resume: bool = False
    accept_changes: bool = False  # with resume: of another definition, too
    restart: bool = False  # anew in place of an unfinished run


FROM_THE_START = RunStart()


@dataclass(frozen=True)
class RunPaths:
    """The paths of one run."""

    out: Path

    @property
    def state(self) -> Path:
        return self.out.parent / f"{self.out.name}.state"

    @property
    def log(self) -> Path:
        return self.out.parent / f"{self.out.name}.jsonl"

    def check(self, parent: str | Path | None = None) -> None:
        """Raises CheckpointError where writing would replace what no run has written, or the parent itself."""
        restore(self.out)
        check_replaceable(self.out)
        if self.out.resolve() == Path().resolve():
            raise CheckpointError(f"{self.out} is the folder you are in; name a new one")
        if parent is not None and self.out.exists() and self.out.resolve() == Path(path_of(parent)).resolve():
            raise CheckpointError(f"{self.out} is the checkpoint that is trained from; choose another --out")
        for path in (self.state, self.log):
            if path.exists() and not path.is_file():
                raise CheckpointError(f"{path} is no file, and a run of this name writes there; choose another --out")
        read_rows(self.log)


@dataclass
class StopSignal:
    """Context in which SIGTERM and SIGINT are remembered in `number` (0: none yet); a second one interrupts."""

    number: int = 0
    _handlers: dict[int, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name if self.number else "a signal"

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {n: signal.signal(n, self._remember) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number
        print("stopping after this step", file=sys.stderr, flush=True)
