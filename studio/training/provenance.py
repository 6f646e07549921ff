"""Provenance: from a checkpoint to its data sets and the annotations in them, and from an annotation to checkpoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotations.export.manifest import MANIFEST, TRAIN
from annotations.export.manifest import SOURCES as REVISIONS
from annotations.schema.annotation import Annotation
from annotations.store.store import Store
from studio.training.runs import SOURCES, TrainingRun, read_json, runs_in

MOST_ANCESTORS = 20
PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class LearntRow:
    """What one row of a data set was made from."""

    trajectories: tuple[str, ...]
    revisions: tuple[int, ...]


@dataclass(frozen=True)
class LearntAnnotation:
    """An annotation that a checkpoint learnt from, and the prompt of its drawing."""

    annotation: Annotation
    prompt: str


def ancestors(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """A checkpoint and those it descends from: name and provenance, as far as their folders are there."""
    line: list[tuple[str, dict[str, Any]]] = []
    while len(line) < MOST_ANCESTORS:
        provenance = read_json(folder / PROVENANCE)
        line.append((folder.name, provenance or {}))
        parent = (provenance or {}).get("parent")
        if not parent:
            break
        folder = Path(str(parent))
    return line


def manifests_of(run: TrainingRun) -> list[dict[str, Any]]:
    """Of the data sets that a run learns from; an empty one where a folder has none."""
    return [read_json(folder / MANIFEST) or {} for folder in _source_folders(run)]


def rows_of(run: TrainingRun) -> list[LearntRow]:
    """Where the rows come from that a run learns from."""
    rows: list[LearntRow] = []
    for folder in _source_folders(run):
        file = folder / REVISIONS
        if file.is_file():
            rows += _rows(file, file.stat().st_mtime_ns)
    return rows


def _source_folders(run: TrainingRun) -> list[Path]:
    return sorted(path for path in (run.folder / SOURCES).glob("*") if path.is_dir())


@lru_cache(maxsize=64)
def _rows(file: Path, changed: int) -> tuple[LearntRow, ...]:
    try:
        table = pq.read_table(file, columns=["split", "trajectories", "revisions"]).to_pylist()
    except (OSError, pa.ArrowException):
        return ()
    return tuple(
        LearntRow(tuple(row["trajectories"]), tuple(row["revisions"])) for row in table if row["split"] == TRAIN
    )


def annotations_of(store: Store, rows: Sequence[LearntRow], most: int) -> list[LearntAnnotation]:
    """The first annotations that made these rows, whose drawings are still there."""
    learnt: list[LearntAnnotation] = []
    revisions = {revision for row in rows for revision in row.revisions}
    ids = list(dict.fromkeys(id for row in rows for id in row.trajectories))
    for start in range(0, len(ids), most):
        if len(learnt) >= most:
            break
        visible = store.trajectories_by_id(ids[start : start + most])
        for id, trajectory in visible.items():
            history = store.history(id)
            learnt += [LearntAnnotation(each, trajectory.prompt) for each in history if each.id in revisions]
    return learnt[:most]


def learners(place: Path, revisions: Iterable[int]) -> dict[int, list[str]]:
    """By revision, the names of the runs in a folder with a checkpoint that learnt from it."""
    asked = set(revisions)
    names: dict[int, list[str]] = defaultdict(list)
    for run in runs_in(place):
        if run.has_checkpoint:
            learnt = {revision for row in rows_of(run) for revision in row.revisions}
            for revision in sorted(learnt & asked):
                names[revision].append(run.name)
    return names
