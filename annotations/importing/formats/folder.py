"""Format `folder`: images with a table of their prompts (`file_name`, `prompt`).

Also known are `image`, `file`, `path` for the name, `caption`, `text` for the prompt, `model`, `checkpoint` for who
drew it; and `verdict`, `p_yes` and `reason`, as the studio's own table of judgements has them. The table is a CSV, JSON
Lines or Parquet file, such as `metadata.jsonl` of an image folder of the Hub; in Parquet the column of the name may
hold the picture itself. A mapping of other names of columns to these makes one of these of any table of images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from annotations.db.record_json import pack
from annotations.errors import ImportingError
from annotations.importing.formats import rows
from annotations.importing.picture_names import Folder
from annotations.importing.records import (
    Look,
    Read,
    RowProblem,
    as_png,
    made_elsewhere,
    name_of,
    picture_in,
    probability,
    said,
)
from annotations.importing.source_tables import tables_in
from annotations.schema.imported_record import Record, RecordPart
from model.reflection_text import sentence
from model.trajectory import Reflection

NAMES = ("file_name", "image", "file", "path", "filename")
PROMPTS = ("prompt", "caption", "text")
MODELS = ("model", "checkpoint", "drawn_by")
MARKS = tuple(frozenset({name, prompt}) for name in NAMES for prompt in PROMPTS)
PROJECT = None
merged = rows.only_record
KNOWN = (*NAMES, *PROMPTS, *MODELS, "verdict", "p_yes", "reason")


def size(source: Path) -> int:
    return rows.size(_table(source))


def read(
    source: Path,
    *,
    images: Path | None = None,
    drawn_by: str | None = None,
    flattened: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Read:
    """`source` is the folder, or the table in it. Pictures are looked for beside it, then in all of `images`. `columns`
    says by their names in the table which columns are which of KNOWN.
    """
    table = _table(source)

    def asked() -> Iterator[str]:
        return rows.names(table, lambda row: [_picture(_renamed(row, columns))], KNOWN)

    beside = table if table.is_dir() else table.parent
    look = Folder(images or beside, beside, asked, flattened=flattened)
    return rows.read(table, partial(_record, look=look, drawn_by=drawn_by, columns=columns), KNOWN)


def _table(source: Path) -> Path:
    if not source.is_dir() or rows.is_sharded(source):
        return source
    tables = tables_in(source)
    if len(tables) != 1:
        raise ImportingError(f"{source} holds {len(tables)} tables, wanted one; name it instead of the folder")
    return tables[0]


def _renamed(row: rows.Row, columns: Mapping[str, str] | None) -> rows.Row:
    return {columns.get(name, name): value for name, value in row.items()} if columns else row


def _record(
    number: int, named: rows.Row, *, look: Look, drawn_by: str | None, columns: Mapping[str, str] | None = None
) -> Record:
    row = _renamed(named, columns)
    name, prompt = _first(row, NAMES), _first(row, PROMPTS)
    if name is None or prompt is None:
        raise RowProblem(f"the columns {', '.join(row)}", f"one of {', '.join(NAMES)} and one of {', '.join(PROMPTS)}")
    content = picture_in(row[name])
    sha256, png = as_png(content if isinstance(content, bytes) else look(content, name), name)
    words = row[prompt].strip() if isinstance(row[prompt], str) else row[prompt]
    column = _first(row, MODELS)
    model = name_of(row[column], column) if column else None
    trajectory = made_elsewhere(words, sha256, checkpoint=model or drawn_by, reflection=_reflection(row))
    return Record(number, (RecordPart(trajectory, {sha256: png}, *pack(named)),))


def _reflection(row: rows.Row) -> Reflection | None:
    verdict = _verdict(row.get("verdict"))
    if verdict is None:
        return None
    reason, probability_text = row.get("reason"), row.get("p_yes")
    if not isinstance(reason, str | None):
        raise RowProblem(f"{reason!r:.60}", "words", "reason")
    blank = probability_text is None or (isinstance(probability_text, str) and not probability_text.strip())
    p_yes = float(verdict == "yes") if blank else probability(probability_text, "p_yes")
    return said(sentence(verdict, reason or ""), p_yes)


def _verdict(value: Any) -> str | None:
    """Yes or no, also as JSON and spreadsheets say it; None for nothing."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    plain = str(value).strip().lower() if isinstance(value, str | bool) else None
    verdict = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}.get(plain or "")
    if verdict is None:
        raise RowProblem(f"{value!r:.60}", "yes or no", "verdict")
    return verdict


def _picture(row: rows.Row) -> Any:
    return picture_in(row.get(_first(row, NAMES) or ""))


def _first(row: rows.Row, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)
