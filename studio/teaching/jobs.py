"""Teaching jobs: one at a time, each in a process of its own; the result draws for the person who taught it.

What was taught stays in memory and in a folder until it is dropped, kept as a checkpoint, or the studio ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annotations.store.store import Store
from model.atomic_files import write_whole
from model.backends.contract import Backend, CheckpointError
from studio.inference.checkpoints import Checkpoints, PersonalCheckpoints
from studio.inference.generator import Generator
from studio.inference.request_queue import RequestQueue
from studio.teaching.corrections import Correction, count_written, write_rows
from studio.training.launch import set_offered
from studio.training.runs import ENDED, SOURCES, RunRequest, TrainingRun, killed_words, read_json, read_run
from studio.training.supervisor import ROOT

LIMIT = 300.0  # seconds after which a process is ended
MOST_TAUGHT = 4  # people whose taught checkpoints are in memory; the oldest makes room
LAST_LINE = 300  # characters of what is shown of a failure


class TeachingError(Exception):
    """What cannot be taught; the message says why."""


@dataclass
class Teaching:
    """One lesson under way."""

    person: str
    session: str  # of the page that began it
    parent: str  # name of the checkpoint
    name: str
    folder: Path
    corrections: Sequence[Correction]
    process: subprocess.Popen[bytes]
    began: float  # seconds of the monotonic clock

    @property
    def progress(self) -> dict[str, Any]:
        """Its phase, and the share that is done."""
        return read_json(self.folder / "progress.json") or {"phase": "starting", "share": 0.0}


@dataclass(frozen=True)
class Taught:
    """The result of a lesson: the checkpoint that draws for this person instead of `parent`, and what changed."""

    generator: Generator
    parent: str
    folder: Path
    corrections: Sequence[Correction]
    result: dict[str, Any]

    @property
    def name(self) -> str:
        return self.generator.name


@dataclass
class TeachingJobs:
    """The lessons of a studio. Every method may be called from any thread."""

    store: Store
    opener: Callable[[str], Backend]
    sources: Callable[[], dict[str, str]]  # by name, what can be trained
    limit: float = LIMIT
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _running: Teaching | None = None
    _taught: dict[str, Taught] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict)  # by person, why the last lesson came to nothing

    @property
    def place(self) -> Path:
        """Where lessons lie until they are dropped or kept."""
        return self.store.database.directory / "teaching"

    def recover(self) -> None:
        """Remove what an earlier process has left behind."""
        shutil.rmtree(self.place, ignore_errors=True)

    def start(self, person: str, session: str, parent: str, corrections: Sequence[Correction]) -> None:
        """Begin a lesson. Raises TeachingError where one is under way, and where there is nothing to learn."""
        if not count_written(corrections):
            raise TeachingError("there is nothing to teach yet; correct what the model says of a drawing first")
        with self._lock:
            self._settle()
            if self._running is not None:
                raise TeachingError("another lesson is under way; wait a minute")
            source = self.sources().get(parent)
            if source is None:
                raise TeachingError("nothing that draws here can be taught: only checkpoints of Janus learn")
            self._failed.pop(person, None)
            self._running = self._begun(person, session, parent, source, corrections)

    def _begun(
        self, person: str, session: str, parent: str, source: str, corrections: Sequence[Correction]
    ) -> Teaching:
        self.place.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self.place))
        name = f"{parent}-taught-{datetime.now(UTC):%H%M%S}"
        try:
            write_rows(self.store, corrections, folder)
            request = {"checkpoint": source, "name": name, "prompts": _prompts(corrections)}
            write_whole(folder / "request.json", json.dumps(request))
            with (folder / "output.txt").open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "studio.teaching.worker", str(folder)],
                    stdin=subprocess.PIPE,  # which closes when this process ends, however it does
                    stdout=output,
                    stderr=output,
                    cwd=ROOT,
                    start_new_session=True,
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Teaching(person, session, parent, name, folder, corrections, process, time.monotonic())

    def running(self, person: str) -> Teaching | None:
        """This person's lesson, if it is under way."""
        with self._lock:
            self._settle()
            return self._running if self._running is not None and self._running.person == person else None

    def failure(self, person: str) -> str:
        """Why the last lesson came to nothing; empty where it did not."""
        return self._failed.get(person, "")

    def taught(self, person: str) -> Taught | None:
        return self._taught.get(person)

    def checkpoints_for(self, person: str, checkpoints: Checkpoints) -> PersonalCheckpoints:
        taught = self.taught(person)
        return PersonalCheckpoints(checkpoints, taught and taught.generator, taught.parent if taught else "")

    def cancel(self, person: str) -> None:
        """End this person's lesson."""
        with self._lock:
            if self._running is not None and self._running.person == person:
                self._end("")

    def leave(self, session: str) -> None:
        """A page is closed: what it began ends."""
        with self._lock:
            if self._running is not None and self._running.session == session:
                self._end("")

    def drop(self, person: str) -> None:
        """Forget what was taught; the memory is free once its drawings have ended."""
        with self._lock:
            if (taught := self._taught.pop(person, None)) is not None:
                shutil.rmtree(taught.folder, ignore_errors=True)

    def keep(self, person: str, place: Path, checkpoints: Checkpoints) -> str:
        """Make what was taught a run's checkpoint, which draws for everybody; its name. Raises TeachingError and
        CheckpointError."""
        with self._lock:
            taught = self._taught.get(person)
            if taught is None:
                raise TeachingError("there is nothing to keep")
            run = _as_run(taught, place, person)
            checkpoints.add(str(run.out))
            set_offered(run, offered=True)
            self.drop(person)
            return run.name

    def _settle(self) -> None:
        """Take over the result of a process that has ended; end one that takes too long."""
        running = self._running
        if running is None:
            return
        code = running.process.poll()
        if code is None:
            if time.monotonic() - running.began > self.limit:
                self._end(f"It took longer than {self.limit:.0f} seconds, and was ended.")
            return
        result = read_json(running.folder / "result.json")
        if code != 0 or result is None:
            output = (running.folder / "output.txt").read_text("utf-8", "replace").strip()
            said = killed_words(code) or output.rpartition("\n")[2][-LAST_LINE:]
            self._end(said or f"It ended with status {code}.")
            return
        self._running = None
        try:
            backend = self.opener(str(running.folder / running.name))
        except CheckpointError as error:
            self._failed[running.person] = str(error)
            shutil.rmtree(running.folder, ignore_errors=True)
            return
        generator = Generator(backend, self.store, RequestQueue(backend, 1))
        taught = Taught(generator, running.parent, running.folder, running.corrections, result)
        self._remember(running.person, taught)

    def _remember(self, person: str, taught: Taught) -> None:
        """Keep it instead of what this person taught before; the oldest is dropped where there are too many."""
        self.drop(person)
        while len(self._taught) >= MOST_TAUGHT:
            self.drop(next(iter(self._taught)))
        self._taught[person] = taught

    def _end(self, why: str) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
        shutil.rmtree(running.folder, ignore_errors=True)
        if why:
            self._failed[running.person] = why


def _prompts(corrections: Sequence[Correction]) -> list[tuple[str, int, bool]]:
    """Prompt, seed, and whether it thinks first, of each drawing that was corrected; each once, the newest first."""
    drawn = (each.trajectory for each in reversed(corrections) if each.is_written)
    return list(dict.fromkeys((each.prompt, each.seed, each.sampling.thinks) for each in drawn))


def _as_run(taught: Taught, place: Path, person: str) -> TrainingRun:
    """A finished run's folder of it, with the revisions that it learnt from: all of it or nothing, so that it can be
    kept once there is room. Raises TeachingError where there is a run of its name, OSError."""
    folder = place / taught.name
    if folder.exists():
        raise TeachingError(f"there is a run {taught.name} already; delete it on Training, or teach it again")
    place.mkdir(exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".", dir=place))
    try:
        sources = making / SOURCES / "0"
        sources.mkdir(parents=True)
        if (log := taught.folder / f"{taught.name}.jsonl").exists():
            shutil.copyfile(log, making / log.name)
        shutil.copyfile(taught.folder / "_sources.parquet", sources / "_sources.parquet")
        now = datetime.now(UTC)
        steps = (read_json(taught.folder / taught.name / "provenance.json") or {}).get("step", 0)
        command = ("-m", "studio.teaching.worker")
        RunRequest(taught.name, "teach", command, steps, taught.parent, (), person, now.isoformat()).write(making)
        write_whole(making / ENDED, json.dumps({"code": 0, "at": time.time()}))
        os.rename(taught.folder / taught.name, making / taught.name)
        os.rename(making, folder)
    except OSError:
        if (making / taught.name).exists():
            os.rename(making / taught.name, taught.folder / taught.name)
        shutil.rmtree(making, ignore_errors=True)
        raise
    run = read_run(folder)
    assert run is not None  # its request was written just now
    return run
