"""Paths of a training run: checkpoint folder, state and log beside it; how a run begins, and the signal that ends it.

    out = better    better/    better.state    better.jsonl    better.evaluation/    better.tracking/

Nothing is replaced but an earlier run's own.
"""

import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from model.backends.checkpoint.loading import path_of
from model.backends.checkpoint.saving import CheckpointError, check_replaceable, restore
from model.training.runs.metrics_log import read_rows


class RunStopped(Exception):
    """A run that a signal ended, after it was saved; `code` is the exit status by the shell's convention."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class RunStart:
    """Whether a run starts anew or resumes where the last save of the same run stood."""

    resume: bool = False
    accept_changes: bool = False  # with resume: of another definition, too
    restart: bool = False  # anew in place of an unfinished run


FROM_THE_START = RunStart()
OWN_EVALUATION = re.compile(r"\d{6}\.json|table\.(json|md)|samples|\..*")  # what a run writes there


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

    @property
    def evaluation(self) -> Path:
        """The folder of its evaluations (`evaluations`)."""
        return self.out.parent / f"{self.out.name}.evaluation"

    @property
    def tracking(self) -> Path:
        """The folder of a tracker that writes files."""
        return self.out.parent / f"{self.out.name}.tracking"

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
        foreign = [path.name for path in self.evaluation.glob("*") if not OWN_EVALUATION.fullmatch(path.name)]
        if foreign or self.evaluation.is_file():
            held = foreign[0] if foreign else "a file"
            raise CheckpointError(
                f"{self.evaluation} is there already and holds {held}, which no run has written; choose another --out"
            )
        read_rows(self.log)


@dataclass
class StopSignal:
    """The recorded signal that is to end a run; 0: none."""

    number: int = 0

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name if self.number else "a signal"

    def remember(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number
        print("stopping after this step", file=sys.stderr, flush=True)


@contextmanager
def remembered_signals() -> Iterator[StopSignal]:
    """Context within which SIGTERM and SIGINT are recorded; a second one interrupts."""
    stop = StopSignal()
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.signal(number, stop.remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
