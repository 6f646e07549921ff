"""Format `flow_prompts`: prompts of Flow-GRPO and Flow-Factory, one a line.

A text file, or JSON Lines with `prompt` and what a reward reads beside it (`tag`, `include` … of GenEval), such as
`train_metadata.jsonl`. A prompt becomes a trajectory without segments, which nobody has drawn yet.
"""

from __future__ import annotations

from pathlib import Path

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.records import Read, text_in, trajectory_of
from annotations.schema.imported_record import Record, RecordPart

MARKS = (frozenset({"prompt", "tag"}), frozenset({"prompt", "include"}))
PROJECT = None
merged = rows.only_record


def size(source: Path) -> int:
    return sum(1 for _ in rows.lines(source)) if _is_text(source) else rows.size(source)


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """Nothing was drawn, so that `images` and `drawn_by` are for other formats."""
    if _is_text(source):
        return (rows.made(number, row, _record) for number, row in rows.lines(source))
    return rows.read(source, _record)


def _is_text(source: Path) -> bool:
    return source.suffix.lower() == ".txt"


def _record(number: int, row: rows.Row) -> Record:
    made = trajectory_of(text_in(row, "prompt"), (), checkpoint=None)
    return Record(number, (RecordPart(made, {}, *pack(row)),))
