"""Format `richhf`: RichHF-18K, scores, heat maps and misaligned words of Pick-a-Pic images.

Columns: `filename, aesthetics_score, artifact_score, misalignment_score, overall_score, artifact_map, misalignment_map,
prompt_misalignment_label` (0: the word is not drawn). Scores, from 0 to 1 and the higher the better, and words become
answers: a score the nearest rating. The published rows have neither picture nor prompt; copies of the
set add `image` (bytes, or bytes and path) and `prompt` or `caption`. Without them the picture is looked for by
`filename` in a folder of images, and the prompt in a text file beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

from annotations.db.record_json import pack
from annotations.importing.formats import rows
from annotations.importing.formats.imported_answers import RICH, ImportedAnswers
from annotations.importing.picture_names import Folder
from annotations.importing.records import Look, Read, RowProblem, as_png, made_elsewhere, picture_in, probability
from annotations.schema.imported_record import Record, RecordPart
from annotations.schema.project import Project
from annotations.schema.published_formats import RICHHF_SCORES, richhf_tokens

PROMPTS = ("prompt", "caption")
KNOWN = (*RICHHF_SCORES, *PROMPTS, "filename", "image", "artifact_map", "misalignment_map", "prompt_misalignment_label")
MARKS = (frozenset({"filename", "overall_score", "misalignment_score"}),)
PROJECT = RICH
ENDINGS = ("", ".png", ".jpg", ".jpeg", ".webp")
size, merged = rows.size, rows.only_record


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """Pictures may lie without the folders that `filename` names, where that leaves no doubt."""
    beside = source if source.is_dir() else source.parent
    look = Folder(images or beside, beside, lambda: rows.names(source, _asked, KNOWN), flattened=True)
    return rows.read(source, partial(_record, look=look, drawn_by=drawn_by), KNOWN)


def _asked(row: rows.Row) -> Iterator[str]:
    if isinstance(row.get("filename"), str):
        yield from _candidates(row["filename"], (*ENDINGS, ".txt"))


def answers(record: Mapping[str, Any], ids: Sequence[str]) -> ImportedAnswers | None:
    """Scores as the nearest ratings, and the words that a token of is not drawn; None without a score."""
    try:
        ratings = {name: 1 + round(4 * score) for name, score in _scores(record).items()}
    except RowProblem:  # of an import by an earlier version
        return None
    if not ratings:
        return None
    words = misaligned_words(record.get("prompt") or record.get("caption"), record.get("prompt_misalignment_label"))
    values = ratings | ({"words_not_drawn": words} if words else {})
    return ImportedAnswers(ids[0], None, 0, values, "richhf-18k", project=_project_of(ratings))


def _project_of(ratings: Mapping[str, int]) -> Project | None:
    """None: the format's own, which requires an overall score. Without one, a project that requires the first score
    there is."""
    required = next(name for name in ("overall_score", *RICHHF_SCORES) if name in ratings)
    if required == "overall_score":
        return None
    questions = tuple(replace(question, required=question.name == required) for question in RICH.questions)
    aspect = required.removesuffix("_score")
    return replace(RICH, id=f"{RICH.id}-{aspect}", name=f"{RICH.name}: {aspect}", questions=questions)


def misaligned_words(prompt: Any, labels: Any) -> list[int]:
    """Indices of words with a token whose label is 0; none where the labels are not of this prompt."""
    if not isinstance(prompt, str) or not isinstance(labels, str):
        return []
    tokens, values = richhf_tokens(prompt), labels.split()
    if len(tokens) != len(values):
        return []
    return sorted({index for (_, index), value in zip(tokens, values, strict=True) if value == "0"})


def _record(number: int, row: rows.Row, *, look: Look, drawn_by: str | None) -> Record:
    if row.get("filename") in (None, "") or not _scores(row):
        raise RowProblem("nothing in filename, or in all scores", f"values in filename, {', '.join(RICHHF_SCORES)}")
    sha256, png = as_png(_picture(row, look), "image" if row.get("image") else "filename")
    trajectory = made_elsewhere(_prompt(row, look), sha256, checkpoint=drawn_by)
    return Record(number, (RecordPart(trajectory, {sha256: png}, *pack(row)),))


def _scores(row: Mapping[str, Any]) -> dict[str, float]:
    """The scores that are present and finite. Raises RowProblem for any other that is no number from 0 to 1."""
    values = {name: row[name] for name in RICHHF_SCORES if row.get(name) not in (None, "")}
    there = {name: value for name, value in values.items() if not isinstance(value, float) or isfinite(value)}
    return {name: probability(value, name) for name, value in there.items()}


def _picture(row: rows.Row, look: Look) -> bytes:
    content = picture_in(row.get("image"))
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
