"""Starts, stops, resumes and deletes training runs. Knows processes and folders; no page."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from annotations.export.manifest import MANIFEST
from annotations.export.manifest import SOURCES as REVISIONS
from model.atomic_files import write_whole
from studio.training.runs import (
    BEGUN,
    DRAWS,
    ENDED,
    PROCESS,
    SOURCES,
    STOP,
    RunRequest,
    RunStatus,
    TrainingRun,
    identity,
    is_alive,
    read_json,
)
from studio.training.supervisor import ROOT

SPARE = 10**9  # bytes of the disk that a run leaves free
CHANGING = threading.RLock()  # what begins, goes on or is deleted: one at a time, or two would train in one folder


class RunError(Exception):
    """What cannot be started, stopped or deleted; the message says why, and what to do."""


def start(place: Path, request: RunRequest, data: Sequence[Path] = (), needs: int = 0) -> TrainingRun:
    """Begin a run, or put it in the queue. `data`: the folders it learns from; `needs`: bytes of the disk. Raises
    RunError."""
    place.mkdir(parents=True, exist_ok=True)
    check_disk(place, needs)
    folder = place / request.name
    with CHANGING:
        try:
            folder.mkdir()
        except FileExistsError:
            raise RunError(f"there is a run {request.name} already; give another name") from None
        try:
            for number, source in enumerate(data):
                _keep_sources(source, folder / SOURCES / str(number))
            run = TrainingRun(folder, replace(request, queued_at=time.time()))
            run.request.write(folder)
            _supervise(run)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)  # or its name would be taken by a run that nobody sees
            raise
    return run


def resume(run: TrainingRun, needs: int = 0) -> None:
    """Go on where the last save stands, or from the start where nothing was saved. Raises RunError."""
    with CHANGING:
        if (state := run.state).live or state is RunStatus.FINISHED:
            raise RunError(f"{run.name} is {state}; only what was stopped or has failed can be gone on with")
        check_disk(run.folder.parent, needs)
        command = tuple(word for word in run.request.command if word != "--resume")
        if run.saved_state.exists():
            command += ("--resume",)
        for name in (ENDED, BEGUN, PROCESS, STOP):
            (run.folder / name).unlink(missing_ok=True)
        again = TrainingRun(run.folder, replace(run.request, command=command, queued_at=time.time()))
        again.request.write(run.folder)
        _supervise(again)


def stop(run: TrainingRun) -> None:
    """Ask it to end: after its step, with a save; or leave the queue. Raises RunError."""
    if not run.state.live:
        raise RunError(f"{run.name} is {run.state}")
    (run.folder / STOP).touch()
    for name in (PROCESS, BEGUN):  # the second where the supervisor was killed
        process = read_json(run.folder / name)
        if process is not None and is_alive(process):
            with suppress(ProcessLookupError):
                os.kill(process["pid"], signal.SIGTERM)
            return


def delete(run: TrainingRun) -> None:
    """Erase its folder. Raises RunError where it is running, or what it made draws."""
    with CHANGING:
        if (state := run.state).live:
            raise RunError(f"{run.name} is {state}; stop it first")
        if run.offered:
            raise RunError(f"{run.name} draws for others; take it off first")
        erased = run.folder.with_name(f".{run.name}-{uuid4().hex}")  # which is no run, should it be erased in part
        run.folder.rename(erased)
    shutil.rmtree(erased, ignore_errors=True)


def set_offered(run: TrainingRun, *, offered: bool) -> None:
    """Remember whether the checkpoint is offered for drawing, for the next start of the studio as well."""
    if offered:
        (run.folder / DRAWS).touch()
    else:
        (run.folder / DRAWS).unlink(missing_ok=True)


def check_disk(place: Path, needs: int) -> None:
    """Raises RunError where there is no room."""
    free = shutil.disk_usage(place).free
    if free < needs + SPARE:
        raise RunError(
            f"the disk has {free / 1e9:.1f} GB free, and a run like this takes {needs / 1e9:.1f} GB with "
            f"{SPARE / 1e9:.0f} GB to spare; delete earlier runs"
        )


def _supervise(run: TrainingRun) -> None:
    """Start its supervisor, in a session of its own: it goes on when the studio ends."""
    with (run.folder / "supervisor.txt").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "studio.training.supervisor", str(run.folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            start_new_session=True,
        )
    write_whole(run.folder / PROCESS, json.dumps(identity(process.pid)))


def _keep_sources(data: Path, folder: Path) -> None:
    """Copy what says which revisions made the rows, so that it outlives the export."""
    folder.mkdir(parents=True)
    for name in (MANIFEST, REVISIONS):
        if (data / name).is_file():
            shutil.copyfile(data / name, folder / name)
