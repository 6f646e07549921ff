"""Rows of imported records: stored with their trajectories, deduplicated, read back.

Knows the rows of imports; opens no transaction and sees no file. A record of several images has a row for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.orm import Session

from annotations.db.tables import ImportFileRow, ImportRow
from annotations.importing.record_json import unpack
from annotations.importing.records import Record
from annotations.store import trajectories
from annotations.store.images import PngFile
from annotations.store.visibility import is_published, is_visible

AT_ONCE = 200  # rows read in one go


@dataclass(frozen=True)
class BatchName:
    """What is imported together, and from where."""

    id: str
    source: str  # the name of the file or folder
    format: str


@dataclass(frozen=True)
class Batch:
    """What was imported together, of which something is visible."""

    id: str
    source: str  # the name of the file or folder
    format: str
    imported_by: str
    created_at: datetime
    records: int
    trajectories: int


@dataclass(frozen=True)
class Origin:
    """Where one part of a record comes from, and what it said beside its trajectory."""

    trajectory_id: str
    batch: str
    source: str
    format: str
    row: int
    part: int
    together: str | None  # images of one prompt or pair share it
    record: dict[str, Any]


def known_keys(session: Session, keys: Sequence[str]) -> set[str]:
    """Which records were imported before, by their keys."""
    row = ImportRow
    return set(session.scalars(select(row.key).where(row.key.in_(keys), is_published(row.batch))))


class PreparedRecord(NamedTuple):
    """What is written of one part of a record, worked out before others have to wait; its pictures lie in files."""

    made: trajectories.PreparedRows
    row: dict[str, Any]  # but for what is the same in all of the batch
    files: Mapping[str, bytes]  # of the record, by name
    pictures: Mapping[str, bytes]  # by hash


def prepared(record: Record, *, owner: str, now: datetime) -> list[PreparedRecord]:
    """The parts of a record. Raises TrajectoryError."""
    found = []
    for number, part in enumerate(record.parts):
        dated, body = part.trajectory, part.body
        if not dated.created_at:
            dated, body = replace(dated, created_at=now.isoformat()), None
        row = {"trajectory_id": dated.id, "key": record.key, "part": number, "row": record.row}
        row |= {"together": record.together, "record": part.record}
        made = trajectories.prepared(dated, owner=owner, body=body)
        found.append(PreparedRecord(made, row, part.files, part.pictures))
    return found


def stage(
    session: Session,
    given: Sequence[PreparedRecord],
    files: Mapping[str, PngFile],
    batch: BatchName,
    *,
    owner: str,
    now: datetime,
) -> None:
    """Write records with their trajectories, which nobody sees before the batch is published; `files` describes their
    pictures by hash. Raises ConflictError.
    """
    trajectories.stage(session, [one.made for one in given], files, batch=batch.id)
    same = {"batch": batch.id, "source": batch.source, "format": batch.format, "imported_by": owner, "created_at": now}
    table, rows = ImportRow.__table__, [same | one.row for one in given]
    if not any(one.files for one in given):
        session.execute(insert(table), rows)
        return
    ids = session.scalars(insert(table).returning(table.c.id, sort_by_parameter_order=True), rows).all()
    kept = [
        {"import_id": id, "name": name, "content": content}
        for id, one in zip(ids, given, strict=True)
        for name, content in one.files.items()
    ]
    session.execute(insert(ImportFileRow.__table__), kept)


def discard(session: Session, batch: str) -> bool:
    """Remove a few records of a batch, not their trajectories; whether there were any."""
    ids = list(session.scalars(select(ImportRow.id).where(ImportRow.batch == batch).limit(AT_ONCE)))
    session.execute(delete(ImportFileRow).where(ImportFileRow.import_id.in_(ids)))
    session.execute(delete(ImportRow).where(ImportRow.id.in_(ids)))
    return bool(ids)


def batches(session: Session) -> list[Batch]:
    """Everything that was imported, newest first."""
    row = ImportRow
    same = (row.batch, row.source, row.format, row.imported_by)
    counts = (func.count(row.key.distinct()), func.count(row.trajectory_id.distinct()))
    wanted = select(*same, func.min(row.created_at), *counts).where(*_shown()).group_by(*same)
    found = session.execute(wanted.order_by(func.max(row.id).desc()))
    return [Batch(*columns) for columns in found]


def members(session: Session, batch: str) -> list[str]:
    """The ids of a batch's visible trajectories, in the order of their rows."""
    row = ImportRow
    wanted = select(row.trajectory_id).where(row.batch == batch, *_shown())
    return list(session.scalars(wanted.group_by(row.trajectory_id).order_by(func.min(row.id))))


def origins(session: Session, trajectory_id: str) -> list[Origin]:
    """Every record that a visible trajectory comes from."""
    wanted = select(ImportRow).where(ImportRow.trajectory_id == trajectory_id, *_shown())
    return [_origin(session, row) for row in session.scalars(wanted.order_by(ImportRow.id))]


def parts(session: Session, batch: str) -> Iterator[tuple[str, Origin]]:
    """The visible parts of a batch, each with the key of its record, in the order they were read."""
    row, last = ImportRow, 0
    while True:
        wanted = select(row).where(row.batch == batch, row.id > last, *_shown())
        some = list(session.scalars(wanted.order_by(row.id).limit(AT_ONCE)))
        if not some:
            return
        for one in some:
            yield one.key, _origin(session, one)
        last = some[-1].id
        session.expunge_all()


def _shown() -> tuple[ColumnElement[bool], ...]:
    """Which rows people see."""
    return is_visible(ImportRow.trajectory_id), is_published(ImportRow.batch)


def _origin(session: Session, row: ImportRow) -> Origin:
    files = select(ImportFileRow.name, ImportFileRow.content).where(ImportFileRow.import_id == row.id)
    contents: dict[str, bytes] = dict(session.execute(files).all())
    columns = {name: getattr(row, name) for name in ("trajectory_id", "batch", "source", "format", "row", "part")}
    return Origin(**columns, together=row.together, record=unpack(row.record, contents))
