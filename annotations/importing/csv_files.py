"""CSV reading and writing: comma, semicolon, tab or bar; encodings and byte order marks.

What is written opens in Excel (a byte order mark) and starts no formula there: a cell that begins with =, +, -, @, a
tab or a line end gets an apostrophe before it, which reading takes off again. Knows no format.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from annotations.errors import ImportingError
from annotations.importing.records import RowError
from annotations.importing.text_files import open_text
from model.reflection_text import is_invisible

DELIMITERS = ",;\t|"
LONGEST = 10_000_000  # characters of a cell
HEAD_LINES = 20  # that may belong to the names of the columns, which may hold line ends
_STARTS = "[=+\\-@＝＋－＠\\t\\r\\n]"  # of a formula, also full-width, as some spreadsheets read them
_FORMULA = re.compile(f"'*{_STARTS}")
_GUARDED = re.compile(f"'+{_STARTS}")


def read(file: Path, known: Collection[str] = ()) -> Iterator[tuple[int, dict[str, str] | RowError]]:
    """Every row with its number, from 1, by the names of the columns; rows without any value are left out.

    A column whose name is one of `known` but for case, blanks, hyphens and underscores gets that name; cells without a
    name of a column are called “column N” where they hold anything. Raises ImportingError for what is no such table.
    """
    csv.field_size_limit(LONGEST)
    with open_text(file) as text:
        try:
            lines = iter(text)
            head = list(islice(lines, HEAD_LINES))
            if head and re.fullmatch("sep=.", head[0].strip().lstrip("\ufeff"), re.IGNORECASE):  # a line for Excel
                head = head[1:]
            delimiter, spaced = _dialect(head, known)
            table = csv.reader(chain(head, lines), delimiter=delimiter, skipinitialspace=spaced, strict=True)
            names = _names(file, next((row for row in table if any(cell.strip() for cell in row)), None), known)
            yield from _rows(table, names)
        except (csv.Error, UnicodeError) as error:
            raise ImportingError(
                f"{file.name} cannot be read as CSV in UTF-8 ({error}); save it as “CSV UTF-8”"
            ) from error


def _rows(table: Any, names: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | RowError]]:
    number = 0
    while True:
        try:
            cells = next(table, None)
        except csv.Error as error:
            number += 1
            got = "a quote that is never closed" if "end of data" in str(error) else f"quotes that do not fit ({error})"
            yield number, RowError(number, "", got, 'cells with quotes in them as "say ""no"" twice"')
            continue
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            number += 1
            yield number, _row(number, cells, names)


def _row(number: int, cells: list[str], names: Sequence[str]) -> dict[str, str] | RowError:
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()
    if len(cells) != len(names):
        return RowError(number, "", f"{len(cells)} fields", f"{len(names)}, one for each column")
    row = {}
    for place, (name, cell) in enumerate(zip(names, cells, strict=True), start=1):
        if "\0" in cell:
            return RowError(number, name, f"{cell[:40]!r} with a NUL character", "text")
        if name or cell:
            row[name or f"column {place}"] = cell[1:] if _GUARDED.match(cell) else cell
    return row


def _dialect(head: Sequence[str], known: Collection[str]) -> tuple[str, bool]:
    """The delimiter by which the names of the columns are known, or else are most; and whether blanks follow it."""

    def split(delimiter: str) -> list[str]:
        try:
            rows = csv.reader(head, delimiter=delimiter)
            return next((row for row in rows if any(cell.strip() for cell in row)), [])
        except csv.Error:
            return []

    plain = {_plain(name) for name in known}
    rows_by_delimiter = {delimiter: split(delimiter) for delimiter in DELIMITERS}
    best = max(
        DELIMITERS,
        key=lambda candidate: (
            sum(_plain(c) in plain for c in rows_by_delimiter[candidate]),
            len(rows_by_delimiter[candidate]),
        ),
    )
    following = rows_by_delimiter[best][1:]
    return best, bool(following) and all(cell.startswith(" ") for cell in following)


def _names(file: Path, head: list[str] | None, known: Collection[str]) -> list[str]:
    if head is None:
        raise ImportingError(f"{file.name} is empty, wanted a first line with the names of the columns")
    as_known = {_plain(name): name for name in known}
    names = [as_known.get(_plain(cell), cell.strip()) for cell in head]
    while names and not names[-1] and len(names) > 1:
        names.pop()
    doubled = [name for name, count in Counter(names).items() if name and count > 1]
    if doubled:
        places = ", ".join(str(place) for place, name in enumerate(names, start=1) if name == doubled[0])
        raise ImportingError(
            f"{file.name} has the column “{doubled[0]}” more than once ({places}); name each differently"
        )
    return names


def _plain(name: str) -> str:
    seen = "".join(character for character in name if not is_invisible(character))
    return re.sub(r"[\s_\-]+", "_", seen.strip().casefold())


def write(file: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table that `read` gives back as it was."""
    with file.open("w", newline="", encoding="utf-8-sig", errors="backslashreplace") as opened:
        writer = csv.writer(opened)
        writer.writerow([_cell(name) for name in columns])
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
