"""Imports files of any known format into the store: all rows or none.

    python -m annotations.importing SRC [--format FORMAT] [--mapping COLUMNS.json] [--dry-run]

The modules of `formats` say what each format looks like; without one it is recognized by the first rows. SRC may also
be the id of a data set of the Hub, or with --split any folder that `datasets` loads. A mapping such as {"img": "image",
"text": "prompt"} makes a table of images and prompts a known one.
Every row is read and checked before the first is stored; each that cannot be is reported, with what was found in it and
what was wanted. Records that were imported before are left out. What a trajectory has no place for is kept beside it.
Knows the store; SQLite older than 3.51.3 lets only one process write, so stop the studio there, or import in its page.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import uuid4

from annotations.db.engine import default_directory, default_pictures, default_url
from annotations.errors import AnnotationsError, ImportingError
from annotations.export.manifest import read_manifest
from annotations.importing.answer_storage import prepare
from annotations.importing.checking import AT_ONCE_BYTES, CheckJob, Prepared, check, prepared_records, read, reader_of
from annotations.importing.checking_process import check_in_process
from annotations.importing.detection import check_columns, detect, read_columns, shown
from annotations.importing.formats import FORMATS, rows
from annotations.importing.records import RowError
from annotations.importing.source_tables import AUTO, FOLDER, TableSource, laid_out, sources_of, tables_in
from annotations.importing.staging import ImportRun
from annotations.scratch_folders import scratch_folder
from annotations.store.imported_records import BatchName
from annotations.store.store import Store, open_store

BYTES_IN_PROCESS = 2 * 2**20  # of files; from so many on they are checked in a process of their own
SHOWN = 20  # errors that the command prints
FIRST = 3  # records that a dry run shows
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
STREAMED = "annotations.importing.hub_datasets:streamed"  # imported where a data set is asked for

OnProgress = Callable[[str, int, int], None]  # what is being done, how far, of how many


@dataclass(frozen=True)
class Report:
    """The result of an import. With errors nothing is stored, unless bad rows were to be left out."""

    batch: str  # names what was imported together
    records: int  # stored now
    trajectories: int  # that they made; the same image with the same prompt makes one
    already: int  # records that had been imported before
    errors: tuple[RowError, ...]
    good: int = 0  # new records that can be stored, whether they were or not
    format: str = ""  # as which it was read
    first: tuple[str, ...] = ()  # of a dry run, the first records in words

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"errors": [vars(error) for error in self.errors]}


def bring_in(
    store: Store,
    source: Path | Sequence[TableSource],
    format: str = AUTO,
    *,
    owner: str,
    images: Path | None = None,
    drawn_by: str | None = None,
    columns: Mapping[str, str] | None = None,
    leave_out_bad: bool = False,
    on_progress: OnProgress = lambda stage, done, total: None,
    bytes_in_process: int = BYTES_IN_PROCESS,
) -> Report:
    """Import a file, folder or zip, or the tables of an upload, while others work.

    `images` is where records' pictures lie, `drawn_by` the model that drew them, `columns` a mapping of a table
    to the format `folder`; from `bytes_in_process` on files are checked in a process of their own, which takes
    a second to start. Raises ImportingError for an unknown format, for a file that cannot be read at all, while another
    import is under way, and where somebody stops it; DiskFullError where the disk of temporary folders is full.
    """
    with _sources(source, format, images, columns) as (sources, format), scratch_folder() as folder:
        batch = BatchName(uuid4().hex, _name(source, sources), format)
        job = CheckJob(tuple(sources), format, drawn_by, owner, store.clock(), Path(folder, "checked"))
        with ImportRun(store, batch, owner=owner, now=job.now) as run:

            def checking(done: int, total: int) -> None:
                run.tell(done, total)
                on_progress("checking", done, total)

            outcome = (check_in_process if job.bytes >= bytes_in_process else check)(store, job, checking)
            report = Report(batch.id, 0, 0, outcome.already, outcome.errors, outcome.new, format)
            if not outcome.new or (outcome.errors and not leave_out_bad):
                return report
            prepare(store, format)
            _stage(run, prepared_records(job.file), outcome.new, on_progress)
            run.publish()
    return replace(report, records=outcome.new, trajectories=len(store.imported(batch.id)))


def _stage(run: ImportRun, prepared: Iterable[Prepared], total: int, on_progress: OnProgress) -> None:
    """Store what was checked, as many records at a time as others can wait for."""
    pending, files, records, size = [], {}, 0, 0
    for done, (parts, described) in enumerate(prepared, start=1):
        pending += parts
        records += 1
        files |= described
        size += sum(len(png) for part in parts for png in part.pictures.values())
        if records >= run.size or size > AT_ONCE_BYTES or done == total:
            run.stage(pending, files, done, total)
            on_progress("storing", done, total)
            pending, files, records, size = [], {}, 0, 0


def rehearse(
    store: Store,
    source: Path | Sequence[TableSource],
    format: str = AUTO,
    *,
    images: Path | None = None,
    drawn_by: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
    bytes_in_process: int = BYTES_IN_PROCESS,
) -> Report:
    """The report of a dry run: everything is read and checked, nothing is stored. Raises as `bring_in` does."""
    with _sources(source, format, images, columns) as (sources, format):
        job = CheckJob(tuple(sources), format, drawn_by, "", store.clock(), None)
        first = tuple(shown(read(job, sources[0]), FIRST))
        checked_by = check_in_process if job.bytes >= bytes_in_process else check
        outcome = checked_by(store, job, partial(on_progress, "checking"))
    return Report("", 0, 0, outcome.already, outcome.errors, outcome.new, format, first)


@contextmanager
def _sources(
    source: Path | Sequence[TableSource], format: str, images: Path | None, columns: Mapping[str, str] | None
) -> Iterator[tuple[Sequence[TableSource], str]]:
    """The files, and the format that they have."""
    if columns:
        check_columns(columns)
        format = FOLDER
    with _files(source, format, images) as files:
        name = detect(files) if format == AUTO else format
        yield ([replace(file, columns=columns) for file in files] if columns else files), name


@contextmanager
def _files(source: Path | Sequence[TableSource], format: str, images: Path | None) -> Iterator[Sequence[TableSource]]:
    if format != AUTO:
        reader_of(format)
    if not isinstance(source, Path):
        yield source
    elif not source.exists():
        raise ImportingError(f"there is no {source}; name a file or folder")
    elif source.suffix.lower() == ".zip" and source.is_file():
        with laid_out([source], format) as unpacked:
            yield [replace(table, images=images) for table in unpacked] if images else unpacked
    elif source.is_dir() and (format == AUTO or read_manifest(source)):
        yield sources_of(source, images)
    elif format == FOLDER and source.is_dir() and not rows.is_sharded(source):
        tables = tables_in(source)
        yield [
            TableSource(table, images or (source if len(tables) == 1 else table.parent), table.name) for table in tables
        ]
    else:
        yield [TableSource(source, images, source.name)]


def _name(source: Path | Sequence[TableSource], sources: Sequence[TableSource]) -> str:
    return source.name if isinstance(source, Path) else ", ".join(each.name for each in sources)[:200]


def records(store: Store, batch: str) -> Iterator[dict[str, Any]]:
    """The records of an import as they were in its file, in their order; without images that were deleted since."""
    for _, group in groupby(store.import_parts(batch), key=itemgetter(0)):
        origins = [origin for _, origin in group]
        merged = reader_of(origins[0].format).merged([origin.record for origin in origins])
        if origins[0].format == "ours":
            merged = store.trajectory(origins[0].trajectory_id).to_dict() | merged
        yield merged


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        options = {"images": arguments.images, "drawn_by": arguments.drawn_by, "on_progress": _bar}
        options |= {"columns": arguments.mapping and read_columns(arguments.mapping)}
        place = arguments.data or default_directory(), default_url(), default_pictures()
        with open_store(*place) as store, _given(arguments) as source:
            if arguments.dry_run:
                report = rehearse(store, source, arguments.format, **options)
            else:
                options |= {"owner": arguments.owner, "leave_out_bad": arguments.leave_out_bad}
                report = bring_in(store, source, arguments.format, **options)
    except AnnotationsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        print(_rehearsed(report) if arguments.dry_run else _told(report, arguments.leave_out_bad))
    return 1 if report.errors and not arguments.leave_out_bad else 0


@contextmanager
def _given(arguments: argparse.Namespace) -> Iterator[Path | Sequence[TableSource]]:
    """The file or folder, or the rows of a data set that `datasets` loads."""
    path = Path(arguments.source)
    if arguments.split is None and (path.exists() or not HUB_ID.fullmatch(arguments.source)):
        yield path
        return
    streamed = pkgutil.resolve_name(STREAMED)
    with streamed(arguments.source, arguments.split, lambda done: _bar("loading", done, 0)) as source:
        yield [source]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m annotations.importing", description=__doc__.split("\n")[0])
    parser.add_argument("source", help="file, folder, or id of a data set of the Hub")
    parser.add_argument("--format", choices=[AUTO, *FORMATS], default=AUTO, help="(default: by the first rows)")
    parser.add_argument("--mapping", type=Path, help="JSON file: names of columns to those of the format folder")
    parser.add_argument("--split", help="of a data set that `datasets` loads (default: the first)")
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
    lines = [f"read as {report.format}", *report.first, *map(str, report.errors[:SHOWN])]
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
    if not total:
        print(f"\r{stage:<9} {done:,}", end="", file=sys.stderr, flush=True)
        return
    filled = 30 * done // total
    ending = "\n" if done == total else ""
    print(
        f"\r{stage:<9} {'█' * filled}{'░' * (30 - filled)} {done:,} of {total:,}",
        end=ending,
        file=sys.stderr,
        flush=True,
    )
