"""Staged imports: rows stored in short transactions under a batch that is not visible, then published at once.

A run is begun, its records are staged, and it is published: one transaction makes all its trajectories visible, after
which their items are opened a few at a time. What is cancelled, fails or is killed before it is published is removed
again, and what was killed after it is finished: by `recover`, or before the next import. One run at a time. Knows the
store and the rows of runs; reads no file of other people's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType

from filelock import FileLock, Timeout
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.locks import ServerLock, lock_of
from annotations.db.tables import ImportRunRow, StagedRow, TrajectoryRow
from annotations.db.visibility import ImportState
from annotations.errors import AnnotationsError, ImportingError
from annotations.importing.answer_storage import add_answers
from annotations.pictures import trajectory_pictures
from annotations.pictures.images import PngFile
from annotations.store import imported_records, items, trajectories
from annotations.store.imported_records import BatchName, PreparedRecord
from annotations.store.store import Store

SILENT = timedelta(minutes=10)  # after which a run that gives no sign of life is taken as broken off
STOPPING = timedelta(minutes=1)  # … after it was cancelled
TELLING = 0.5  # seconds between two signs of life
OPENED = 200  # items in one transaction
ERASED = 100  # trajectories in one transaction
LONGEST = 0.15  # seconds that a transaction should take: so long others wait for it
FEWEST, MOST = 20, 500  # records in one transaction
REST = 0.1  # of the time that a transaction took, in which the processor is left to others


class Cancelled(ImportingError):
    """Somebody has stopped the import."""


class OccupiedError(ImportingError):
    """Another import is under way."""


@dataclass(frozen=True)
class RunningImport:
    """An import that somebody waits for."""

    batch: str
    source: str
    started_by: str
    state: ImportState
    done: int  # records of the step that it is at
    total: int
    renewed_at: datetime

    def __str__(self) -> str:
        return f"“{self.source}” of {self.started_by}, {self.state}, {self.done:,} of {self.total:,} records"


def under_way(store: Store) -> RunningImport | None:
    """The import that is being made, if there is one."""
    with store.database.reading() as session:
        for run in session.scalars(select(ImportRunRow)):
            if not _is_over(run, store.clock()):
                return _value(run)
    return None


def cancel(store: Store) -> bool:
    """Stop the import that is under way; whether there was one. It ends by itself within moments."""
    pending = ImportRunRow.state.in_([ImportState.CHECKING.value, ImportState.STORING.value])
    with store.database.writing() as session:
        return bool(
            session.execute(update(ImportRunRow).where(pending).values(state=ImportState.CANCELLED.value)).rowcount
        )


def recover(store: Store) -> int:
    """Finish what was published, and remove what was not, of imports that were broken off; how many those were.

    An import holds a lock, which ends with its process: where it is free, no import is alive.
    """
    lock = _lock_of(store)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):  # somebody imports, or the disk knows no locks
        return _recover(store, alone=False)
    try:
        return _recover(store, alone=True)
    finally:
        lock.release()


def _lock_of(store: Store) -> FileLock | ServerLock:
    return lock_of(store.database.directory, store.database.url, "import")


def _recover(store: Store, *, alone: bool) -> int:
    with store.database.reading() as session:
        runs = list(session.scalars(select(ImportRunRow)))
        dead = [(run.batch, run.state, run.source) for run in runs if alone or _is_over(run, store.clock())]
    for batch, state, source in dead:
        if state == ImportState.PUBLISHED:
            _open_items(store, batch)
        else:
            discard(store, batch)
            store.interrupted_imports.append(source)
    return len(dead)


def discard(store: Store, batch: str) -> None:
    """Remove everything of a run that is not published: trajectories, their pictures, records."""
    with store.database.writing() as session:
        mine = ImportRunRow.batch == batch, ImportRunRow.state != ImportState.PUBLISHED.value
        if not session.execute(update(ImportRunRow).where(*mine).values(state=ImportState.CANCELLED.value)).rowcount:
            return
    staged = select(StagedRow.trajectory_id).where(StagedRow.batch == batch).limit(ERASED)
    store.erase(lambda session: list(session.scalars(staged)))
    more = True
    while more:
        with store.database.writing() as session:
            more = imported_records.discard(session, batch)
            if not more:
                session.execute(delete(ImportRunRow).where(ImportRunRow.batch == batch))


class ImportRun:
    """One import as a context: left before `publish` has returned, nothing of it remains.

    Raises ImportingError where another one is under way, and Cancelled from whichever step somebody stops it at.
    """

    def __init__(self, store: Store, name: BatchName, *, owner: str, now: datetime) -> None:
        self.store, self.name, self.owner = store, name, owner
        self._told = 0.0
        self._size = 50
        self._now = now
        self._lock = _lock_of(store)

    def __enter__(self) -> ImportRun:
        with suppress(Timeout, OSError, NotImplementedError):
            self._lock.acquire(timeout=0)
        try:
            return self._begun()
        except BaseException:
            self._lock.release()
            raise

    def _begun(self) -> ImportRun:
        _recover(self.store, alone=self._lock.is_locked)
        with self.store.database.writing() as session:
            other = session.scalar(select(ImportRunRow))
            if other is not None:
                raise OccupiedError(f"another import is under way: {_value(other)}; wait for its end, or stop it")
            now = self.store.clock()
            values = {"batch": self.name.id, "source": self.name.source, "started_by": self.owner}
            values |= {"state": ImportState.CHECKING.value, "done": 0, "total": 0, "begun_at": now, "renewed_at": now}
            session.execute(insert(ImportRunRow).values(**values))
        self.store.interrupted_imports.clear()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            discard(self.store, self.name.id)
        except AnnotationsError:
            if error is None:
                raise  # else what made it fail is told; `recover` removes the rest
        finally:
            self._lock.release()

    def tell(self, done: int, total: int) -> None:
        """A sign of life, now and then, of the step at which rows are read."""
        if time.monotonic() - self._told >= TELLING:
            with self.store.database.writing() as session:
                self._renew(session, ImportState.CHECKING, done, total)

    def stage(self, prepared: Sequence[PreparedRecord], files: dict[str, PngFile], done: int, total: int) -> None:
        """Store a few records that nobody sees; `files` describes their pictures by hash. Raises AnnotationsError."""
        pictures = {sha256: png for record in prepared for sha256, png in record.pictures.items()}
        with self.store.database.writing() as session:
            began = time.monotonic()  # the turn has come: what this one waited for is not held against it
            self._renew(session, ImportState.STORING, done, total)
            imported_records.stage(session, prepared, files, self.name, owner=self.owner, now=self._now)
            took = time.monotonic() - began
        # after their rows, so that no picture is left that no row names
        trajectory_pictures.store_all(self.store.picture_files, files, pictures)
        self._adapt(took)
        time.sleep(REST * took)

    @property
    def size(self) -> int:
        """How many records the next transaction should take."""
        return self._size

    def publish(self) -> list[str]:
        """Make all that was staged visible; the ids of the trajectories that are new."""
        mine = select(TrajectoryRow.number, TrajectoryRow.id)
        mine = mine.join(StagedRow, StagedRow.trajectory_id == TrajectoryRow.id).where(StagedRow.batch == self.name.id)
        with self.store.database.reading() as session:
            new = session.execute(mine.order_by(TrajectoryRow.number)).all()
        with self.store.database.writing() as session:
            self._renew(session, ImportState.PUBLISHED, len(new), len(new))
            trajectories.publish(session, [number for number, _ in new])
        _open_items(self.store, self.name.id)
        return [id for _, id in new]

    def _renew(self, session: Session, state: ImportState, done: int, total: int) -> None:
        run = session.get(ImportRunRow, self.name.id)
        if run is None or run.state == ImportState.CANCELLED:
            raise Cancelled(f"the import of “{self.name.source}” was stopped; nothing of it is kept")
        run.state, run.done, run.total, run.renewed_at = state.value, done, total, self.store.clock()
        self._told = time.monotonic()

    def _adapt(self, took: float) -> None:
        if took > LONGEST:
            self._size = max(FEWEST, self._size // 2)
        elif took < LONGEST / 3:
            self._size = min(MOST, 2 * self._size)


def _open_items(store: Store, batch: str) -> None:
    """People are asked about what is published, a few items at a time, and what its records answer is stored; then the
    run is over.
    """
    while True:
        with store.database.writing() as session:
            staged = select(StagedRow.trajectory_id).where(StagedRow.batch == batch).limit(OPENED)
            if not (ids := list(session.scalars(staged))):
                break
            items.open_staged(session, ids)
            session.execute(delete(StagedRow).where(StagedRow.trajectory_id.in_(ids)))
            session.execute(update(ImportRunRow).values(renewed_at=store.clock()))
    add_answers(store, batch)
    with store.database.writing() as session:
        session.execute(delete(ImportRunRow).where(ImportRunRow.batch == batch))


def _is_over(run: ImportRunRow, now: datetime) -> bool:
    """Whether nobody is at it any more; what is published may be finished by anybody."""
    if run.state == ImportState.PUBLISHED:
        return True
    return now - run.renewed_at > (STOPPING if run.state == ImportState.CANCELLED else SILENT)


def _value(run: ImportRunRow) -> RunningImport:
    known = {name: getattr(run, name) for name in ("batch", "source", "started_by", "done", "total", "renewed_at")}
    return RunningImport(**known, state=ImportState(run.state))
