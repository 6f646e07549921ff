"""The manifest of an export as a value: query, counts, sources, hashes of the files; written by `exporter`.

Read back by whoever trains on the folder, without a database. Knows no store and no rows. Manifests of earlier
versions, which name one file and their trajectories, are read as well.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 4  # of the rows; since 3 they say what a person wrote, since 4 what they were aggregated from
MANIFEST = "manifest.json"
CARD = "README.md"
SOURCES = "_sources.parquet"  # readers of a folder of Parquet files leave names with _ aside
TRAIN = "train"
PARQUET = "train-00000-of-00001.parquet"  # of an export that fits into one shard


@dataclass(frozen=True)
class DataFile:
    """One file with rows."""

    name: str
    split: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One export. Nothing in it names a person."""

    kind: str
    schema_version: int
    examples: int
    counts: dict[str, int]  # rows by what the kind counts
    left_out: dict[str, int]  # what made no row, by reason
    annotators: int
    trajectories: int
    checkpoints: tuple[str, ...]  # whose drawings and reflections these are
    files: tuple[DataFile, ...]
    created_at: str  # ISO 8601, UTC
    versions: dict[str, str]  # of what wrote it
    query: dict[str, Any] = field(default_factory=dict)  # `Query.to_dict`
    agreement: float | None = None  # mean over the rows that have one
    sources: str | None = None  # sha256 of SOURCES, the trajectories and revisions of every row
    trajectory_ids: tuple[str, ...] = ()  # of earlier versions, which have no SOURCES

    @property
    def sha256(self) -> str:
        """Of the only file, or of all hashes."""
        return self.files[0].sha256 if len(self.files) == 1 else "-".join(file.sha256[:16] for file in self.files[:4])

    def to_dict(self) -> dict[str, Any]:
        row = asdict(self) | {"checkpoints": list(self.checkpoints), "files": [vars(file) for file in self.files]}
        del row["trajectory_ids"]
        return row

    @staticmethod
    def from_dict(row: dict[str, Any]) -> Manifest:
        """Raises KeyError for what is missing; what is unknown is left aside."""
        if "files" not in row:
            file = {"name": row["file"], "split": TRAIN, "rows": row["examples"], "sha256": row["sha256"]}
            row = row | {"files": [file], "trajectories": len(row["trajectory_ids"])}
        optional = {"query", "agreement", "sources", "trajectory_ids"}
        known = {f.name: row[f.name] for f in fields(Manifest) if f.name in row or f.name not in optional}
        known["files"] = tuple(DataFile(**file) for file in row["files"])
        for name in ("trajectory_ids", "checkpoints"):
            known[name] = tuple(known.get(name, ()))
        return Manifest(**known)


@dataclass
class Tally:
    """What goes into the manifest, counted while rows are written; JSON values, so that it outlives a kill."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    annotators: set[str] = field(default_factory=set)
    checkpoints: set[str] = field(default_factory=set)
    trajectories: int = 0
    agreements: float = 0.0  # their sum
    agreed: int = 0  # how many

    def to_dict(self) -> dict[str, Any]:
        sets = {"annotators": sorted(self.annotators), "checkpoints": sorted(self.checkpoints)}
        return vars(self) | sets | {"counts": dict(self.counts), "left_out": dict(self.left_out)}

    @staticmethod
    def from_dict(row: dict[str, Any]) -> Tally:
        known: dict[str, Any] = {name: Counter(row[name]) for name in ("counts", "left_out")}
        known |= {name: set(row[name]) for name in ("annotators", "checkpoints")}
        return Tally(**row | known)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder, or None where there is none of ours."""
    try:
        return Manifest.from_dict(json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def trajectories_of(folder: Path, manifest: Manifest) -> list[str]:
    """The ids of all trajectories that an export shows. Raises OSError and ValueError for a damaged one."""
    if manifest.sources is None:
        return list(manifest.trajectory_ids)
    try:
        lists = pq.read_table(folder / SOURCES, columns=["trajectories"]).column("trajectories")
    except pa.ArrowInvalid as error:
        raise ValueError(f"{folder / SOURCES} is damaged: {error}") from error
    return lists.combine_chunks().flatten().unique().to_pylist()
