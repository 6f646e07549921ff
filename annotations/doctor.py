"""Consistency check of a data folder, also while a studio uses it.

    python -m annotations.doctor [--data FOLDER] [--json] [--fix]

Exits with 1 where something is wrong. `--fix` does only what cannot lose anything: it sets the journal, writes anew
what is copied from somewhere else, and moves pictures that nothing shows to the folder `orphans`; end the studio first.
What is damaged or lost comes back from a backup only. Knows files and tables; `annotations.ops.data_repair` mends.
"""

import argparse
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from annotations import backup
from annotations.db.engine import FILE, default_directory, has_wal_bug, open_database_for_reading
from annotations.db.upgrade import revisions
from annotations.errors import AnnotationsError, DirectoryError
from annotations.ops import data_repair
from annotations.ops.data_repair import Finding, Severity

LEAST_FREE = 2**30  # bytes that a disk should have left, beside room for a copy of the database
SIGNS = {Severity.FINE: "✓", Severity.NOTE: "·", Severity.WRONG: "✗"}

Version = tuple[int, ...]


def examine(
    directory: Path,
    *,
    least_free: int = LEAST_FREE,
    sqlite_version: Version = sqlite3.sqlite_version_info,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Finding]:
    """One finding or more of every check, as they come; a database that cannot be read ends them early.

    `on_progress(done, total)` counts pictures.
    """
    file = directory / FILE
    yield _sqlite(sqlite_version)
    if not file.is_file():
        yield Finding(
            "database", Severity.WRONG, f"there is no {FILE} in {directory}", "name the data folder with --data"
        )
        return
    yield _disk(directory, file.stat().st_size, least_free)
    yield _private(directory)
    yield _backup(directory)
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as database:
            yield _journal(database, sqlite_version)
            yield _integrity(database)
            yield _foreign_keys(database)
        tables = _tables(file)
        yield tables
        if tables.level is Severity.FINE:
            with open_database_for_reading(directory) as opened:
                yield from data_repair.findings(opened, on_progress)
    except (sqlite3.Error, AnnotationsError) as error:
        advice = "restore the folder from a backup (python -m annotations.backup restore)"
        yield Finding("database", Severity.WRONG, f"{FILE} cannot be read: {error}", advice)


def _sqlite(version: Version) -> Finding:
    name = ".".join(str(part) for part in version)
    if not has_wal_bug(version):
        return Finding("sqlite", Severity.FINE, f"SQLite {name}")
    return Finding(
        "sqlite",
        Severity.NOTE,
        f"SQLite {name} can corrupt a write-ahead log: the older journal is used, and one process writes at a time",
        "update SQLite to 3.51.3 or newer, for speed",
    )


def _disk(directory: Path, size: int, least_free: int) -> Finding:
    free, needed = shutil.disk_usage(directory).free, max(least_free, 2 * size)
    if free >= needed:
        return Finding("disk", Severity.FINE, f"{_bytes(free)} free")
    message = f"{_bytes(free)} free, wanted are {_bytes(needed)}: room for a copy of the database, and to go on"
    return Finding("disk", Severity.WRONG, message, "make room, or move the data folder (AHA_STUDIO_DATA)")


def check_disk(directory: Path, least_free: int = LEAST_FREE) -> None:
    """Raises DirectoryError where the disk of a data folder is nearly full."""
    file = directory / FILE
    finding = _disk(directory, file.stat().st_size if file.is_file() else 0, least_free)
    if finding.level is Severity.WRONG:
        raise DirectoryError(f"the disk of {directory} is nearly full: {finding.said}; {finding.do}")


def _private(directory: Path) -> Finding:
    open_ = [path.name for path in (directory, directory / FILE) if path.exists() and path.stat().st_mode & 0o077]
    if os.name == "nt" or not open_:
        return Finding("rights", Severity.FINE, "only its owner can open the data folder")
    message = f"other users of this machine can open {' and '.join(open_)}"
    return Finding("rights", Severity.NOTE, message, f"chmod 700 {directory}, unless they are meant to")


def _backup(directory: Path) -> Finding:
    done = backup.last(directory)
    if done is None:
        return Finding("backup", Severity.NOTE, "never backed up", "python -m annotations.backup make TARGET")
    return Finding("backup", Severity.FINE, f"backed up last at {done:%Y-%m-%d %H:%M} UTC")


def _journal(database: sqlite3.Connection, version: Version) -> Finding:
    mode = database.execute("PRAGMA journal_mode").fetchone()[0]
    expected = "delete" if has_wal_bug(version) else "wal"
    if mode == expected:
        return Finding("journal", Severity.FINE, f"journal mode {mode}")
    level = Severity.WRONG if mode == "wal" else Severity.NOTE
    return Finding(
        "journal", level, f"journal mode {mode}, wanted is {expected}", "start the studio once", fixable=True
    )


def _integrity(database: sqlite3.Connection) -> Finding:
    try:
        messages = [row[0] for row in database.execute("PRAGMA integrity_check(5)")]
    except sqlite3.DatabaseError as error:  # so damaged that it cannot be checked
        messages = [str(error)]
    if messages == ["ok"]:
        return Finding("integrity", Severity.FINE, "the database is whole")
    message = f"the database is damaged: {'; '.join(line.replace(chr(10), ' ') for line in messages)}"
    return Finding("integrity", Severity.WRONG, message, "restore it from a backup", count=len(messages))


def _foreign_keys(database: sqlite3.Connection) -> Finding:
    orphans = database.execute("PRAGMA foreign_key_check").fetchall()
    if not orphans:
        return Finding("references", Severity.FINE, "every row has the rows it refers to")
    pairs = sorted({(table, parent) for table, _, parent, _ in orphans})
    tables = ", ".join(f"{table} to {parent}" for table, parent in pairs)
    message = f"{len(orphans)} rows refer to rows that are gone: {tables}"
    return Finding("references", Severity.WRONG, message, "restore from a backup", count=len(orphans))


def _tables(file: Path) -> Finding:
    revision, newest = revisions(file)
    if revision == newest:
        return Finding("tables", Severity.FINE, f"tables of revision {revision}")
    message = f"tables of revision {revision}, the newest are {newest}; what they hold is not looked at"
    return Finding("tables", Severity.WRONG, message, "start the studio once, which migrates them", fixable=True)


def _bytes(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m annotations.doctor", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="data folder of the studio (default: its usual place)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended without losing anything")
    arguments = parser.parse_args(argv)
    directory = arguments.data or default_directory()
    mended: list[str] = []
    if arguments.fix:
        try:
            mended = data_repair.repair(directory)
        except AnnotationsError as error:
            print(f"error: nothing was mended: {error}", file=sys.stderr)
            return 1
    findings = list(examine(directory, on_progress=_show_progress))
    wrong = [finding for finding in findings if finding.level is Severity.WRONG]
    if arguments.json:
        result = {"wrong": len(wrong), "mended": mended, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(result, ensure_ascii=False))
    else:
        print(
            "\n".join([*(f"mended: {what}" for what in mended), *map(_line, findings), _verdict(directory, findings)])
        )
    return 1 if wrong else 0


def _line(finding: Finding) -> str:
    advice = f"\n    → {finding.do}" if finding.do else ""
    return f"{SIGNS[finding.level]} {finding.check:<12} {finding.said}{advice}"


def _verdict(directory: Path, findings: Sequence[Finding]) -> str:
    wrong = sum(finding.level is Severity.WRONG for finding in findings)
    if not wrong:
        return f"nothing is wrong with {directory}"
    fixable = sum(finding.fixable for finding in findings)
    return f"{wrong} things are wrong with {directory}" + (
        f"; --fix mends {fixable} of what is said" if fixable else ""
    )


def _show_progress(done: int, total: int) -> None:
    if done % 1000 == 0 or done == total:
        print(f"{done:,} of {total:,} pictures", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
