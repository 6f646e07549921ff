"""Rows of Parquet (a file or shards), CSV, JSON Lines, WebDataset tars and text, streamed, and of JSON files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotations.errors import ImportingError
from annotations.importing import csv_files
from annotations.importing.archives import TABLES
from annotations.importing.formats import tars
from annotations.importing.records import Read, RowError, RowProblem
from annotations.importing.text_files import open_text
from annotations.schema.imported_record import Record
from model.reflection_text import lines_of

AT_ONCE = 32  # rows with pictures in memory

Row = dict[str, Any]


def size(source: Path) -> int:
    """How many rows there are. Raises ImportingError."""
    if _is_parquet(source):
        return sum(_parquet(shard).metadata.num_rows for shard in _shards(source))
    if source.suffix.lower() == ".jsonl":
        return sum(1 for _ in _lines(source))
    return sum(1 for _ in rows(source))


def rows(source: Path, known: Collection[str] = ()) -> Iterator[tuple[int, Row | RowError]]:
    """Every row with its number, from 1. Columns of a CSV that are spelt a little differently get a name of `known`.

    Raises ImportingError for what is no such file.
    """
    if _is_parquet(source):
        return _parquet_rows(source)
    match source.suffix.lower():
        case ".csv" | ".tsv":
            return csv_files.read(source, known)
        case ".jsonl":
            return ((number, _parsed(number, line)) for number, line in _lines(source))
        case ".json":
            return _json_rows(source)
        case ".tar":
            return tars.samples(source)
    raise ImportingError(f"{source} is no table that can be read; give a Parquet, CSV or JSON Lines file")


def lines(source: Path) -> Iterator[tuple[int, Row]]:
    """The lines of a text file that hold something, each as a prompt. Raises ImportingError."""
    return ((number, {"prompt": line.strip()}) for number, line in _lines(source))


def is_sharded(folder: Path) -> bool:
    """Whether a folder's tables are Parquet shards alone."""
    tables = [file for file in folder.glob("[!_]*") if file.suffix.lower() in TABLES]
    return bool(tables) and all(file.suffix.lower() == ".parquet" for file in tables)


def read(source: Path, record_of: Callable[[int, Row], Record], known: Collection[str] = ()) -> Read:
    """The records that `record_of` makes of the rows, and why it made none. It raises RowProblem, or ValueError for
    what cannot be kept.
    """
    for number, row in rows(source, known):
        yield row if isinstance(row, RowError) else made(number, row, record_of)


def made(number: int, row: Row, record_of: Callable[[int, Row], Record]) -> Record | RowError:
    """What comes of one row."""
    try:
        return record_of(number, row)
    except RowProblem as problem:
        return RowError(number, problem.place, problem.got, problem.wanted)
    except (ValueError, RecursionError) as error:
        return RowError(number, "", str(error)[:200], "values that JSON or Parquet know")


def names(source: Path, asked: Callable[[Row], Iterable[object]], known: Collection[str] = ()) -> Iterator[str]:
    """All names of files that `asked` finds in the rows."""
    for _, row in rows(source, known):
        if not isinstance(row, RowError):
            yield from (name for name in asked(row) if isinstance(name, str))


def only_record(records: Sequence[Row]) -> Row:
    """The record of a format whose records make one trajectory each."""
    return records[0]


def joined_record(records: Sequence[Row]) -> Row:
    """The record of a pair, of which each part has the columns of one side."""
    return {name: value for record in records for name, value in record.items()}


def _is_parquet(source: Path) -> bool:
    return source.suffix.lower() == ".parquet" or (source.is_dir() and any(source.glob("[!_]*.parquet")))


def _shards(source: Path) -> list[Path]:
    return sorted(source.glob("[!_]*.parquet")) if source.is_dir() else [source]


def _parquet(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise ImportingError(f"{file} cannot be read as Parquet: {error}") from error


def _parquet_rows(source: Path) -> Iterator[tuple[int, Row | RowError]]:
    number = 0
    for shard in _shards(source):
        try:
            parquet = _parquet(shard)
            _check_doubled(shard, parquet.schema_arrow.names)
            for batch in parquet.iter_batches(batch_size=AT_ONCE):
                for row in _values(batch):
                    number += 1
                    yield number, row if isinstance(row, dict) else RowError(number, "", row, "values that can be read")
        except (pa.ArrowException, OSError) as error:
            raise ImportingError(f"{shard} is damaged after row {number}: {error}; get it again") from error


def _check_doubled(file: Path, columns: list[str]) -> None:
    doubled = [name for name, count in Counter(columns).items() if count > 1]
    if doubled:
        raise ImportingError(f"{file.name} has the column “{doubled[0]}” more than once; name each differently")


def _values(batch: pa.RecordBatch) -> Iterator[Row | str]:
    """The rows, or of one that Python has no values for, why."""
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError, pa.ArrowException) as error:
        if batch.num_rows == 1:
            yield str(error)[:200]
            return
    for place in range(batch.num_rows):
        yield from _values(batch.slice(place, 1))


def _json_rows(source: Path) -> Iterator[tuple[int, Row | RowError]]:
    """One array, or one object, in all; or one object a line."""
    try:
        with open_text(source) as file:
            text = file.read()
        try:
            whole = json.loads(text, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):
                raise
            yield from ((number, _parsed(number, line)) for number, line in _filled(lines_of(text)))
            return
        for number, row in enumerate(whole if isinstance(whole, list) else [whole], start=1):
            yield number, _object(number, row)
    except (ValueError, RecursionError) as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: Exception) -> ImportingError:
    return ImportingError(f"{source} cannot be read as JSON in UTF-8: {str(error)[:200]}")


def _lines(source: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that hold something, by their numbers."""
    try:
        with open_text(source) as file:
            yield from _filled(file)
    except ValueError as error:
        raise _unreadable(source, error) from error


def _filled(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _parsed(number: int, line: str) -> Row | RowError:
    try:
        return _object(number, json.loads(line, object_pairs_hook=_once))
    except (ValueError, RecursionError) as error:
        return RowError(number, "", f"a line that is no JSON ({str(error)[:200]})", "an object in one line")


def _once(pairs: list[tuple[str, Any]]) -> Row:
    """An object whose names are all different."""
    row = dict(pairs)
    if len(row) != len(pairs):
        doubled = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the field “{doubled}” more than once")
    return row


def _object(number: int, row: Any) -> Row | RowError:
    return row if isinstance(row, dict) else RowError(number, "", f"{row!r:.60}", "a JSON object")
