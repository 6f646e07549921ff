"""Validates the records of an import against a store, and writes the new ones to a file for staging.

Reads the store and never writes to it; knows nothing of runs.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import IO

from annotations.errors import AnnotationsError, ImportingError
from annotations.importing.formats import FORMATS
from annotations.importing.records import Read, RowError
from annotations.importing.source_tables import TableSource
from annotations.pictures import trajectory_pictures
from annotations.pictures.images import PngFile
from annotations.schema.imported_record import Record
from annotations.scratch_folders import raise_disk_full
from annotations.store import imported_records, trajectories
from annotations.store.imported_records import PreparedRecord
from annotations.store.store import Store
from annotations.store.trajectory_columns import check_importable, check_storable, pictures_by_position
from model.trajectory import Trajectory

AT_ONCE = 100  # records checked in one go
AT_ONCE_BYTES = 32 * 2**20  # … or so many of pictures

Checked = dict[str, PngFile]  # pictures of a trajectory, by hash
OnProgress = Callable[[int, int], None]  # rows done, of how many
Prepared = tuple[list[PreparedRecord], Checked]  # the parts of a record, and what is known of their pictures


@dataclass(frozen=True)
class CheckJob:
    """What is to be checked, and what is written of it."""

    sources: tuple[TableSource, ...]
    format: str
    drawn_by: str | None  # name of the model that drew, where the records do not say
    owner: str
    now: datetime
    file: Path | None  # that the valid records are written to; None: nowhere

    @property
    def reader(self) -> ModuleType:
        """The module that reads the format. Raises ImportingError for an unknown one."""
        return reader_of(self.format)

    @property
    def rows(self) -> int:
        """How many there are. Raises ImportingError for a file that cannot be read."""
        return sum(self.reader.size(source.path) for source in self.sources)

    @property
    def bytes(self) -> int:
        """Of all files that may be read."""
        return sum(map(_bytes_of, {place for s in self.sources for place in (s.path, s.images) if place is not None}))


def _bytes_of(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(file.stat().st_size for file in files if file.is_file())


@dataclass(frozen=True)
class CheckOutcome:
    """The result of a check."""

    new: int  # records that can be stored
    already: int  # records that were imported before
    errors: tuple[RowError, ...]


def reader_of(format: str) -> ModuleType:
    """The module that reads a format. Raises ImportingError."""
    if format not in FORMATS:
        raise ImportingError(f"“{format}” is no format; the formats are: {', '.join(FORMATS)}")
    return FORMATS[format]


def check(store: Store, job: CheckJob, on_progress: OnProgress) -> CheckOutcome:
    """Read and check every row of the job.

    Raises ImportingError for a file that cannot be read at all, DiskFullError where `job.file` cannot be written for
    want of room.
    """
    total = job.rows
    if job.file is None:
        return _check(store, job, None, total, on_progress)
    with raise_disk_full(job.file.parent), job.file.open("wb") as file:
        return _check(store, job, file, total, on_progress)


def prepared_records(file: Path) -> Iterator[Prepared]:
    """What `check` has written."""
    with file.open("rb") as opened, suppress(EOFError):
        while True:
            yield from pickle.load(opened)  # what this program has written itself


def _check(store: Store, job: CheckJob, file: IO[bytes] | None, total: int, on_progress: OnProgress) -> CheckOutcome:
    checker = _Checker(store, job, file)
    for done, record in enumerate(_records(job), start=1):
        checker.add(record)
        on_progress(done, total)
    checker.flush()
    return CheckOutcome(checker.new, checker.already, tuple(sorted(checker.errors, key=lambda error: error.row)))


def read(job: CheckJob, source: TableSource) -> Read:
    """The records of one of a job's files."""
    options = {"columns": source.columns} if source.columns else {}
    return job.reader.read(
        source.path, images=source.images, drawn_by=job.drawn_by, flattened=source.flattened, **options
    )


def _records(job: CheckJob) -> Read:
    """All rows; errors name their file where there are several."""
    for source in job.sources:
        for record in read(job, source):
            if isinstance(record, RowError) and len(job.sources) > 1:
                record = replace(record, place=f"{source.name}{record.place and f', {record.place}'}")
            yield record


def check_trajectories(
    store: Store, drawings: Sequence[tuple[Trajectory, Mapping[str, bytes]]]
) -> list[Checked | AnnotationsError]:
    """For each trajectory with its pictures: the descriptions of the pictures by hash, or the error that saving it
    would raise.
    """
    now = store.clock().isoformat()
    dated = [trajectory if trajectory.created_at else replace(trajectory, created_at=now) for trajectory, _ in drawings]
    results = [_checked(store, each, pictures) for each, (_, pictures) in zip(dated, drawings, strict=True)]
    checked = list(zip(dated, results, strict=True))
    valid = [trajectory for trajectory, result in checked if not isinstance(result, AnnotationsError)]
    with store.database.reading() as session:
        taken = trajectories.taken_ids(session, valid).others
    return [trajectories.conflict(each.id) if each.id in taken else result for each, result in checked]


def _checked(store: Store, trajectory: Trajectory, pictures: Mapping[str, bytes]) -> Checked | AnnotationsError:
    try:
        check_storable(trajectory)
        check_importable(trajectory)
        hashes = set(pictures_by_position(trajectory).values())
        return {sha256: trajectory_pictures.describe(store.picture_files, sha256, pictures) for sha256 in hashes}
    except AnnotationsError as error:
        return error


class _Checker:
    """Checks records against the store a few at a time."""

    def __init__(self, store: Store, job: CheckJob, file: IO[bytes] | None) -> None:
        self._store, self._job, self._file = store, job, file
        self._seen = Counter[str]()  # records by their digest
        self._contents: dict[str, int] = {}  # hash of each trajectory of the file by its id
        self._pending: list[Record] = []
        self._bytes = 0
        self.errors: list[RowError] = []
        self.new = self.already = 0

    def add(self, record: Record | RowError) -> None:
        if isinstance(record, RowError):
            self.errors.append(record)
            return
        digest = record.digest(self._job.format)
        self._seen[digest] += 1
        # the same record twice in a file is two records
        self._pending.append(replace(record, key=f"{digest[:56]}{self._seen[digest]:08x}"))
        self._bytes += sum(len(png) for part in record.parts for png in part.pictures.values())
        if len(self._pending) >= AT_ONCE or self._bytes > AT_ONCE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Check the pending records, and write the valid ones together, so that what they share is written once."""
        with self._store.database.reading() as session:
            known = imported_records.known_keys(session, [record.key for record in self._pending])
        fresh = [record for record in self._pending if record.key not in known]
        self.already += len(self._pending) - len(fresh)
        drawings = [(part.trajectory, part.pictures) for record in fresh for part in record.parts]
        results = iter(check_trajectories(self._store, drawings))
        checked = [(record, self._pictures(record, [next(results) for _ in record.parts])) for record in fresh]
        valid = [(self._prepared(record), pictures) for record, pictures in checked if pictures is not None]
        self.new += len(valid)
        if self._file is not None:
            pickle.dump(valid, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        self._pending, self._bytes = [], 0

    def _prepared(self, record: Record) -> list[PreparedRecord]:
        return imported_records.prepared(record, owner=self._job.owner, now=self._job.now)

    def _pictures(self, record: Record, results: list[Checked | AnnotationsError]) -> Checked | None:
        """What is known of a valid record's pictures, by hash; None for another, whose error is collected."""
        problem = next((str(result) for result in results if isinstance(result, AnnotationsError)), None)
        problem = problem or self._conflict(record)
        if problem is not None:
            self.errors.append(
                RowError(record.row, "", problem.removeprefix("got "), "a trajectory that can be stored")
            )
            return None
        return {sha256: png for result in results for sha256, png in result.items()}

    def _conflict(self, record: Record) -> str | None:
        for part in record.parts:
            content = hash(part.trajectory)
            if self._contents.setdefault(part.trajectory.id, content) != content:
                return f"the id {part.trajectory.id}, which a row before has with other content"
        return None
