"""Format `janus_sft`: the fine-tuning labels of Janus-Pro-R1 as released (JSON Lines).

    {"promptid": 15, "prompt": "…", "data": [{"id": 0, "img_path": "…/15_0.png", "reason": "Yes, …", "prob": 0.85,
    "state": 4}, …]}

Every image becomes a trajectory of its own, an image and a reflection (none of these has seen the others): `reason` is
what is said, `prob` its P(yes). Images of one prompt are kept together by `promptid`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.picture_names import Folder
from annotations.importing.records import Look, Read, RowProblem, as_png, made_elsewhere, parts_of, probability, said
from annotations.schema.imported_record import Record, RecordPart

FIELDS = ("id", "img_path", "reason", "prob", "state")
MARKS = (frozenset({"promptid", "prompt", "data"}),)
PROJECT = None
size = rows.size


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """Paths are looked up in `images`, else beside the file. `drawn_by` names the model; else the file's name does."""
    look = Folder(images or source.parent, source.parent, lambda: rows.names(source, _asked), flattened=flattened)
    return rows.read(source, partial(_record, look=look, drawn_by=drawn_by or source.stem))


def _asked(row: rows.Row) -> Iterator[object]:
    data = row.get("data")
    return (datum.get("img_path") for datum in (data if isinstance(data, list) else ()) if isinstance(datum, dict))


def merged(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The record that was taken apart."""
    return records[0] | {"data": [datum for record in records for datum in record["data"]]}


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str) -> Record:
    for name in ("promptid", "prompt", "data"):
        if name not in row:
            raise RowProblem(f"the fields {', '.join(row)}", f"“{name}” among them")
    if not isinstance(row["data"], list) or not row["data"]:
        raise RowProblem(f"data {row['data']!r:.60}", "a list of one image or more", "data")
    parts = parts_of(partial(_part, row, index, look, drawn_by) for index in range(len(row["data"])))
    return Record(number, parts, together=f"promptid {row['promptid']}")


def _part(row: rows.Row, index: int, look: Look, drawn_by: str) -> RecordPart:
    datum, place = row["data"][index], f"data[{index}]"
    missing = [name for name in FIELDS if not isinstance(datum, dict) or name not in datum]
    if missing:
        raise RowProblem(f"{datum!r:.60} without {', '.join(missing)}", f"the fields {', '.join(FIELDS)}", place)
    p_yes = probability(datum["prob"], f"{place}.prob")
    sha256, png = as_png(look(datum["img_path"], f"{place}.img_path"), f"{place}.img_path")
    try:
        reflection = said(datum["reason"], p_yes)
    except RowProblem as problem:
        raise RowProblem(problem.got, problem.wanted, f"{place}.reason") from problem
    trajectory = made_elsewhere(row["prompt"], sha256, checkpoint=drawn_by, reflection=reflection)
    return RecordPart(trajectory, {sha256: png}, *pack(row | {"data": [datum]}))
