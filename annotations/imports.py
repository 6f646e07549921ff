"""Imported records in a transaction: written with their trajectories, none twice, read back as they were.

Knows the rows of imports; opens no transaction and sees no file. A record of several images has a row for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, insert, select
from sqlalchemy.orm import Session

from annotations import trajectories
from annotations.images import PngFile
from annotations.incoming import Record
from annotations.packing import unpack
from annotations.tables import ImportFileRow, ImportRow
from annotations.trajectories import is_visible

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


def is_known(session: Session, key: str) -> bool:
    return bool(session.scalar(select(exists().where(ImportRow.key == key))))


def add(
    session: Session,
    record: Record,
    files: Mapping[str, PngFile],
    batch: BatchName,
    *,
    owner: str,
    now: datetime,
) -> None:
    """Write a record with its trajectories; `files` describes their pictures by hash."""
    for number, part in enumerate(record.parts):
        trajectory = replace(part.trajectory, created_at=part.trajectory.created_at or now.isoformat())
        shown = set(trajectories.pictures_of(trajectory).values())
        trajectories.add(session, trajectory, [files[sha256] for sha256 in shown], owner=owner, recorded=False)
        values = {
            "trajectory_id": trajectory.id,
            "key": record.key,
            "part": number,
            "row": record.row,
            "together": record.together,
            "record": part.record,
            "imported_by": owner,
            "created_at": now,
        }
        values |= {"batch": batch.id, "source": batch.source, "format": batch.format}
        brought = session.scalars(insert(ImportRow).returning(ImportRow.id), [values]).one()
        if part.files:
            files_of = [{"import_id": brought, "name": name, "content": one} for name, one in part.files.items()]
            session.execute(insert(ImportFileRow), files_of)


def batches(session: Session) -> list[Batch]:
    """Everything that was imported, newest first."""
    row = ImportRow
    same = (row.batch, row.source, row.format, row.imported_by)
    counts = (func.count(row.key.distinct()), func.count(row.trajectory_id.distinct()))
    wanted = select(*same, func.min(row.created_at), *counts).where(is_visible(row.trajectory_id)).group_by(*same)
    found = session.execute(wanted.order_by(func.max(row.id).desc()))
    return [Batch(*columns) for columns in found]


def members(session: Session, batch: str) -> list[str]:
    """The ids of a batch's visible trajectories, in the order of their rows."""
    row = ImportRow
    wanted = select(row.trajectory_id).where(row.batch == batch, is_visible(row.trajectory_id))
    return list(session.scalars(wanted.group_by(row.trajectory_id).order_by(func.min(row.id))))


def origins(session: Session, trajectory_id: str) -> list[Origin]:
    """Every record that a visible trajectory comes from."""
    wanted = select(ImportRow).where(ImportRow.trajectory_id == trajectory_id, is_visible(ImportRow.trajectory_id))
    return [_origin(session, row) for row in session.scalars(wanted.order_by(ImportRow.id))]


def parts(session: Session, batch: str) -> Iterator[tuple[str, Origin]]:
    """The visible parts of a batch, each with the key of its record, in the order they were read."""
    row, last = ImportRow, 0
    while True:
        wanted = select(row).where(row.batch == batch, row.id > last, is_visible(row.trajectory_id))
        some = list(session.scalars(wanted.order_by(row.id).limit(AT_ONCE)))
        if not some:
            return
        for one in some:
            yield one.key, _origin(session, one)
        last = some[-1].id
        session.expunge_all()


def _origin(session: Session, row: ImportRow) -> Origin:
    files = select(ImportFileRow.name, ImportFileRow.content).where(ImportFileRow.import_id == row.id)
    contents: dict[str, bytes] = dict(session.execute(files).all())
    columns = {name: getattr(row, name) for name in ("trajectory_id", "batch", "source", "format", "row", "part")}
    return Origin(**columns, together=row.together, record=unpack(row.record, contents))
