"""Format `pickapic`: Pick-a-Pic v1 and v2, a caption with two images and a preference.

Columns: `are_different, best_image_uid, caption, created_at, has_label, image_0_uid, image_0_url, image_1_uid,
image_1_url, jpg_0, jpg_1, label_0, label_1, model_0, model_1, ranking_id, user_id, num_example_per_prompt`. Each image
becomes a trajectory, drawn by `model_0` or `model_1`; the pair is kept together by `ranking_id`, and its labels are
what `user_id` answered of it. The JPEG files are
kept as they are beside the PNG that pages show. In a table without `jpg_0` (a CSV), images are files named by uid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.formats.imported_answers import PAIRS, ImportedAnswers, preference
from annotations.importing.picture_names import Folder
from annotations.importing.records import (
    Look,
    Read,
    RowProblem,
    as_png,
    made_elsewhere,
    name_of,
    parts_of,
    picture_in,
    probability,
)
from annotations.schema.imported_record import Record, RecordPart

NEEDED = ("caption", "image_0_uid", "image_1_uid", "label_0", "label_1")
MARKS = (frozenset(NEEDED),)
PROJECT = PAIRS
KNOWN = (*NEEDED, "model_0", "model_1", "ranking_id")
LABELS = ("label_0", "label_1")
CHOICES = {(1.0, 0.0): "left", (0.0, 1.0): "right", (0.5, 0.5): "tie"}
HAS_LABEL = dict.fromkeys(("", "none", "nan", "true", "1", "1.0"), True) | dict.fromkeys(("false", "0", "0.0"), False)
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
size, merged = rows.size, rows.joined_record


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """`drawn_by` names the model where a row does not."""
    beside = source if source.is_dir() else source.parent
    look = Folder(images or beside, beside, flattened=flattened)
    return rows.read(source, partial(_record, look=look, drawn_by=drawn_by), KNOWN)


def answers(record: Mapping[str, Any], ids: Sequence[str]) -> ImportedAnswers | None:
    """None where the row has no label."""
    try:
        choice = _choice(record)
    except RowProblem:  # of an import by an earlier version
        return None
    return choice and preference(ids, choice, f"pick-a-pic {record.get('user_id', '')}"[:80].strip())


def _choice(row: Mapping[str, Any]) -> str | None:
    """What was preferred; None where the row has no label. Raises RowProblem for labels that say something else."""
    has_label = str(row.get("has_label", "")).strip().lower()
    if has_label not in HAS_LABEL:
        raise RowProblem(f"{row['has_label']!r:.60}", "true or false", "has_label")
    if not HAS_LABEL[has_label] or any(isinstance(row[name], float) and isnan(row[name]) for name in LABELS):
        return None
    labels = tuple(probability(row[name], name) for name in LABELS)
    if labels not in CHOICES:
        raise RowProblem(
            f"{row['label_0']!r:.30} and {row['label_1']!r:.30}", "1 and 0, 0 and 1, or 0.5 twice", "label_0"
        )
    return CHOICES[labels]


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str | None) -> Record:
    missing = [name for name in NEEDED if row.get(name) in (None, "")]
    if missing:
        raise RowProblem(f"nothing in {', '.join(missing)}", f"values in {', '.join(NEEDED)}")
    _choice(row)
    parts = parts_of(partial(_part, row, index, look, drawn_by) for index in (0, 1))
    pair = row.get("ranking_id")
    return Record(number, parts, together=f"row {number}" if pair in (None, "") else f"ranking_id {pair}")


def _part(row: rows.Row, index: int, look: Look, drawn_by: str | None) -> RecordPart:
    field = f"jpg_{index}"
    content = picture_in(row.get(field)) or _file(row[f"image_{index}_uid"], look, f"image_{index}_uid")
    if not isinstance(content, bytes):
        raise RowProblem(f"{content!r:.40}", "the bytes of a picture", field)
    sha256, png = as_png(content, field)
    trajectory = made_elsewhere(
        row["caption"], sha256, checkpoint=name_of(row.get(f"model_{index}"), f"model_{index}") or drawn_by
    )
    own = {name: value for name, value in row.items() if name != f"jpg_{1 - index}"}
    return RecordPart(trajectory, {sha256: png}, *pack(own))


def _file(uid: str, look: Look, place: str) -> bytes:
    problems: list[RowProblem] = []
    for ending in ENDINGS:
        try:
            return look(f"{uid}{ending}", place)
        except RowProblem as error:
            problems.append(error)
    raise problems[0]
