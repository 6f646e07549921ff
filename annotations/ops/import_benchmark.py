"""Speed of imports: rows per second, per CPU second, and duration of write transactions."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from annotations.db.fair_lock import FairLock
from annotations.importing.importer import bring_in
from annotations.ops.machine_speed import figures
from annotations.ops.synthetic import write_rows
from annotations.store.store import Store

ROWS_PER_SECOND, PICTURES_PER_SECOND = 1000, 150  # wanted in a second of processor time
MAX_TRANSACTION = 0.15  # seconds of processor time


class TimedLock(FairLock):
    """Records how long each acquisition was held."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.processor: list[float] = []  # seconds of processor time of the thread that held it
        self._began = 0.0, 0.0

    def acquire(self, timeout: float) -> bool:
        acquired = super().acquire(timeout)
        if acquired:
            self._began = time.perf_counter(), time.thread_time()
        return acquired

    def release(self) -> None:
        self.seconds.append(time.perf_counter() - self._began[0])
        self.processor.append(time.thread_time() - self._began[1])
        super().release()


@dataclass(frozen=True)
class Speed:
    """What an import took."""

    rows: int
    pictures: int  # rows that have one
    seconds: float
    processor: float  # seconds
    lock: TimedLock

    @property
    def limit(self) -> float:
        """The most seconds of processor time that are acceptable."""
        return self.pictures / PICTURES_PER_SECOND + (self.rows - self.pictures) / ROWS_PER_SECOND

    def __str__(self) -> str:
        lines = {
            "rows": f"{self.rows:,}",
            "… with a picture": f"{self.pictures:,}",
            "rows a second": f"{self.rows / self.seconds:,.0f}",
            "rows a second of processor time": f"{self.rows / self.processor:,.0f}",
            "… wanted at least": f"{self.rows / self.limit:,.0f}",
            "transactions": f"{len(self.lock.seconds):,}",
            "the longest": f"{1000 * max(self.lock.seconds):.0f} ms",
            "the longest, of processor time": f"{1000 * max(self.lock.processor):.0f} ms",
        }
        return figures(lines)


def imported(store: Store, folder: Path, rows: int, pictures: int) -> Speed:
    """Import so many made-up rows, of which the file is written to `folder`, with nobody else at the store."""
    file, lock = folder / "rows.jsonl", TimedLock()
    write_rows(file, rows, pictures)
    timed = Store(replace(store.database, write_lock=lock), store.clock)
    began, worked = time.perf_counter(), time.process_time()
    report = bring_in(timed, file, "ours", owner="benchmark")
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    assert (report.records, report.errors) == (rows, ()), report.errors[:3]
    return Speed(rows, pictures, seconds, processor, lock)


def measure(store: Store, folder: Path, rows: int, pictures: int) -> str | None:
    """Print what it took; what is too slow, where something is."""
    speed = imported(store, folder, rows, pictures)
    print(speed)
    if speed.processor > speed.limit or max(speed.lock.processor) > MAX_TRANSACTION:
        return (
            f"wanted {ROWS_PER_SECOND} rows without and {PICTURES_PER_SECOND} with a picture a second of processor "
            f"time, and no transaction of more than {1000 * MAX_TRANSACTION:.0f} ms of it"
        )
    return None
