"""Imported records in a transaction: written with their trajectories, none twice, read back as they were.

Knows the rows of imports; opens no transaction and sees no file. A record of several images has a row for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.orm import Session

from annotations import trajectories
from annotations.images import PngFile
from annotations.incoming import Record
from annotations.packing import unpack
from annotations.tables import ImportFileRow, ImportRow
from annotations.visibility import is_published, is_visible
from model.trajectory import Trajectory

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


@dataclass(frozen=True)
class Prepared:
    """What is written of a few records, worked out before others have to wait; in the order of the rows."""

    made: list[trajectories.Prepared]
    rows: list[dict[str, Any]]
    contents: list[Mapping[str, bytes]]  # files of each row, by name


def prepared(records: Sequence[Record], batch: BatchName, *, owner: str, now: datetime) -> Prepared:
    """Raises TrajectoryError."""
    parts = [(record, number, part) for record in records for number, part in enumerate(record.parts)]
    made = [trajectories.prepared(_dated(part.trajectory, now), owner=owner) for *_, part in parts]
    same = {"batch": batch.id, "source": batch.source, "format": batch.format, "imported_by": owner, "created_at": now}
    rows = [
        same
        | {"trajectory_id": part.trajectory.id, "key": record.key, "part": number, "row": record.row}
        | {"together": record.together, "record": part.record}
        for record, number, part in parts
    ]
    return Prepared(made, rows, [part.files for *_, part in parts])


def _dated(trajectory: Trajectory, now: datetime) -> Trajectory:
    return trajectory if trajectory.created_at else replace(trajectory, created_at=now.isoformat())


def stage(session: Session, given: Prepared, files: Mapping[str, PngFile], batch: BatchName) -> None:
    """Write records with their trajectories, which nobody sees before the batch is published; `files` describes their
    pictures by hash. Raises ConflictError.
    """
    trajectories.stage(session, given.made, files, batch=batch.id)
    table = ImportRow.__table__
    if not any(given.contents):
        session.execute(insert(table), given.rows)
        return
    ids = session.scalars(insert(table).returning(table.c.id, sort_by_parameter_order=True), given.rows).all()
    kept = [
        {"import_id": id, "name": name, "content": content}
        for id, contents in zip(ids, given.contents, strict=True)
        for name, content in contents.items()
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
