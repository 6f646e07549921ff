"""Format `richhf`: RichHF-18K, scores, heat maps and misaligned words of Pick-a-Pic images.

Columns: `filename, aesthetics_score, artifact_score, misalignment_score, overall_score, artifact_map, misalignment_map,
prompt_misalignment_label` (0: the word is not drawn). The published rows have neither picture nor prompt; copies of the
set add `image` (bytes, or bytes and path) and `prompt` or `caption`. Without them the picture is looked for by
`filename` in a folder of images, and the prompt in a text file beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from annotations.importing.formats import rows
from annotations.importing.picture_names import Folder
from annotations.importing.record_json import pack
from annotations.importing.records import Look, Part, Read, Record, RowProblem, as_png, made_elsewhere

SCORES = ("aesthetics_score", "artifact_score", "misalignment_score", "overall_score")
PROMPTS = ("prompt", "caption")
KNOWN = (*SCORES, *PROMPTS, "filename", "image", "artifact_map", "misalignment_map", "prompt_misalignment_label")
ENDINGS = ("", ".png", ".jpg", ".jpeg", ".webp")
size = rows.size


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """Pictures may lie without the folders that `filename` names, where that leaves no doubt."""
    beside = source if source.is_dir() else source.parent
    look = Folder(images or beside, beside, lambda: rows.names(source, _asked, KNOWN), flattened=True)
    return rows.read(source, partial(_record, look=look, drawn_by=drawn_by), KNOWN)


def _asked(row: rows.Row) -> Iterator[str]:
    if isinstance(row.get("filename"), str):
        yield from _candidates(row["filename"], (*ENDINGS, ".txt"))


def merged(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return records[0]


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str | None) -> Record:
    missing = [name for name in ("filename", *SCORES) if row.get(name) in (None, "")]
    if missing:
        raise RowProblem(f"nothing in {', '.join(missing)}", f"values in filename, {', '.join(SCORES)}")
    for name in SCORES:
        _number(row[name], name)
    sha256, png = as_png(_picture(row, look), "image" if row.get("image") else "filename")
    trajectory = made_elsewhere(_prompt(row, look), sha256, checkpoint=drawn_by)
    return Record(number, (Part(trajectory, {sha256: png}, *pack(row)),))


def _number(value: Any, place: str) -> None:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RowProblem(f"{value!r:.60}", "a number", place) from error


def _picture(row: rows.Row, look: Look) -> bytes:
    image = row.get("image")
    content = image.get("bytes") if isinstance(image, dict) else image
    return content if isinstance(content, bytes) else _beside(row, look, ENDINGS)


def _prompt(row: rows.Row, look: Look) -> str:
    prompt = next((row[name] for name in PROMPTS if row.get(name)), None)
    if prompt is not None:
        return prompt
    try:
        return _beside(row, look, (".txt",)).decode("utf-8").strip()
    except (RowProblem, UnicodeDecodeError) as error:
        expected = "a prompt in a column “prompt” or “caption”, or in a text file beside the picture"
        raise RowProblem("no prompt", expected, "filename") from error


def _candidates(name: str, endings: Sequence[str]) -> Iterator[str]:
    path = PurePosixPath(name)
    return (f"{path.with_suffix('')}{ending}" if ending and path.name else str(path) for ending in endings)


def _beside(row: rows.Row, look: Look, endings: Sequence[str]) -> bytes:
    """The file that `filename` means."""
    problems: list[RowProblem] = []
    for name in _candidates(str(row["filename"]), endings):
        try:
            return look(name, "filename")
        except RowProblem as error:
            problems.append(error)
    raise problems[0]
