"""Append-only JSON-line logs of several processes: each writes its own file, all are read.

A line is found by its key. A line cut off at the end of a file (a process that was killed) is cut away when its
process opens the log again, and ignored by others. Of two lines with one key the first counts.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

KEY = "key"


class RecordError(ValueError):
    """A file of records that cannot be read, or that lacks some."""


class AppendLog:
    """The log `NAME.jsonl`; processes other than the first write `NAME.1.jsonl` and so on, beside it.

    In memory are the keys and where their lines begin. Lines that other processes add later are seen after `reread`.
    """

    def __init__(self, file: Path, process: int = 0) -> None:
        """Raises RecordError for a damaged log, OSError."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = file.parent, file.stem
        self._places: dict[str, tuple[Path, int]] = {}
        self._ends: dict[Path, int] = {}
        self._readers: dict[Path, BinaryIO] = {}
        self._own = file.with_name(f"{self._name}.{process}.jsonl") if process else file
        self.reread()
        self._file = self._own.open("ab")
        self._file.truncate(self._ends.get(self._own, 0))

    def reread(self) -> None:
        """Read what was added to any process's file. Raises RecordError."""
        named = re.compile(rf"{re.escape(self._name)}(\.\d+)?\.jsonl")
        for file in sorted(self._folder.iterdir()):
            if named.fullmatch(file.name):
                self._read(file)

    def _read(self, file: Path) -> None:
        end, number = self._ends.get(file, 0), 0
        with file.open("rb") as opened:
            opened.seek(end)
            while (line := opened.readline()).endswith(b"\n"):
                number += 1
                try:
                    key = json.loads(line)[KEY]
                except (ValueError, KeyError, TypeError) as error:
                    began = f" after byte {self._ends[file]}" if self._ends.get(file) else ""
                    raise RecordError(
                        f"{file}, line {number}{began}: {error}; it is none of this log, so give the folder of an "
                        "earlier run, or a new one"
                    ) from error
                self._places.setdefault(key, (file, end))
                end += len(line)
        self._ends[file] = end

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Append a row, unless its key is there already. It reaches the operating system at once, so that it outlives
        the process."""
        if key in self._places:
            return
        line = json.dumps({KEY: key, **row}, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        start = self._ends.get(self._own, 0)
        self._file.write(line)
        self._file.flush()
        self._places[key], self._ends[self._own] = (self._own, start), start + len(line)

    def sync(self) -> None:
        """Wait until what was added is on the disk."""
        os.fsync(self._file.fileno())

    def find(self, key: str) -> dict[str, Any] | None:
        """The row of a key."""
        place = self._places.get(key)
        if place is None:
            return None
        file, start = place
        if file not in self._readers:
            self._readers[file] = file.open("rb")
        self._readers[file].seek(start)
        return json.loads(self._readers[file].readline())

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in (self._file, *self._readers.values()):
            file.close()
