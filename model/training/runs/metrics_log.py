"""Metrics of a run as JSON lines, some of them printed."""

import json
import math
import os
from pathlib import Path
from typing import IO, Any

from accelerate import Accelerator

from model.atomic_files import write_whole
from model.backends.contract import CheckpointError

NESTED = (str, list, dict)  # what of a row is no number


class Log:
    """Metrics as JSON lines in a file; printed every `every` steps, and at the last. Only the first process writes.

    A row has `step`, `seconds` since the run was started or resumed, `eta_seconds`, `learning_rate`,
    `gradient_norm`, the metrics of the method, `tokens_per_second`, `shared` (share of them that is computed for
    several sequences at once), `padding` (share of positions) and, where there is cause, `alarms` (a list of texts,
    `alarms`), `evaluated_mean` and `evaluation` (`evaluations`).

    `first` is the step a run goes on from: rows from there on are dropped, they are written again. A number that JSON
    has no word for is written as null.
    """

    def __init__(self, path: Path, accelerator: Accelerator, *, steps: int, first: int, every: int = 10):
        self.file: IO[str] | None = None
        self.steps, self.every = steps, every
        self.processes = accelerator.num_processes
        if accelerator.is_main_process:
            path.parent.mkdir(parents=True, exist_ok=True)
            keep_rows(path, first)
            self.file = path.open("a", encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        if self.file is None:
            return
        row = {name: _finite(value) for name, value in row.items()} | {"processes": self.processes}
        self.file.write(json.dumps(row, allow_nan=False) + "\n")
        self.file.flush()
        if row["step"] % self.every == 0 or row["step"] == self.steps - 1:
            numbers = {key: value for key, value in row.items() if not isinstance(value, NESTED)}
            shown = (f"{key} {'-' if value is None else format(value, '.4g')}" for key, value in numbers.items())
            print(" ".join(shown), flush=True)

    def sync(self) -> None:
        """Flush the file to the disk (fsync)."""
        if self.file is not None:
            os.fsync(self.file.fileno())

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def _finite(value: Any) -> Any:
    if isinstance(value, NESTED):
        return value
    value = float(value) if not isinstance(value, int) else value
    return value if math.isfinite(value) else None


def keep_rows(path: Path, first: int) -> None:
    """Drop the rows of a log from step `first` on, and a last one that was cut. Raises CheckpointError where the file
    is no log."""
    kept = [row for row in read_rows(path) if row["step"] < first]
    write_whole(path, "".join(json.dumps(row) + "\n" for row in kept), mode=0o644)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; none where there is no file. Raises CheckpointError for a file that is no log."""
    rows = []
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            row["step"] + 0
        except (ValueError, KeyError, TypeError) as error:
            if rows and number == len(lines):  # a kill while it was written
                break
            raise CheckpointError(
                f"{path} is there already and no log of a training run (line {number}); choose another --out"
            ) from error
        rows.append(row)
    return rows
