"""Recognizes the format of a file by the columns of its first rows, and previews these rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from annotations.errors import ImportingError
from annotations.importing.formats import FORMATS, rows
from annotations.importing.records import Read, RowError
from annotations.importing.source_tables import TableSource
from annotations.schema.imported_record import Record
from model.trajectory import Reflection, Trajectory

LOOKED_AT = 5  # rows
LONGEST = 100  # characters of a text that is shown


def detect(sources: Sequence[TableSource]) -> str:
    """The name of the first format that all the first rows of the first file fit. Raises ImportingError."""
    path = sources[0].path
    if path.is_dir() and not rows.is_sharded(path):  # of trajectories, one a file
        return "ours"
    if path.suffix.lower() == ".txt":
        return "flow_prompts"
    read = [row for _, row in islice(rows.rows(path), LOOKED_AT)]
    first = [row for row in read if isinstance(row, dict)]
    for name, reader in FORMATS.items():
        if first and any(all(marks <= {*row} for row in first) for marks in reader.MARKS):
            return name
    if read and not first:
        raise ImportingError(f"{sources[0].name}: {read[0]}")
    columns = ", ".join(dict.fromkeys(column for row in first for column in row)) or "none"
    raise ImportingError(
        f"{sources[0].name} has the columns {columns[:300]}, which are of no known format; name it, or say by "
        "a mapping which columns hold the image and the prompt"
    )


def read_columns(file: Path) -> dict[str, str]:
    """A mapping of columns from a JSON file. Raises ImportingError."""
    try:
        columns = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ImportingError(f"{file} cannot be read as a mapping: {str(error)[:200]}") from error
    check_columns(columns)
    return columns


def check_columns(columns: Any) -> None:
    """Raises ImportingError for what is no mapping of names of columns to those of the format `folder`."""
    known = FORMATS["folder"].KNOWN
    if not isinstance(columns, Mapping) or not columns or any(field not in known for field in columns.values()):
        raise ImportingError(
            f"got the mapping {columns!r:.200}, wanted names of columns to some of: {', '.join(known)}"
        )


def shown(read: Read, count: int) -> Iterator[str]:
    """The first records of a file, or why they are none, a line each."""
    for record in islice(read, count):
        yield str(record) if isinstance(record, RowError) else _in_words(record)


def _in_words(record: Record) -> str:
    drawn = [f"“{_short(part.trajectory.prompt)}”: {_segments(part.trajectory)}" for part in record.parts[:2]]
    more = f"; and {len(record.parts) - 2} more" if len(record.parts) > 2 else ""
    return f"row {record.row}: {'; '.join(drawn)}{more}"


def _segments(trajectory: Trajectory) -> str:
    words = [_short(s.text) if isinstance(s, Reflection) else s.kind for s in trajectory.segments]
    return f"{', '.join(words) or 'nothing drawn'} (by {trajectory.checkpoint})"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
