"""Format `r3_bench`: R³-Bench, images of other models that experts judged against their prompts (JSON Lines).

    {"idx": 0, "original_prompt": …, "bad_image": "images/color/false/r3b_000000.png", "answer": false,
    "explanation": …, "category": "color", "generated_qa": {…}}

Each image becomes an item of gold: its right answer is the expert's, and the explanation is told to who practises on
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.formats.imported_answers import EXPERTS, ImportedAnswers
from annotations.importing.picture_names import Folder
from annotations.importing.records import Look, Read, RowProblem, as_png, made_elsewhere, text_in
from annotations.schema.imported_record import Record, RecordPart
from annotations.schema.questions import NO, YES

MARKS = (frozenset({"original_prompt", "bad_image", "answer"}),)
PROJECT = EXPERTS
size, merged = rows.size, rows.only_record


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """`drawn_by` names the model that drew."""
    look = Folder(images or source.parent, source.parent, lambda: rows.names(source, _asked), flattened=flattened)
    return rows.read(source, partial(_record, look=look, drawn_by=drawn_by))


def answers(record: Mapping[str, Any], ids: Sequence[str]) -> ImportedAnswers:
    right = {"shows_prompt": YES if record["answer"] else NO}
    return ImportedAnswers(ids[0], None, 0, right, "r3-bench", gold=True, because=str(record.get("explanation") or ""))


def _asked(row: rows.Row) -> list[object]:
    return [row.get("bad_image")]


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str | None) -> Record:
    if not isinstance(row.get("answer"), bool):
        raise RowProblem(f"{row.get('answer')!r:.60}", "true or false", "answer")
    if not isinstance(row.get("explanation"), str | None):
        raise RowProblem(f"{row['explanation']!r:.60}", "text", "explanation")
    sha256, png = as_png(look(row.get("bad_image"), "bad_image"), "bad_image")
    trajectory = made_elsewhere(text_in(row, "original_prompt"), sha256, checkpoint=drawn_by)
    return Record(number, (RecordPart(trajectory, {sha256: png}, *pack(row)),))
