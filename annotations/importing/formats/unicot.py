"""Format `unicot`: UniCoT-Self-Reflection, rounds of evaluating and editing one drawing.

Columns: `data_id, prompt, input_image, output_image, edit, eval, eval_summary`; all but the first two are lists with an
entry per round. `output_image` of a round is `input_image` of the next, and null in the last, which accepts the image.
Images are paths, looked up beside the table or in a folder of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.picture_names import Folder
from annotations.importing.records import Look, Read, RowProblem, as_png, judgement, list_in, trajectory_of
from annotations.schema.imported_record import Record, RecordPart
from model.trajectory import Image, Segment

MARKS = (frozenset({"input_image", "output_image", "edit", "eval_summary"}),)
PROJECT = None
size, merged = rows.size, rows.only_record


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """`drawn_by` names the model that drew."""
    beside = source if source.is_dir() else source.parent
    look = Folder(images or beside, beside, lambda: rows.names(source, _asked), flattened=flattened)
    return rows.read(source, partial(_record, look=look, drawn_by=drawn_by))


def _asked(row: rows.Row) -> Iterator[object]:
    return (path for name in ("input_image", "output_image") if isinstance(row.get(name), list) for path in row[name])


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str | None) -> Record:
    inputs = list_in(row, "input_image")
    outputs, edits, evals, summaries = (
        list_in(row, name, len(inputs)) for name in ("output_image", "edit", "eval", "eval_summary")
    )
    if outputs[-1] is not None or None in outputs[:-1]:
        raise RowProblem(f"{outputs!r:.60}", "an image in every round but the last", "output_image")
    segments: list[Segment] = []
    pictures: dict[str, bytes] = {}
    drawn: str | None = None  # in the round before
    for place, path in enumerate(inputs):
        sha256, png = _picture(path, f"input_image[{place}]", look)
        if drawn not in (None, sha256):
            raise RowProblem("another image than was drawn in the round before", "the same", f"input_image[{place}]")
        pictures[sha256] = png
        reason = next((text for text in (summaries[place], evals[place]) if isinstance(text, str) and text.strip()), "")
        if not reason:
            raise RowProblem("no text", "what was said of the image", f"eval_summary[{place}]")
        accepted = outputs[place] is None
        segments += [Image((), sha256), judgement(accepted, reason, "" if accepted else _edit(edits[place], place))]
        drawn = None if accepted else _picture(outputs[place], f"output_image[{place}]", look)[0]
    made = trajectory_of(row.get("prompt"), segments, checkpoint=drawn_by)
    return Record(number, (RecordPart(made, pictures, *pack(row)),))


def _picture(path: Any, place: str, look: Look) -> tuple[str, bytes]:
    return as_png(look(path, place), place)


def _edit(value: Any, place: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise RowProblem(f"{value!r:.60}", "what to change", f"edit[{place}]")
    return value
