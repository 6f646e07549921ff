"""Output of a training run: checkpoint folder, state and log beside it, save interval, signals.

    out = better    better/    better.state    better.jsonl

Nothing is replaced but an earlier run's own. A run saves every `save_every` steps, at its end, and when it is told to
stop by SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

from model.backends.checkpoint import path_of
from model.backends.checkpoint_folder import CheckpointError, check_finite, check_replaceable, restore
from model.training.metrics_log import Log, read_rows
from model.training.optimization import TrainingError, summed
from model.training.run_state import RunState, defining


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


class Run:
    """One run's place, its state, its log. `write` saves a checkpoint, given what to add to its provenance."""

    def __init__(
        self,
        accelerator: Accelerator,
        out: Path,
        state: tuple[torch.nn.Module, Sequence, Sequence],  # network, optimizers, schedules
        provenance: Mapping[str, Any],
        write: Callable[[dict[str, Any]], None],
        *,
        steps: int,
        save_every: int,
        beginning: RunStart,
        printed_every: int = 10,
    ):
        self.accelerator, self.out, self.write = accelerator, out, write
        self.steps, self.save_every = steps, save_every
        place, self.network = RunPaths(out), state[0]
        place.check(provenance.get("parent"))
        self.state = RunState(place.state, *state, defining(provenance), steps)
        if beginning.resume:
            self.first = self.state.load(accept_changes=beginning.accept_changes)
        else:
            self.first = 0
            self.state.check_new(restart=beginning.restart)
        accelerator.wait_for_everyone()  # all have looked before one writes
        if beginning.restart and accelerator.is_main_process:
            place.state.unlink(missing_ok=True)
        self.log = Log(place.log, accelerator, steps=steps, first=self.first, every=printed_every)
        self.began, self.saved_at, self.signal = time.monotonic(), -1, 0
        if accelerator.is_main_process:
            count, device = accelerator.num_processes, accelerator.device
            print(
                f"{count} process{'es' if count > 1 else ''} on {device}, steps {self.first} to {steps}",
                file=sys.stderr,
            )

    def finish_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log a step, save where it is due. Raises RunStopped after a signal, CheckpointError where nothing can be
        saved."""
        self.log.write({"step": step, "seconds": round(time.monotonic() - self.began, 1), **metrics})
        stopped = summed(self.accelerator, [self.signal > 0]) != [0]  # processes may hear of it at different steps
        if stopped or (self.save_every and (step + 1) % self.save_every == 0):
            self.save(step + 1)
        if stopped and step + 1 < self.steps:
            name = signal.Signals(self.signal).name if self.signal else "a signal"
            message = f"stopped by {name} after {step + 1} of {self.steps} steps, saved {self.out}; go on by --resume"
            raise RunStopped(message, 128 + (self.signal or signal.SIGTERM))

    def save(self, step: int) -> None:
        """State and checkpoint as of `step` finished steps. Raises CheckpointError before either is touched where a
        weight is not finite."""
        if self.accelerator.is_main_process and step != self.saved_at:
            check_finite(self.network, self.out)
            self.log.sync()
            self.state.save(step)
            self.write({"step": step} | ({"resumed": self.state.resumed} if self.state.resumed else {}))
        self.saved_at = step

    def end(self) -> None:
        self.save(self.steps)
        self.accelerator.wait_for_everyone()  # no process leaves the others while they save
        self.accelerator.end_training()
        print(f"saved {self.out}", file=sys.stderr)

    @contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Meanwhile SIGTERM and SIGINT are remembered until the step is done; a second one ends the process."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self._hear) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.log.close()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        print("stopping after this step", file=sys.stderr, flush=True)


def add_beginning(parser: argparse.ArgumentParser) -> None:
    """The options of how a run begins."""
    parser.add_argument("--resume", action="store_true", help="go on from the last save of --out")
    accept = "with --resume: go on although settings, data or checkpoint differ, and write that into provenance"
    parser.add_argument("--accept-changes", action="store_true", help=accept)
    parser.add_argument("--restart", action="store_true", help="begin anew in place of an unfinished run of --out")


def beginning_of(arguments: argparse.Namespace) -> RunStart:
    """What was chosen. Raises CheckpointError for what contradicts itself."""
    if arguments.resume and arguments.restart:
        raise CheckpointError("--resume goes on with a run, --restart begins it anew; give one of them")
    if arguments.accept_changes and not arguments.resume:
        raise CheckpointError("--accept-changes belongs to --resume")
    return RunStart(arguments.resume, arguments.accept_changes, arguments.restart)


def reporting(command: str, work: Callable[[], None], *errors: type[Exception]) -> None:
    """Do a command's work. What can go wrong ends the process with one message and a status that is not 0."""
    try:
        work()
    except RunStopped as stopped:
        print(f"{command}: {stopped}", file=sys.stderr)
        sys.exit(stopped.code)
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (CheckpointError, TrainingError, OSError, *errors) as error:
        sys.exit(f"{command}: {error}")
