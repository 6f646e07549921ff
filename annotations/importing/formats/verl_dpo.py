"""Format `verl_dpo`: verl-omni's offline preference pairs for diffusion DPO (Parquet with images beside it).

Columns: `prompt` (messages, or a text), `negative_prompt, img_win, img_lose` (paths), `win_score, lose_score`; latents
and embeddings of prompts, where there are some, are kept beside. The pair becomes two trajectories and a preference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.formats.imported_answers import PAIRS, ImportedAnswers, preference
from annotations.importing.picture_names import Folder
from annotations.importing.records import Look, Read, RowProblem, as_png, made_elsewhere, parts_of
from annotations.schema.imported_record import Record, RecordPart

SIDES = ("win", "lose")
MARKS = (frozenset({"img_win", "img_lose", "prompt"}),)
PROJECT = PAIRS
size, merged = rows.size, rows.joined_record


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """`drawn_by` names the model that drew."""
    beside = source if source.is_dir() else source.parent
    look = Folder(images or beside, beside, lambda: rows.names(source, _asked), flattened=flattened)
    return rows.read(source, partial(_record, look=look, drawn_by=drawn_by))


def answers(record: Mapping[str, Any], ids: Sequence[str]) -> ImportedAnswers:
    return preference(ids, "left", "verl-omni")


def _asked(row: rows.Row) -> list[object]:
    return [row.get(f"img_{side}") for side in SIDES]


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str | None) -> Record:
    parts = parts_of(partial(_part, row, index, look, drawn_by) for index in (0, 1))
    return Record(number, parts, together=f"row {number}")


def _part(row: rows.Row, index: int, look: Look, drawn_by: str | None) -> RecordPart:
    place = f"img_{SIDES[index]}"
    sha256, png = as_png(look(row.get(place), place), place)
    trajectory = made_elsewhere(prompt_of(row.get("prompt")), sha256, checkpoint=drawn_by)
    other = SIDES[1 - index]
    own = {name: value for name, value in row.items() if not name.startswith((f"img_{other}", f"{other}_score"))}
    return RecordPart(trajectory, {sha256: png}, *pack(own))


def prompt_of(value: Any) -> str:
    """What the user asks for in messages, or the text itself. Raises RowProblem."""
    if isinstance(value, list):
        prompts = [m.get("content") for m in value if isinstance(m, dict) and m.get("role") == "user"]
        value = "\n".join(text for text in prompts if isinstance(text, str))
    if not isinstance(value, str) or not value.strip():
        raise RowProblem(f"{value!r:.60}", "a text, or messages with one of the user’s", "prompt")
    return value
