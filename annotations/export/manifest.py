"""The manifest of an export as a value: counts, sources, file hash; written by `exporter`, read by trainers.

Read back by whoever trains on the folder, without a database. Knows no store and no rows.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 3  # of the rows; since 2 they say which a reviewer decided, since 3 what a person wrote
PARQUET = "train-00000-of-00001.parquet"
MANIFEST = "manifest.json"
CARD = "README.md"


@dataclass(frozen=True)
class Manifest:
    """One export. Nothing in it names a person."""

    kind: str
    schema_version: int
    examples: int
    counts: dict[str, int]  # examples by what the kind counts, and those that a reviewer decided
    left_out: dict[str, int]  # submitted annotations that made none, by reason
    annotators: int
    trajectory_ids: tuple[str, ...]
    checkpoints: tuple[str, ...]  # whose drawings and reflections these are
    file: str
    sha256: str  # of the file
    created_at: str  # ISO 8601, UTC
    versions: dict[str, str]  # of what wrote it

    def to_dict(self) -> dict[str, Any]:
        row = asdict(self)
        return row | {
            "trajectory_ids": list(self.trajectory_ids),
            "checkpoints": list(self.checkpoints),
        }

    @staticmethod
    def from_dict(row: dict[str, Any]) -> "Manifest":
        """Raises KeyError for what is missing; what is unknown is left aside."""
        known = {field.name: row[field.name] for field in fields(Manifest)}
        known["trajectory_ids"] = tuple(known["trajectory_ids"])
        known["checkpoints"] = tuple(known["checkpoints"])
        return Manifest(**known)


@dataclass
class Tally:
    """What goes into the manifest, counted while rows are written."""

    rows: Counter[str]  # "examples": all of them; beside that what they are
    left_out: Counter[str]
    annotators: set[str]
    trajectories: set[str]
    checkpoints: set[str]

    @staticmethod
    def begin() -> "Tally":
        return Tally(Counter(), Counter(), set(), set(), set())


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder, or None where there is none of ours."""
    try:
        return Manifest.from_dict(json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
