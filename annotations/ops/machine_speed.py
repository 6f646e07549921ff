"""Calibration of the machine's speed, and summaries of timings."""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def calibration(folder: Path) -> dict[str, float]:
    """Median milliseconds, of five runs, of a fixed Python computation and of a synced write to a folder's disk."""
    return {
        "this machine: sum of a million numbers": statistics.median(milliseconds(lambda: sum(range(1_000_000)), 5)),
        "this machine: a page to the disk": statistics.median(milliseconds(_to_disk(folder), 5)),
    }


def milliseconds(work: Callable[[], object], times: int) -> list[float]:
    """Durations of `times` runs of `work`."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def spread(times: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    most = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return statistics.median(times), most


def figures(rows: Mapping[str, str]) -> str:
    """Names and figures as a table of two columns."""
    return "\n".join(f"{name:<48}{figure:>18}" for name, figure in rows.items())


def _to_disk(folder: Path) -> Callable[[], object]:
    """A function that appends a page of 4096 bytes and syncs it, as a submit does."""

    def write() -> None:
        with (folder / "page").open("ab") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())

    return write
