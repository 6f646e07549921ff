"""Format `umm_reflection`: trajectories of UMM-Reflection with their images, one row each (Parquet).

Columns: `uid, task` (t2i or edit), `user_prompt, think_list, step_action_list, step_role_list, step_image_list` and
others, lists with an entry per step. A step's text is a block of fields:

    <think>
    [CURRENT_ROUND] Round#1
    [SCORE] 4/10
    [ACTION] edit
    [THINKING] The car is red.
    [SOURCE_IMAGE] Image #0
    [EDIT] Make the car blue.
    </think>

The first step plans the first image (its thinking becomes a thought), each later one judges the image before it: `edit`
says no and draws another, `done` says yes. In an `edit` task a step before them holds the given image.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.records import (
    Read,
    RowProblem,
    as_png,
    judgement,
    list_in,
    picture_in,
    text_in,
    trajectory_of,
)
from annotations.schema.imported_record import Record, RecordPart
from model.trajectory import Image, Reflection, Segment, Source, Thought, Token

MARKS = (frozenset({"think_list", "step_action_list", "user_prompt"}),)
PROJECT = None
FIELD = re.compile(
    r"^[ \t]*\[([A-Z_]+)\][ \t]*(.*?)(?=^[ \t]*\[[A-Z_]+\]|^[ \t]*</think>|\Z)", re.MULTILINE | re.DOTALL
)
NOTHING = ("", "none", "null", "n/a", "na")
size, merged = rows.size, rows.only_record


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """The images are in the rows; `drawn_by` names the model, else `run` does."""
    return rows.read(source, partial(_record, drawn_by=drawn_by))


def _record(number: int, row: rows.Row, *, drawn_by: str | None) -> Record:
    thinks = list_in(row, "think_list")
    actions, images = (list_in(row, name, len(thinks)) for name in ("step_action_list", "step_image_list"))
    segments: list[Segment] = []
    pictures: dict[str, bytes] = {}
    for place, (think, action) in enumerate(zip(thinks, actions, strict=True)):
        sha256 = _add_picture(pictures, images[place], f"step_image_list[{place}]")
        if action == "none":
            if place or sha256 is None:
                raise RowProblem("the action “none”", "it at the first step, with the given image", "step_action_list")
            segments.append(Source((), sha256))
            continue
        segments += _step(think, str(action), place, judged=any(isinstance(s, Image) for s in segments))
        if (sha256 is None) != (action == "done"):
            raise RowProblem(f"the action {action!r:.20}", "an image at each step but the last", f"step {place}")
        if sha256 is not None:
            segments.append(Image((), sha256))
    if not isinstance(segments[-1], Reflection):
        raise RowProblem("a last step that is not done", "one whose action is “done”", "step_action_list")
    prompt = text_in(row, "user_prompt")
    made = trajectory_of(prompt, segments, checkpoint=drawn_by or str(row.get("run") or ""))
    return Record(number, (RecordPart(made, pictures, *pack(row)),))


def _add_picture(pictures: dict[str, bytes], content: Any, place: str) -> str | None:
    content = picture_in(content)
    if not content:
        return None
    if not isinstance(content, bytes):
        raise RowProblem(f"{content!r:.40}", "the bytes of a picture", place)
    sha256, png = as_png(content, place)
    pictures[sha256] = png
    return sha256


def _step(think: Any, action: str, place: int, *, judged: bool) -> list[Segment]:
    """What is thought before the first image, or said of the last one."""
    if not isinstance(think, str) or action not in ("edit", "done"):
        raise RowProblem(f"{action!r:.20}: {think!r:.40}", "the action edit or done, and text", f"think_list[{place}]")
    fields = {name: value.strip() for name, value in FIELD.findall(think)}
    if fields.get("ACTION", "").lower() != action:
        raise RowProblem(f"{think!r:.60}", f"a <think> block with [ACTION] {action}", f"think_list[{place}]")
    thinking, edit = fields.get("THINKING", ""), fields.get("EDIT", "")
    if not judged:
        return [Thought((Token(-1, thinking),))] if thinking else []
    edit = "" if edit.lower() in NOTHING else edit
    if bool(edit) == (action == "done"):
        raise RowProblem(f"the edit {edit!r:.40}", "an [EDIT] where the action is edit", f"think_list[{place}]")
    score = re.match(r"(\d+)\s*/\s*10$", fields.get("SCORE", ""))
    reflection = judgement(action == "done", thinking, edit)
    return [replace(reflection, p_yes=min(int(score[1]), 10) / 10) if score else reflection]
