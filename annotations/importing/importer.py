"""Imports files of any known format into the store: all rows or none.

    python -m annotations.importing SRC --format FORMAT [--dry-run]

Formats are ours, janus_sft, folder, pickapic and richhf; the modules of `formats` say what each looks like.
Every row is read and checked before the first is stored; each that cannot be is reported, with what was found in it and
what was wanted. Records that were imported before are left out. What a trajectory has no place for is kept beside it.
Knows the store; SQLite older than 3.51.3 lets only one process write, so stop the studio there, or import in its page.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from uuid import uuid4

from annotations.db.engine import default_directory, default_url
from annotations.errors import AnnotationsError, ImportingError
from annotations.importing.formats import folder, janus_sft, ours, pickapic, richhf
from annotations.importing.records import Read, Record, RowError
from annotations.importing.sources import FOLDER, Source, laid_out, tables_in
from annotations.importing.staging import Run
from annotations.store.imported_records import BatchName, PreparedRecord
from annotations.store.store import Checked, Store, open_store

FORMATS: dict[str, ModuleType] = {
    "ours": ours,
    "janus_sft": janus_sft,
    "folder": folder,
    "pickapic": pickapic,
    "richhf": richhf,
}
SPOOL = 64 * 2**20  # bytes of checked records kept in memory; more go to a temporary file
AT_ONCE = 100  # records checked in one go
AT_ONCE_BYTES = 32 * 2**20  # … or so many of pictures
SHOWN = 20  # errors that the command prints

Progress = Callable[[str, int, int], None]  # what is being done, how far, of how many
Keep = Callable[[Sequence[tuple[Record, Checked]]], None]  # what becomes of records that are new and good


@dataclass(frozen=True)
class Report:
    """What came of an import. With errors nothing is stored, unless bad rows were to be left out."""

    batch: str  # names what was imported together
    records: int  # stored now
    trajectories: int  # that they made; the same image with the same prompt makes one
    already: int  # records that had been imported before
    errors: tuple[RowError, ...]
    good: int = 0  # new records that can be stored, whether they were or not

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"errors": [vars(error) for error in self.errors]}


def bring_in(
    store: Store,
    source: Path | Sequence[Source],
    format: str,
    *,
    owner: str,
    images: Path | None = None,
    drawn_by: str | None = None,
    leave_out_bad: bool = False,
    on_progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Import a file, folder or zip, or what files that came together hold (`sources`), while others work.

    `images` is where records' pictures lie, `drawn_by` the model that drew them. Raises ImportingError for an unknown
    format, for a file that cannot be read at all, while another import is under way, and where somebody stops it.
    """
    with _sources(source, format, images) as sources, _spool() as spool:
        batch = BatchName(uuid4().hex, _called(source, sources), format)
        with Run(store, batch, owner=owner) as run:
            told = [run.tell, partial(on_progress, "checking")]
            checked = _read_through(store, sources, format, drawn_by, partial(_write, spool, run), told)
            report = Report(batch.id, 0, 0, checked.already, checked.errors, checked.new)
            if not checked.new or (checked.errors and not leave_out_bad):
                return report
            _stage(run, spool, checked.new, on_progress)
            run.publish()
    return replace(report, records=checked.new, trajectories=len(store.imported(batch.id)))


def _stage(run: Run, spool: IO[bytes], total: int, on_progress: Progress) -> None:
    """Store what was spooled, as many records at a time as others can wait for."""
    waiting, files, records, size = [], {}, 0, 0
    for done, (parts, described) in enumerate(_unspool(spool), start=1):
        waiting += parts
        records += 1
        files |= described
        size += sum(len(png) for part in parts for png in part.pictures.values())
        if records >= run.size or size > AT_ONCE_BYTES or done == total:
            run.stage(waiting, files, done, total)
            on_progress("storing", done, total)
            waiting, files, records, size = [], {}, 0, 0


def _write(spool: IO[bytes], run: Run, good: Sequence[tuple[Record, Checked]]) -> None:
    """Together, so that what they share is written once."""
    made = [(run.prepared(record), described) for record, described in good]
    pickle.dump(made, spool, protocol=pickle.HIGHEST_PROTOCOL)


def rehearse(
    store: Store,
    source: Path | Sequence[Source],
    format: str,
    *,
    images: Path | None = None,
    drawn_by: str | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> Report:
    """What would come of importing it, read and checked to the end, with nothing stored. Raises as `bring_in` does."""
    with _sources(source, format, images) as sources:
        told = [partial(on_progress, "checking")]
        checked = _read_through(store, sources, format, drawn_by, lambda good: None, told)
    return Report("", 0, 0, checked.already, checked.errors, checked.new)


@contextmanager
def _sources(source: Path | Sequence[Source], format: str, images: Path | None) -> Iterator[Sequence[Source]]:
    reader_of(format)
    if not isinstance(source, Path):
        yield source
    elif not source.exists():
        raise ImportingError(f"there is no {source}; name a file or folder")
    elif source.suffix.lower() == ".zip" and source.is_file():
        with laid_out([source], format) as found:
            yield [replace(one, images=images) for one in found] if images else found
    elif format == FOLDER and source.is_dir():
        tables = tables_in(source)
        yield [Source(table, images or (source if len(tables) == 1 else table.parent), table.name) for table in tables]
    else:
        yield [Source(source, images, source.name)]


def _called(source: Path | Sequence[Source], sources: Sequence[Source]) -> str:
    return source.name if isinstance(source, Path) else ", ".join(one.name for one in sources)[:200]


def _read_through(
    store: Store,
    sources: Sequence[Source],
    format: str,
    drawn_by: str | None,
    keep: Keep,
    told: Sequence[Callable[[int, int], None]],
) -> _Checked:
    """What was found in all of them; `keep` is given the good new records."""
    reader = reader_of(format)
    total = sum(reader.size(one.path) for one in sources)

    def on_progress(done: int) -> None:
        for tell in told:
            tell(done, total)

    return _check(store, _read(reader, sources, drawn_by), format, keep, on_progress)


def _read(reader: ModuleType, sources: Sequence[Source], drawn_by: str | None) -> Read:
    for one in sources:
        for record in reader.read(one.path, images=one.images, drawn_by=drawn_by, flattened=one.flattened):
            if isinstance(record, RowError) and len(sources) > 1:
                record = replace(record, place=f"{one.name}{record.place and f', {record.place}'}")
            yield record


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=SPOOL)


def reader_of(format: str) -> ModuleType:
    """The module that reads a format. Raises ImportingError."""
    if format not in FORMATS:
        raise ImportingError(f"“{format}” is no format; the formats are: {', '.join(FORMATS)}")
    return FORMATS[format]


def records(store: Store, batch: str) -> Iterator[dict[str, Any]]:
    """The records of an import as they were in its file, in their order; without images that were deleted since."""
    for _, group in groupby(store.import_parts(batch), key=itemgetter(0)):
        origins = [origin for _, origin in group]
        merged = reader_of(origins[0].format).merged([origin.record for origin in origins])
        if origins[0].format == "ours":
            merged = store.trajectory(origins[0].trajectory_id).to_dict() | merged
        yield merged


@dataclass
class _Checked:
    new: int
    already: int
    errors: tuple[RowError, ...]


def _check(store: Store, read: Read, format: str, keep: Keep, on_progress: Callable[[int], None]) -> _Checked:
    """Read everything, keep what is new and can be stored, and collect why the rest cannot."""
    checking = _Checking(store, format, keep)
    for done, record in enumerate(read, start=1):
        checking.take(record)
        on_progress(done)
    checking.flush()
    checking.errors.sort(key=lambda error: error.row)
    return _Checked(checking.new, checking.already, tuple(checking.errors))


class _Checking:
    """Records, checked against the store a few at a time."""

    def __init__(self, store: Store, format: str, keep: Keep) -> None:
        self._store, self._format, self._keep = store, format, keep
        self._seen = Counter[str]()  # records by their digest
        self._ids: dict[str, int] = {}  # hash of each trajectory of the file by its id
        self._waiting: list[Record] = []
        self._bytes = 0
        self.errors: list[RowError] = []
        self.new = self.already = 0

    def take(self, record: Record | RowError) -> None:
        if isinstance(record, RowError):
            self.errors.append(record)
            return
        digest = record.digest(self._format)
        self._seen[digest] += 1
        # the same record twice in a file is two records
        self._waiting.append(replace(record, key=f"{digest[:56]}{self._seen[digest]:08x}"))
        self._bytes += sum(len(png) for part in record.parts for png in part.pictures.values())
        if len(self._waiting) >= AT_ONCE or self._bytes > AT_ONCE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Check what waits."""
        known = self._store.known_records([record.key for record in self._waiting])
        fresh = [record for record in self._waiting if record.key not in known]
        self.already += len(self._waiting) - len(fresh)
        results = iter(self._store.check([(p.trajectory, p.pictures) for record in fresh for p in record.parts]))
        given = [(record, [next(results) for _ in record.parts]) for record in fresh]
        self._keep([(record, described) for record, of in given if (described := self._sorted(record, of)) is not None])
        self._waiting, self._bytes = [], 0

    def _sorted(self, record: Record, results: list[Checked | AnnotationsError]) -> Checked | None:
        """What is known of a good record's pictures; None for another, of which it is told why."""
        wrong = next((str(result) for result in results if isinstance(result, AnnotationsError)), None)
        wrong = wrong or self._doubled(record)
        if wrong is not None:
            self.errors.append(RowError(record.row, "", wrong, "a trajectory that can be stored"))
            return None
        self.new += 1
        return {sha256: file for result in results for sha256, file in result.items()}

    def _doubled(self, record: Record) -> str | None:
        for part in record.parts:
            content = hash(part.trajectory)
            if self._ids.setdefault(part.trajectory.id, content) != content:
                return f"the id {part.trajectory.id}, which a row before has with other content"
        return None


def _unspool(spool: IO[bytes]) -> Iterator[tuple[list[PreparedRecord], Checked]]:
    spool.seek(0)
    while True:
        try:
            yield from pickle.load(spool)  # what this process has written itself
        except EOFError:
            return


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        with open_store(arguments.data or default_directory(), default_url()) as store:
            given = {"images": arguments.images, "drawn_by": arguments.drawn_by, "on_progress": _bar}
            if arguments.dry_run:
                report = rehearse(store, arguments.source, arguments.format, **given)
            else:
                report = bring_in(
                    store,
                    arguments.source,
                    arguments.format,
                    owner=arguments.owner,
                    leave_out_bad=arguments.leave_out_bad,
                    **given,
                )
    except AnnotationsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        print(_rehearsed(report) if arguments.dry_run else _told(report, arguments.leave_out_bad))
    return 1 if report.errors and not arguments.leave_out_bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m annotations.importing", description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="file or folder")
    parser.add_argument("--format", choices=list(FORMATS), required=True)
    parser.add_argument(
        "--images", type=Path, help="folder in which records' pictures are looked up (default: beside it)"
    )
    parser.add_argument("--drawn-by", help="name of the model that drew, where the records do not say")
    parser.add_argument("--owner", default="import", help="whose drawings they become (default: import)")
    parser.add_argument("--leave-out-bad", action="store_true", help="import the good rows although others are bad")
    parser.add_argument("--dry-run", action="store_true", help="read and check everything, and store nothing")
    parser.add_argument("--data", type=Path, help="data folder of the studio (default: its usual place)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _rehearsed(report: Report) -> str:
    lines = [str(error) for error in report.errors[:SHOWN]]
    known = f"; {report.already} are there already" if report.already else ""
    return "\n".join([*lines, f"dry run: {report.good} records are good, {len(report.errors)} bad{known}"])


def _told(report: Report, leave_out_bad: bool) -> str:
    lines: Iterable[str] = [str(error) for error in report.errors[:SHOWN]]
    if len(report.errors) > SHOWN:
        lines = [*lines, f"… and {len(report.errors) - SHOWN} more (--json has them all)"]
    if report.errors and not leave_out_bad:
        return "\n".join(
            [*lines, f"nothing imported: {len(report.errors)} rows are bad; mend them, or --leave-out-bad"]
        )
    known = f"; {report.already} were there already" if report.already else ""
    return "\n".join([*lines, f"{report.records} records imported as {report.trajectories} trajectories{known}"])


def _bar(stage: str, done: int, total: int) -> None:
    if done % max(1, total // 200) and done != total:
        return
    filled = 30 * done // max(1, total)
    ending = "\n" if done == total else ""
    print(
        f"\r{stage:<9} {'█' * filled}{'░' * (30 - filled)} {done:,} of {total:,}",
        end=ending,
        file=sys.stderr,
        flush=True,
    )
