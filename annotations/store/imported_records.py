"""Rows of imported records: stored with their trajectories, deduplicated, read back.

Opens no transaction and reads no file. A record of several images has a row for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.orm import Session

from annotations.db.record_json import unpack
from annotations.db.tables import ImportFileRow, ImportRow
from annotations.db.visibility import is_published, is_visible
from annotations.pictures.images import PngFile
from annotations.schema.imported_record import Record
from annotations.store import trajectories
from annotations.store.trajectory_columns import PreparedRows, prepare

ROWS_PER_QUERY = 200


@dataclass(frozen=True)
class BatchName:
    """The identity of one import."""

    id: str
    source: str  # the name of the file or folder
    format: str


@dataclass(frozen=True)
class ImportBatch:
    """One import, of which something is visible."""

    id: str
    source: str  # the name of the file or folder
    format: str
    imported_by: str
    created_at: datetime
    records: int
    trajectories: int


@dataclass(frozen=True)
class RecordOrigin:
    """Where one part of a record comes from, and its fields that a trajectory has no place for."""

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
    """What is written of one part of a record, computed before the writing transaction begins."""

    trajectory: PreparedRows
    row: dict[str, Any]  # without the columns that are the same in the whole batch
    files: Mapping[str, bytes]  # of the record, by name
    pictures: Mapping[str, bytes]  # by hash


def prepared(record: Record, *, owner: str, now: datetime) -> list[PreparedRecord]:
    """The parts of a record. Raises TrajectoryError."""
    parts = []
    for number, part in enumerate(record.parts):
        dated, body = part.trajectory, part.body
        if not dated.created_at:
            dated, body = replace(dated, created_at=now.isoformat()), None
        row = {"trajectory_id": dated.id, "key": record.key, "part": number, "row": record.row}
        row |= {"together": record.together, "record": part.record}
        rows = prepare(dated, owner=owner, body=body)
        parts.append(PreparedRecord(rows, row, part.files, part.pictures))
    return parts


def stage(
    session: Session,
    records: Sequence[PreparedRecord],
    files: Mapping[str, PngFile],
    batch: BatchName,
    *,
    owner: str,
    now: datetime,
) -> None:
    """Write records with their trajectories, invisible until the batch is published; `files` describes their pictures
    by hash. Raises ConflictError.
    """
    trajectories.stage(session, [record.trajectory for record in records], files, batch=batch.id)
    common = {
        "batch": batch.id,
        "source": batch.source,
        "format": batch.format,
        "imported_by": owner,
        "created_at": now,
    }
    table, rows = ImportRow.__table__, [common | record.row for record in records]
    if not any(record.files for record in records):
        session.execute(insert(table), rows)
        return
    ids = session.scalars(insert(table).returning(table.c.id, sort_by_parameter_order=True), rows).all()
    file_rows = [
        {"import_id": id, "name": name, "content": content}
        for id, record in zip(ids, records, strict=True)
        for name, content in record.files.items()
    ]
    session.execute(insert(ImportFileRow.__table__), file_rows)


def discard(session: Session, batch: str) -> bool:
    """Remove some records of a batch, not their trajectories; False where none was left."""
    ids = list(session.scalars(select(ImportRow.id).where(ImportRow.batch == batch).limit(ROWS_PER_QUERY)))
    session.execute(delete(ImportFileRow).where(ImportFileRow.import_id.in_(ids)))
    session.execute(delete(ImportRow).where(ImportRow.id.in_(ids)))
    return bool(ids)


def batches(session: Session) -> list[ImportBatch]:
    """All imports with visible trajectories, newest first."""
    row = ImportRow
    identity = (row.batch, row.source, row.format, row.imported_by)
    counts = (func.count(row.key.distinct()), func.count(row.trajectory_id.distinct()))
    query = select(*identity, func.min(row.created_at), *counts).where(*_visible()).group_by(*identity)
    return [ImportBatch(*columns) for columns in session.execute(query.order_by(func.max(row.id).desc()))]


def members(session: Session, batch: str) -> list[str]:
    """The ids of a batch's visible trajectories, in the order of their rows."""
    row = ImportRow
    query = select(row.trajectory_id).where(row.batch == batch, *_visible())
    return list(session.scalars(query.group_by(row.trajectory_id).order_by(func.min(row.id))))


def origins(session: Session, trajectory_id: str) -> list[RecordOrigin]:
    """Every record that a visible trajectory comes from."""
    query = select(ImportRow).where(ImportRow.trajectory_id == trajectory_id, *_visible())
    return [_origin(session, row) for row in session.scalars(query.order_by(ImportRow.id))]


def parts(session: Session, batch: str, *, after: int) -> list[tuple[int, str, RecordOrigin]]:
    """The next visible parts of a batch with ids above `after`: id, key of the record, and what it was."""
    row = ImportRow
    query = select(row).where(row.batch == batch, row.id > after, *_visible())
    rows = session.scalars(query.order_by(row.id).limit(ROWS_PER_QUERY)).all()
    return [(part.id, part.key, _origin(session, part)) for part in rows]


def _visible() -> tuple[ColumnElement[bool], ...]:
    return is_visible(ImportRow.trajectory_id), is_published(ImportRow.batch)


def _origin(session: Session, row: ImportRow) -> RecordOrigin:
    files = select(ImportFileRow.name, ImportFileRow.content).where(ImportFileRow.import_id == row.id)
    contents: dict[str, bytes] = dict(session.execute(files).all())
    columns = {name: getattr(row, name) for name in ("trajectory_id", "batch", "source", "format", "row", "part")}
    return RecordOrigin(**columns, together=row.together, record=unpack(row.record, contents))
