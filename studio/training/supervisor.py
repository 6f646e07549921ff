"""Supervises one training run: `python -m studio.training.supervisor RUN_FOLDER`, in a session of its own.

Waits for the runs before it, then runs the training command at a low priority, passes SIGTERM on to it, and writes its
exit status down. It imports nothing heavy and needs no studio.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from model.atomic_files import write_whole
from studio.training.runs import BEGUN, ENDED, OUTPUT, TrainingRun, identity, read_run, runs_in

ROOT = Path(__file__).parents[2]
NICENESS = 10  # drawing for visitors goes first
LOOKS = 0.5  # seconds between two looks at the runs before it
STOPPED = 128 + signal.SIGTERM


class Supervisor:
    """One run, its process, and whether somebody wants it stopped."""

    def __init__(self, run: TrainingRun) -> None:
        self.run = run
        self.child: subprocess.Popen[bytes] | None = None
        self.stopped = False

    def stop(self, number: int, frame: FrameType | None) -> None:
        """A signal's handler."""
        self.stopped = True
        if self.child is not None:
            with suppress(ProcessLookupError):
                self.child.send_signal(signal.SIGTERM)

    def supervise(self) -> int:
        """The exit status of the training command."""
        while not self.stopped and self.is_behind():
            time.sleep(LOOKS)
        if self.stopped:
            return STOPPED
        with (self.run.folder / OUTPUT).open("ab") as output:
            command = [sys.executable, *self.run.request.command]
            output.write(f"$ python {' '.join(command[1:])}\n".encode())
            output.flush()
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT)
            write_whole(self.run.folder / BEGUN, json.dumps(identity(self.child.pid)))
            if self.stopped:  # while it was begun
                self.stop(signal.SIGTERM, None)
            return self.child.wait()

    def is_behind(self) -> bool:
        """Whether a run that was queued before is not done yet."""
        others = (other for other in runs_in(self.run.folder.parent) if other.order < self.run.order)
        return any(other.state.live for other in others)


def main() -> None:
    run = read_run(Path(sys.argv[1]))
    if run is None:
        sys.exit(f"{sys.argv[1]} is no run's folder")
    os.nice(NICENESS)
    supervisor = Supervisor(run)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    code = supervisor.supervise()
    write_whole(run.folder / ENDED, json.dumps({"code": code, "at": time.time()}))


if __name__ == "__main__":
    main()
