"""Diff of two exports of one kind by the trajectories, revisions and content of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from annotations.errors import ExportError
from annotations.export.manifest import SOURCES, read_manifest


@dataclass(frozen=True)
class Changes:
    """Rows of the new export against the old one."""

    same: int
    added: int
    removed: int
    deleted_trajectories: int  # of the old export, in no row of the new one

    def __str__(self) -> str:
        return (
            f"since the earlier export: {self.same} rows as they were, {self.added} new or changed, {self.removed} "
            f"gone or changed; {self.deleted_trajectories} trajectories are in it no more"
        )


def changes(old: Path, new: Path) -> Changes:
    """Raises ExportError for a folder that is no export, or of a version that kept no sources of its rows."""
    before, after = _rows(old), _rows(new)
    same = sum(min(count, after.get(row, 0)) for row, count in before.items())
    gone = _trajectories(before) - _trajectories(after)
    return Changes(same, sum(after.values()) - same, sum(before.values()) - same, len(gone))


Key = tuple[str, tuple[str, ...]]  # hash of the content, trajectories


def _rows(folder: Path) -> dict[Key, int]:
    manifest = read_manifest(folder)
    if manifest is None or manifest.sources is None:
        raise ExportError(f"{folder} is no export that says where its rows came from; export it again to compare")
    rows: dict[Key, int] = {}
    for key in _keys(folder):
        rows[key] = rows.get(key, 0) + 1
    return rows


def _keys(folder: Path) -> Iterator[Key]:
    with pq.ParquetFile(folder / SOURCES) as file:
        for batch in file.iter_batches(columns=["sha256", "trajectories"]):
            for row in batch.to_pylist():
                yield row["sha256"], tuple(row["trajectories"])


def _trajectories(rows: dict[Key, int]) -> set[str]:
    return {trajectory for _, trajectories in rows for trajectory in trajectories}
