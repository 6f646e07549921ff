"""Trajectories and images made elsewhere, into the studio's data: all of a file, or nothing.

    python -m annotations.importing SRC --format FORMAT [--dry-run]

Formats are ours, janus_sft, folder, pickapic and richhf; the modules of `annotations.formats` say what each looks like.
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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from uuid import uuid4

from annotations.database import default_directory, default_url
from annotations.errors import AnnotationsError, ImportingError
from annotations.formats import folder, janus_sft, ours, pickapic, richhf
from annotations.imports import BatchName
from annotations.incoming import Read, Record, RowError
from annotations.store import Store, open_store

FORMATS: dict[str, ModuleType] = {
    "ours": ours,
    "janus_sft": janus_sft,
    "folder": folder,
    "pickapic": pickapic,
    "richhf": richhf,
}
SPOOL = 64 * 2**20  # bytes of checked records kept in memory; more go to a temporary file
SHOWN = 20  # errors that the command prints

Progress = Callable[[str, int, int], None]  # what is being done, how far, of how many


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
    source: Path,
    format: str,
    *,
    owner: str,
    images: Path | None = None,
    drawn_by: str | None = None,
    leave_out_bad: bool = False,
    on_progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Import a file or folder. `images` is where records' pictures lie, `drawn_by` the model that drew them.

    Raises ImportingError for an unknown format and for a file that cannot be read at all.
    """
    with _read_through(store, source, format, images, drawn_by, on_progress) as (checked, spool):
        report = Report(uuid4().hex, 0, 0, checked.already, checked.errors, checked.new)
        if not checked.new or (checked.errors and not leave_out_bad):
            return report
        store.bring_in(
            lambda: _unspool(spool),
            BatchName(report.batch, source.name, format),
            owner=owner,
            on_progress=lambda stage, done: on_progress(stage, done, checked.new),
        )
        return replace(report, records=checked.new, trajectories=len(store.imported(report.batch)))


def rehearse(
    store: Store,
    source: Path,
    format: str,
    *,
    images: Path | None = None,
    drawn_by: str | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> Report:
    """What would come of importing it, read and checked to the end, with nothing stored. Raises as `bring_in` does."""
    with _read_through(store, source, format, images, drawn_by, on_progress) as (checked, _):
        return Report("", 0, 0, checked.already, checked.errors, checked.new)


@contextmanager
def _read_through(
    store: Store, source: Path, format: str, images: Path | None, drawn_by: str | None, on_progress: Progress
) -> Iterator[tuple[_Checked, IO[bytes]]]:
    """What was found in it, and its good new records, spooled."""
    reader = reader_of(format)
    if not source.exists():
        raise ImportingError(f"there is no {source}; name a file or folder")
    total = reader.size(source)
    with tempfile.SpooledTemporaryFile(max_size=SPOOL) as spool:
        read = reader.read(source, images=images, drawn_by=drawn_by)
        yield _check(store, read, format, spool, lambda done: on_progress("checking", done, total)), spool


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
    new: int = 0
    already: int = 0
    errors: tuple[RowError, ...] = ()


def _check(store: Store, read: Read, format: str, spool: IO[bytes], on_progress: Callable[[int], None]) -> _Checked:
    """Read everything, spool what is new and can be stored, and collect why the rest cannot."""
    checked, seen, errors = _Checked(), Counter[str](), []
    for done, record in enumerate(read, start=1):
        on_progress(done)
        if isinstance(record, RowError):
            errors.append(record)
            continue
        digest = record.digest(format)
        seen[digest] += 1
        key = f"{digest[:56]}{seen[digest]:08x}"  # the same record twice in a file is two records
        if store.knows_record(key):
            checked.already += 1
        elif (error := _problem(store, record)) is not None:
            errors.append(error)
        else:
            pickle.dump(replace(record, key=key), spool)
            checked.new += 1
    checked.errors = tuple(errors)
    return checked


def _problem(store: Store, record: Record) -> RowError | None:
    for part in record.parts:
        try:
            store.check(part.trajectory, part.pictures)
        except AnnotationsError as error:
            return RowError(record.row, "", str(error), "a trajectory that can be stored")
    return None


def _unspool(spool: IO[bytes]) -> Iterator[Record]:
    spool.seek(0)
    while True:
        try:
            yield pickle.load(spool)  # what this process has written itself
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


if __name__ == "__main__":
    sys.exit(main())
