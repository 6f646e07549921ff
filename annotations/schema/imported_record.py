"""One record of an import as a value: the trajectories it makes, their pictures, and its own fields.

Knows no format and no database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotations.db.json_text import JsonText
from annotations.db.record_json import Files
from model.trajectory import Trajectory


@dataclass(frozen=True)
class RecordPart:
    """One image of a record: the trajectory it makes, its pictures (PNG by sha256), and the record, packed."""

    trajectory: Trajectory  # its id follows from its content, where the record has none
    pictures: Mapping[str, bytes]
    record: Mapping[str, Any]
    files: Files = field(default_factory=dict)
    body: JsonText | None = None  # the trajectory, where whoever read it has written it


@dataclass(frozen=True)
class Record:
    """One row of a file. `together`: rows and images that belong to one prompt, or pair, share it."""

    row: int
    parts: tuple[RecordPart, ...]
    together: str | None = None
    key: str = ""  # stands for its content, so that none is imported twice; filled in by whoever imports
    beside: str = ""  # hash of what the row says that is in none of its parts' records

    def digest(self, format: str) -> str:
        """Equal for equal records with equal pictures."""
        shown = [sorted(part.pictures) for part in self.parts]
        files = [{name: hashlib.sha256(c).hexdigest() for name, c in part.files.items()} for part in self.parts]
        beside = [self.beside] if self.beside else []
        return digest([format, [part.record for part in self.parts], files, shown, *beside])


def digest(values: Any) -> str:
    """A hash of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
