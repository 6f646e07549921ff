"""What a format's reader yields: records with trajectories and images, or row errors.

Values, and how a picture of theirs becomes a PNG of ours. Knows no format and no database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotations.pictures.images import DescribedPng, PngFile
from annotations.schema.imported_record import Record, RecordPart, digest
from model.images import PictureFileError, normalized_png, size_of
from model.reflection_text import is_blank
from model.templates import EDIT_TEXT
from model.trajectory import Image, Reflection, Sampling, Segment, StopReason, Token, Trajectory

UNKNOWN = "unknown"  # the model that drew, where nobody says
MOST_TOLD = 10  # problems of one row that are named


class RowProblem(Exception):
    """Why a row cannot be imported; `place` names the part of the row."""

    def __init__(self, got: str, wanted: str, place: str = "") -> None:
        super().__init__(f"got {got}, wanted {wanted}")
        self.got, self.wanted, self.place = got, wanted, place


@dataclass(frozen=True)
class RowError:
    """One line of the report."""

    row: int  # from 1, as an editor counts lines, or a table its rows
    place: str  # in the row, empty for all of it
    got: str
    wanted: str

    def __str__(self) -> str:
        return f"row {self.row}{self.place and f', {self.place}'}: got {self.got}; wanted {self.wanted}"


Read = Iterator[Record | RowError]


def parts_of(made: Iterable[Callable[[], RecordPart]]) -> tuple[RecordPart, ...]:
    """All parts of a record. Raises one RowProblem for whatever is wrong with any of them."""
    parts, problems = [], []
    for make in made:
        try:
            parts.append(make())
        except RowProblem as problem:
            problems.append(problem)
    if problems:
        raise _together(problems)
    return tuple(parts)


def _together(problems: Sequence[RowProblem]) -> RowProblem:
    """Several as one, which names the first `MOST_TOLD`."""
    if len(problems) == 1:
        return problems[0]
    messages = [f"{problem.place} {problem.got}".strip() for problem in problems[:MOST_TOLD]]
    more = [f"and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
    expected = dict.fromkeys(problem.wanted for problem in problems)
    return RowProblem(", ".join([*messages, *more]), ", ".join(expected))


def made_elsewhere(
    prompt: str, picture: str, *, checkpoint: str | None, reflection: Reflection | None = None
) -> Trajectory:
    """A picture by its hash, drawn by another model, and what was said of it. Raises RowProblem without a prompt."""
    segments = (Image((), picture), *([reflection] if reflection else ()))
    return trajectory_of(prompt, segments, checkpoint=checkpoint)


def trajectory_of(
    prompt: Any, segments: Sequence[Segment], *, checkpoint: str | None, created_at: str = ""
) -> Trajectory:
    """Segments made by another model; the id follows from the content. Raises RowProblem without a prompt."""
    if not isinstance(prompt, str) or is_blank(prompt):
        raise RowProblem(f"the prompt {prompt!r:.60}", "what the picture should show")
    made = Trajectory(
        prompt,
        seed=0,
        rounds=max(1, sum(isinstance(segment, Image) for segment in segments)),
        sampling=Sampling(),
        checkpoint=checkpoint or UNKNOWN,
        segments=tuple(segments),
        stop_reason=StopReason.IMPORTED,
        created_at=created_at,
    )
    body = made.to_dict()
    del body["id"], body["created_at"]
    return Trajectory.from_dict(body | {"id": digest(body)[:32], "created_at": created_at})


def said(text: str, p_yes: float) -> Reflection:
    """“No, the car is red.” as a reflection. Its words are no tokens of a vocabulary here: their ids are -1. Raises
    RowProblem for a text without a verdict.
    """
    verdict = re.match(r"\s*(yes|no)\b", text, re.IGNORECASE) if isinstance(text, str) else None
    if verdict is None:
        raise RowProblem(f"the reason {text!r:.60}", "a text that begins with “Yes” or “No”")
    tokens = (Token(-1, text[: verdict.end()]), Token(-1, text[verdict.end() :]))
    return Reflection(verdict[1].lower(), p_yes, tuple(token for token in tokens if token.text))


def judgement(accepted: bool, reason: str, edit: str = "") -> Reflection:
    """What was said of an image in a format that keeps verdict, reason and edit apart, character by character."""
    verdict = "Yes" if accepted else "No"
    parts = (f", {reason}" if reason else "", f" {EDIT_TEXT} {edit}" if edit else "")
    return Reflection(verdict.lower(), float(accepted), (Token(-1, verdict), *(Token(-1, t) for t in parts if t)))


def text_in(row: Mapping[str, Any], name: str, place: str = "") -> str:
    """A text of a row that is not blank. Raises RowProblem."""
    value = row.get(name)
    if not isinstance(value, str) or is_blank(value):
        raise RowProblem(f"{value!r:.60}", "text", place or name)
    return value


def list_in(row: Mapping[str, Any], name: str, length: int | None = None) -> list[Any]:
    """A list of a row, of some length. Raises RowProblem."""
    value = row.get(name)
    if not isinstance(value, list) or not value or length not in (None, len(value)):
        expected = "a list of one entry or more" if length is None else f"a list of {length} entries"
        raise RowProblem(f"{value!r:.60}", expected, name)
    return value


def probability(value: Any, place: str) -> float:
    """A number from 0 to 1, also with a decimal comma. Raises RowProblem."""
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise RowProblem(f"{value!r:.60}", "a number from 0 to 1", place)
    return number


def picture_in(value: Any) -> Any:
    """The bytes of a picture as a table holds it: by themselves, or as `datasets` does, beside a path; else what is
    there in their place, a path perhaps.
    """
    return (value.get("bytes") or value.get("path")) if isinstance(value, dict) else value


def name_of(value: Any, place: str) -> str | None:
    """The name of a model; None for nothing. Raises RowProblem."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise RowProblem(f"{value!r:.60}", "the name of the model that drew", place)
    return None if value is None else str(value).strip() or None


def as_png(content: bytes, place: str) -> tuple[str, DescribedPng]:
    """The hash and the PNG of a picture, as it will be shown, judged and trained on: a plain PNG stays byte for byte,
    any other picture is set upright, put on white and encoded anew. Raises RowProblem.
    """
    try:
        png = DescribedPng(normalized_png(content))
        png.file = PngFile(hashlib.sha256(png).hexdigest(), *size_of(png), len(png))
    except PictureFileError as error:
        raise RowProblem(error.got, error.wanted, place) from error
    return png.file.sha256, png


Look = Callable[[str, str], bytes]  # a name in a record, its place → the bytes of the file
