"""Format `ours`: the studio's trajectory JSON, as *Draw* and `model.generate` save it.

What an export of the kind `ours` writes is Parquet, with the trajectory as JSON text, its pictures ("images"), what
people answered ("annotations") and the questions of the projects in which they did ("projects").

A file with a trajectory, or several (a list, or JSON Lines); or a folder, of which every `trajectory.json` below is
read. What *Draw* keeps has its pictures in it: {"trajectory": …, "pictures": {sha256: PNG in base64}}. Otherwise they
are looked for by their hash among the PNG files beside the file, and finally in the store. A PNG that a browser has
encoded again has another hash; its pixels are encoded as the studio does, which gives the same hash unless they were
changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from annotations.db.json_text import sorted_json
from annotations.db.record_json import pack
from annotations.errors import AnnotationsError, ImportingError
from annotations.importing.formats import rows
from annotations.importing.formats.imported_answers import ImportedAnswers, imported_project
from annotations.importing.records import Read, RowError, RowProblem
from annotations.schema.annotation import Annotation, Status, validate
from annotations.schema.field_types import misfit
from annotations.schema.imported_record import Record, RecordPart, digest
from annotations.schema.project import Project, check_project
from annotations.store.trajectory_columns import pictures_by_position
from model.images import PictureFileError, encode_png, read_rgb
from model.trajectory import Trajectory

FILE = "trajectory.json"
MARKS = (frozenset({"segments", "prompt", "sampling"}), frozenset({"trajectory"}))
PROJECT = None
merged = rows.only_record
KNOWN = set(Trajectory.__dataclass_fields__)
UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, AnnotationsError)  # raised for answers that are none


def size(source: Path) -> int:
    return sum(rows.size(file) for file in _files(source))


def read(source: Path, *, images: Path | None = None, drawn_by: str | None = None, flattened: bool = False) -> Read:
    """The trajectories name their models themselves; `drawn_by` is for other formats."""
    number = 0
    for file in _files(source):
        beside: dict[str, bytes] | None = None
        for _, row in rows.rows(file):
            number += 1
            if isinstance(row, RowError):
                yield RowError(number, file.name if source.is_dir() else "", row.got, row.wanted)
                continue
            beside = _pictures(images or file.parent) if beside is None else beside
            yield rows.made(number, row, partial(_record, beside=beside))


def answers(record: Mapping[str, Any], ids: Sequence[str]) -> list[ImportedAnswers]:
    """What people said of the trajectory, in projects with the questions that they were asked."""
    try:
        return _all_answers(record, ids[0])
    except UNREADABLE:  # of an import by an earlier version
        return []


def _all_answers(record: Mapping[str, Any], id: str) -> list[ImportedAnswers]:
    """Raises one of UNREADABLE."""
    projects = {id: _project(row) for id, row in record.get("projects", {}).items()}
    return [_answers(id, row, projects[row["project"]]) for row in record.get("annotations", ())]


def _check_answers(columns: Mapping[str, Any], trajectory: Trajectory) -> None:
    """Raises RowProblem for answers that cannot be stored with the trajectory; of pairs the other one is not known."""
    try:
        for said in _all_answers(columns, trajectory.id):
            if said.other_id is None and said.project is not None:
                about = said.trajectory_id, said.segment, said.annotator, said.answers, Status.UNFINISHED, said.seconds
                validate(Annotation(*about, decision=said.decision), trajectory, said.project.questions)
    except UNREADABLE as error:
        expected = "annotations, and projects with their questions, as the studio writes them"
        raise RowProblem(f"a {type(error).__name__} ({str(error)[:200]})", expected, "annotations") from error


def _answers(id: str, row: Mapping[str, Any], project: Project) -> ImportedAnswers:
    known = {name: row[name] for name in ("other_id", "segment", "answers", "annotator")}
    return ImportedAnswers(
        id, **known, seconds=float(row.get("seconds", 0)), decision=row.get("decision"), project=project
    )


def _project(row: Mapping[str, Any]) -> Project:
    """Raises ProjectError for what is none."""
    questions = Project.from_dict(row).questions
    made = imported_project(row["id"], row["name"], row["subject"], *questions)
    check_project(made)
    return made


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    files = sorted(source.rglob(FILE)) or sorted(source.glob("*.json"))
    if not files:
        raise ImportingError(f"{source} holds no {FILE} and no other JSON file; name a folder of trajectories")
    return files


def _record(number: int, row: dict[str, Any], beside: Mapping[str, bytes]) -> Record:
    row = _unpacked(row)
    pictures_field, body = row.get("pictures"), row.get("trajectory")
    body = row if body is None else body
    try:
        trajectory = Trajectory.from_dict({name: value for name, value in body.items() if name in KNOWN})
        shown = set(pictures_by_position(trajectory).values())
        if (wrong := misfit(trajectory, Trajectory)) is not None:
            raise ValueError(wrong)
        again = trajectory.to_dict()
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise RowProblem(
            f"a {type(error).__name__} ({str(error)[:200]})", "a trajectory as the studio writes it"
        ) from error
    changed = [name for name in again if name in body and again[name] != body[name]]
    if changed:
        raise RowProblem(f"{changed[0]} that would change in reading", "what the studio writes", changed[0])
    text, named = sorted_json(again), bool(trajectory.id)
    if not named:
        unnamed = {name: value for name, value in again.items() if name not in ("id", "created_at")}
        trajectory = Trajectory.from_dict(again | {"id": digest(unnamed)[:32]})
    known = dict(beside) | (_decoded(pictures_field) if pictures_field else {}) | _of_images(row.get("images"))
    pictures = {sha256: known[sha256] for sha256 in shown if sha256 in known}
    project_columns = {name: row[name] for name in ("projects", "annotations") if body is not row and row.get(name)}
    _check_answers(project_columns, trajectory)
    part = RecordPart(trajectory, pictures, *_beyond(body, project_columns), body=text if named else None)
    return Record(number, (part,), beside=hashlib.sha256(text.encode()).hexdigest())


def _unpacked(row: dict[str, Any]) -> dict[str, Any]:
    """A row of Parquet, whose nested values are JSON text."""
    texts = {name: row[name] for name in ("trajectory", "projects", "annotations") if isinstance(row.get(name), str)}
    try:
        return row | {name: json.loads(text) for name, text in texts.items()}
    except ValueError as error:
        raise RowProblem(str(error), "JSON text in trajectory, projects and annotations") from error


def _of_images(images: Any) -> dict[str, bytes]:
    """By hash, what stands in the column `images` of Parquet rows."""
    rows = images if isinstance(images, list) else []
    contents = [row["bytes"] for row in rows if isinstance(row, dict) and isinstance(row.get("bytes"), bytes)]
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def _beyond(body: Mapping[str, Any], said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields that a trajectory does not have, and what people said of it."""
    try:
        return pack({name: value for name, value in body.items() if name not in KNOWN} | said)
    except ValueError as error:
        raise RowProblem(str(error), "text that can be stored") from error


def _decoded(pictures: Any) -> dict[str, bytes]:
    try:
        return {sha256: base64.b64decode(png, validate=True) for sha256, png in pictures.items()}
    except (AttributeError, TypeError, ValueError, binascii.Error) as error:
        raise RowProblem(f"{error}", "PNG files in base64, by their hash", "pictures") from error


def _pictures(folder: Path) -> dict[str, bytes]:
    """The PNG files of a folder by hash, also by the hash they would have if the studio had written their pixels."""
    by_hash: dict[str, bytes] = {}
    for file in sorted(folder.glob("*.png")):
        content = file.read_bytes()
        for png in (content, *_as_written_here(content)):
            by_hash.setdefault(hashlib.sha256(png).hexdigest(), png)
    return by_hash


def _as_written_here(content: bytes) -> Iterator[bytes]:
    with suppress(PictureFileError):  # whoever wants it will hear that it cannot be read
        yield encode_png(read_rgb(content))
