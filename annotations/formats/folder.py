"""A folder of images with a CSV of their prompts: the columns `file_name` and `prompt`, and whatever else there is.

Also known are `image`, `file`, `path` for the name, `caption`, `text` for the prompt, `model`, `checkpoint` for who
drew it; and `verdict`, `p_yes` and `reason`, as the studio's own table of judgements has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from annotations.errors import ImportingError
from annotations.formats import rows
from annotations.incoming import (
    Look,
    Part,
    Read,
    Record,
    RowProblem,
    as_png,
    looking_in,
    made_elsewhere,
    probability,
    said,
)
from annotations.packing import pack
from model.trajectory import Reflection
from model.wording import sentence

NAMES = ("file_name", "image", "file", "path", "filename")
PROMPTS = ("prompt", "caption", "text")
MODELS = ("model", "checkpoint", "drawn_by")


def size(source: Path) -> int:
    return rows.size(_table(source))


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None) -> Read:
    """`source` is the folder, or the CSV in it."""
    table = _table(source)
    return rows.read(table, partial(_record, look=looking_in(images or table.parent), drawn_by=drawn_by))


def merged(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return records[0]


def _table(source: Path) -> Path:
    if not source.is_dir():
        return source
    tables = sorted(source.glob("*.csv"))
    if len(tables) != 1:
        raise ImportingError(f"{source} holds {len(tables)} CSV files, wanted one; name it instead of the folder")
    return tables[0]


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str | None) -> Record:
    name, prompt = _first(row, NAMES), _first(row, PROMPTS)
    if name is None or prompt is None:
        raise RowProblem(f"the columns {', '.join(row)}", f"one of {', '.join(NAMES)} and one of {', '.join(PROMPTS)}")
    sha256, png = as_png(look(row[name], name), name)
    model = _first(row, MODELS)
    trajectory = made_elsewhere(
        row[prompt], sha256, checkpoint=(model and row[model]) or drawn_by, reflection=_reflection(row)
    )
    return Record(number, (Part(trajectory, {sha256: png}, *pack(row)),))


def _reflection(row: rows.Row) -> Reflection | None:
    verdict = (row.get("verdict") or "").strip().lower()
    if not verdict:
        return None
    if verdict not in ("yes", "no"):
        raise RowProblem(repr(row["verdict"]), "yes or no", "verdict")
    given = (row.get("p_yes") or "").strip()
    p_yes = probability(given, "p_yes") if given else float(verdict == "yes")
    return said(sentence(verdict, row.get("reason") or ""), p_yes)


def _first(row: rows.Row, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)
