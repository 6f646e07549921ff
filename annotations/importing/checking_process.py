"""Validates a large import in a separate process, so that the studio stays responsive.

Parsing rows and decoding pictures would hold the studio's interpreter. The process reads the database and never writes
to it; job and messages are pickled, and both sides are this program.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from annotations.errors import AnnotationsError, ImportingError
from annotations.importing.checking import CheckJob, CheckOutcome, OnProgress, check
from annotations.store.store import Store, open_store_for_reading

TOLD_EVERY = 0.25  # seconds between two messages of the process on how far it is
NICENESS = 5  # of the process: others go first
ROOT = Path(__file__).parents[2]  # where `annotations` and `model` are found


def check_in_process(store: Store, job: CheckJob, on_progress: OnProgress) -> CheckOutcome:
    """As `check`, in a process of its own, which is ended with whatever `on_progress` raises.

    Raises ImportingError where the process ends before it has answered, and what `check` raises.
    """
    database = store.database
    url = database.url and database.url.render_as_string(hide_password=False)
    program = [sys.executable, "-m", "annotations.importing.checking_process"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            with suppress(BrokenPipeError):  # its end is told below
                place = database.directory.resolve(), url, store.pictures_at
                pickle.dump((*place, _absolute(job)), process.stdin)
                process.stdin.close()
            return _followed(process, on_progress)
        finally:
            process.kill()


def _absolute(job: CheckJob) -> CheckJob:
    """The process runs in another folder."""
    sources = tuple(
        replace(source, path=source.path.absolute(), images=source.images and source.images.absolute())
        for source in job.sources
    )
    return replace(job, sources=sources, file=job.file and job.file.absolute())


def _followed(process: subprocess.Popen[bytes], on_progress: OnProgress) -> CheckOutcome:
    while True:
        try:
            message = pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise ImportingError(
                f"the process that checked the rows ended with {process.wait()} before it was done, which happens "
                "where memory runs out; nothing was imported. Try again with a smaller file"
            ) from error
        match message:
            case CheckOutcome():
                return message
            case AnnotationsError():
                raise message
            case done, total:
                on_progress(done, total)


def main() -> None:
    """Answer one job on standard input: messages on how far it is, then the outcome or an error."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    *place, job = pickle.load(sys.stdin.buffer)
    last = 0.0

    def send(message: object) -> None:
        pickle.dump(message, sys.stdout.buffer)
        sys.stdout.buffer.flush()

    def on_progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_EVERY:
            last = time.monotonic()
            send((done, total))

    try:
        with open_store_for_reading(*place) as store:
            send(check(store, job, on_progress))
    except AnnotationsError as error:
        send(error)


if __name__ == "__main__":
    main()
