"""Parts of an unfinished export: the files between two saves of its state, and the state.

A part has a file per split, and one with the sources of its rows.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotations.export.annotated_trajectories import AnnotatedTrajectory
from annotations.export.kind import Excluded, ExportKind, ExportRow
from annotations.export.manifest import SOURCES, Tally
from annotations.export.splits import Splitter
from annotations.export.writing.writers import WRITERS, Writer
from model.atomic_files import sync, write_whole

STATE = "state.json"
SOURCE_SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "trajectories": pa.list_(pa.string()),
        "revisions": pa.list_(pa.int64()),
        "sha256": pa.string(),  # of the row
    }
)


@dataclass
class ExportState:
    """How far an export is: JSON in its unfinished folder."""

    fingerprint: str
    after: int = 0  # the last trajectory in a finished part
    seen: int = 0  # trajectories
    parts: list[list[Any]] = field(default_factory=list)  # [split, number, rows], in order
    tally: Tally = field(default_factory=Tally)

    def save(self, folder: Path) -> None:
        write_whole(folder / STATE, json.dumps(vars(self) | {"tally": self.tally.to_dict()}))


def resumed(folder: Path, fingerprint: str) -> ExportState:
    """The state of an unfinished export of the same; else a new one, in an empty folder."""
    try:
        row = json.loads((folder / STATE).read_text("utf-8"))
        if row["fingerprint"] == fingerprint:
            return ExportState(**row | {"tally": Tally.from_dict(row["tally"])})
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(folder)
    folder.mkdir()
    return ExportState(fingerprint)


class ExportPart:
    """The files between two saves of the state: one per split, and the sources of their rows."""

    def __init__(self, folder: Path, kind: ExportKind, number: int, split_of: Splitter) -> None:
        self.folder, self.kind, self.number, self.split_of = folder, kind, number, split_of
        self.size = 0
        self._writers: dict[str, Writer] = {}
        self._rows: Counter[str] = Counter()
        self._sources: list[dict[str, Any]] = []

    def add(self, annotated: AnnotatedTrajectory, row: ExportRow | Excluded, tally: Tally) -> None:
        if isinstance(row, Excluded):
            tally.left_out[row.reason] += 1
            return
        split = self.split_of(annotated.trajectory)
        if split not in self._writers:
            path = part_file(self.folder, self.kind, split, self.number)
            self._writers[split] = WRITERS[self.kind.layout](path, self.kind.features)
        self._writers[split].write(row)
        self._rows[split] += 1
        self.size += row.size
        self._sources.append(
            {
                "split": split,
                "trajectories": list(row.trajectories),
                "revisions": sorted({revision for revision, _ in row.answers}),
                "sha256": _hash(row),
            }
        )
        _count(tally, row)

    def close(self) -> list[list[Any]]:
        """Finish the files; their (split, number, rows)."""
        for writer in self._writers.values():
            writer.close()
            sync(writer.path)
        if self._sources:
            pq.write_table(pa.Table.from_pylist(self._sources, schema=SOURCE_SCHEMA), self._sources_file)
        return [[split, self.number, rows] for split, rows in sorted(self._rows.items())]

    def discard(self) -> None:
        for writer in self._writers.values():
            with suppress(OSError):
                writer.close()
            writer.path.unlink(missing_ok=True)

    @property
    def _sources_file(self) -> Path:
        return self.folder / f"sources-{self.number:05}.partial"


def part_file(folder: Path, kind: ExportKind, split: str, number: int) -> Path:
    return folder / f"{split}-{number:05}.partial.{WRITERS[kind.layout].suffix}"


def _hash(row: ExportRow) -> str:
    """Of all values of a row, pictures by their content."""
    digest = hashlib.sha256()
    digest.update(json.dumps(row.values, sort_keys=True, default=_of_bytes, ensure_ascii=True).encode())
    for name, content in sorted(row.files.items()):
        digest.update(f"{name}:{_of_bytes(content)}".encode())
    return digest.hexdigest()[:16]


def _of_bytes(value: Any) -> str:
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else str(value)


def _count(tally: Tally, row: ExportRow) -> None:
    tally.rows += 1
    tally.counts.update(row.labels)
    tally.annotators.update(row.people)
    if checkpoint := row.values.get("checkpoint"):
        tally.checkpoints.add(checkpoint)
    if (agreement := row.values.get("agreement")) is not None:
        tally.agreements += agreement
        tally.agreed += 1


def join_sources(folder: Path) -> int:
    """One table of all rows' sources; how many trajectories are in it."""
    ids: set[str] = set()
    with pq.ParquetWriter(folder / SOURCES, SOURCE_SCHEMA) as file:
        for part in sorted(folder.glob("sources-*.partial")):
            table = pq.read_table(part)
            file.write_table(table)
            ids.update(table.column("trajectories").combine_chunks().flatten().to_pylist())
    return len(ids)
