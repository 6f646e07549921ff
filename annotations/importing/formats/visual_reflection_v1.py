"""Format `visual_reflection_v1`: verl-omni's trajectories of image, reflection, action and edit (JSON Lines).

    {"trajectory_id": …, "manifest_id": …, "source_dataset": …, "source_record_id": …, "pipeline_variant": …,
    "prompt": …, "images": [{"uri": …, "sha256": …}, …], "steps": [{"reflection": …, "action": "continue"|"stop",
    "edit": …}, …]}

One step per image: `continue` says no to it and has an edit, `stop` says yes and has none. Images are looked up by
`uri` and must have the hash that stands beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.picture_names import Folder
from annotations.importing.records import Look, Read, RowProblem, as_png, judgement, list_in, text_in, trajectory_of
from annotations.schema.imported_record import Record, RecordPart
from model.trajectory import Image, Segment

MARKS = (frozenset({"images", "steps", "source_record_id", "prompt"}),)
PROJECT = None
ACTIONS = ("continue", "stop")
size, merged = rows.size, rows.only_record


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """`drawn_by` names the model; else `source_dataset` does."""
    look = Folder(images or source.parent, source.parent, lambda: rows.names(source, _asked), flattened=flattened)
    return rows.read(source, partial(_record, look=look, drawn_by=drawn_by))


def _asked(row: rows.Row) -> Iterator[object]:
    images = row.get("images")
    return (each.get("uri") for each in (images if isinstance(images, list) else ()) if isinstance(each, dict))


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str | None) -> Record:
    images = list_in(row, "images")
    steps = list_in(row, "steps", len(images))
    segments: list[Segment] = []
    pictures: dict[str, bytes] = {}
    for place, (image, step) in enumerate(zip(images, steps, strict=True)):
        sha256, png = _picture(image, f"images[{place}]", look)
        pictures[sha256] = png
        segments += [Image((), sha256), _step(step, f"steps[{place}]")]
    if [segment.answer for segment in segments[1::2]] != ["no"] * (len(steps) - 1) + ["yes"]:
        raise RowProblem("actions in another order", "“continue” at every step but the last, which stops", "steps")
    made = trajectory_of(row.get("prompt"), segments, checkpoint=drawn_by or str(row.get("source_dataset") or ""))
    return Record(number, (RecordPart(made, pictures, *pack(row)),))


def _picture(image: Any, place: str, look: Look) -> tuple[str, bytes]:
    if not isinstance(image, dict):
        raise RowProblem(f"{image!r:.60}", "an object with uri and sha256", place)
    content = look(text_in(image, "uri", f"{place}.uri"), f"{place}.uri")
    if (actual := hashlib.sha256(content).hexdigest()) != image.get("sha256"):
        raise RowProblem(f"a file with the SHA-256 {actual[:12]}…", "the one that stands beside it", f"{place}.sha256")
    return as_png(content, place)


def _step(step: Any, place: str) -> Any:
    if not isinstance(step, dict) or step.get("action") not in ACTIONS:
        raise RowProblem(f"{step!r:.60}", "an object with reflection, action (continue or stop) and edit", place)
    accepted, edit = step["action"] == "stop", step.get("edit")
    if not isinstance(edit, str) or bool(edit.strip()) == accepted:
        raise RowProblem(f"the edit {edit!r:.60}", "an edit where it continues, and none where it stops", place)
    return judgement(accepted, text_in(step, "reflection", f"{place}.reflection"), edit)
