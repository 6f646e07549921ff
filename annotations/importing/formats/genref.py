"""Format `genref`: GenRef of ReflectionFlow, a bad image, what is wrong with it, and a good image (WebDataset tars).

Members of a sample: `good_image.jpg, bad_image.jpg, reflection.txt, prompt.txt, subset.txt`. It becomes a trajectory of
the bad image, the reflection on it, and the good image; how that was judged the format does not say.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.records import Read, RowProblem, as_png, judgement, text_in, trajectory_of
from annotations.schema.imported_record import Record, RecordPart
from annotations.schema.published_formats import GENREF_BAD, GENREF_GOOD
from model.trajectory import Image

MARKS = (frozenset({GENREF_BAD, GENREF_GOOD, "prompt.txt"}),)
PROJECT = None
size, merged = rows.size, rows.only_record


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """The images are in the tar; `drawn_by` names the model that drew."""
    return rows.read(source, partial(_record, drawn_by=drawn_by))


def _record(number: int, row: rows.Row, *, drawn_by: str | None) -> Record:
    pictures: dict[str, bytes] = {}
    hashes = []
    for name in (GENREF_BAD, GENREF_GOOD):
        if not isinstance(row.get(name), bytes):
            raise RowProblem("no such member", "a picture", name)
        sha256, png = as_png(row[name], name)
        pictures[sha256] = png
        hashes.append(sha256)
    reflection = judgement(False, text_in(row, "reflection.txt"))
    prompt = text_in(row, "prompt.txt").strip()
    made = trajectory_of(prompt, (Image((), hashes[0]), reflection, Image((), hashes[1])), checkpoint=drawn_by)
    return Record(number, (RecordPart(made, pictures, *pack(row)),))
