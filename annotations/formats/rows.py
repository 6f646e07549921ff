"""The rows of a file, one at a time: Parquet (a file or a folder of shards), CSV, JSON Lines. No format's fields."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotations.errors import ImportingError
from annotations.incoming import Read, Record, RowError, RowProblem

AT_ONCE = 32  # rows with pictures in memory

Row = dict[str, Any]


def size(source: Path) -> int:
    """How many rows there are. Raises ImportingError."""
    if _is_parquet(source):
        return sum(_parquet(shard).metadata.num_rows for shard in _shards(source))
    return sum(1 for _ in rows(source))


def rows(source: Path) -> Iterator[tuple[int, Row | RowError]]:
    """Every row with its number, from 1. Raises ImportingError for what is no such file."""
    if _is_parquet(source):
        return _parquet_rows(source)
    match source.suffix.lower():
        case ".csv":
            return _csv_rows(source)
        case ".jsonl" | ".json":
            return _json_rows(source)
    raise ImportingError(f"{source} is no table that can be read; give a Parquet, CSV or JSON Lines file")


def read(source: Path, record_of: Callable[[int, Row], Record]) -> Read:
    """The records that `record_of` makes of the rows, and why it made none. It raises RowProblem, or ValueError for
    what cannot be kept.
    """
    for number, row in rows(source):
        if isinstance(row, RowError):
            yield row
            continue
        try:
            yield record_of(number, row)
        except RowProblem as problem:
            yield RowError(number, problem.place, problem.got, problem.wanted)
        except ValueError as error:
            yield RowError(number, "", str(error), "values that JSON or Parquet know")


def _is_parquet(source: Path) -> bool:
    return source.suffix.lower() == ".parquet" or (source.is_dir() and any(source.glob("*.parquet")))


def _shards(source: Path) -> list[Path]:
    return sorted(source.glob("*.parquet")) if source.is_dir() else [source]


def _parquet(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise ImportingError(f"{file} cannot be read as Parquet: {error}") from error


def _parquet_rows(source: Path) -> Iterator[tuple[int, Row]]:
    number = 0
    for shard in _shards(source):
        try:
            for batch in _parquet(shard).iter_batches(batch_size=AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except pa.ArrowException as error:
            raise ImportingError(f"{shard} is damaged after row {number}: {error}; get it again") from error


def _csv_rows(source: Path) -> Iterator[tuple[int, Row | RowError]]:
    with _opened(source) as file:
        table = csv.DictReader(file, strict=True)
        try:
            if not table.fieldnames:
                raise ImportingError(f"{source} is empty, wanted a first line with the names of the columns")
            for number, row in enumerate(table, start=1):
                yield number, _whole(number, row, len(table.fieldnames))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ImportingError(f"{source} cannot be read as CSV in UTF-8 (line {table.line_num}): {error}") from error


def _whole(number: int, row: Row, columns: int) -> Row | RowError:
    got = columns + len(row.get(None) or ()) - sum(value is None for value in row.values())
    return row if got == columns else RowError(number, "", f"{got} fields", f"{columns}, one for each column")


def _json_rows(source: Path) -> Iterator[tuple[int, Row | RowError]]:
    """One object a line; or one array, or one object, in all."""
    with _opened(source) as file:
        try:
            if source.suffix.lower() == ".json":
                whole = json.load(file)
                for number, row in enumerate(whole if isinstance(whole, list) else [whole], start=1):
                    yield number, _object(number, row)
                return
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _parsed(number, line)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ImportingError(f"{source} cannot be read as JSON in UTF-8: {error}") from error


def _parsed(number: int, line: str) -> Row | RowError:
    try:
        return _object(number, json.loads(line))
    except json.JSONDecodeError as error:
        return RowError(number, "", f"a line that is no JSON ({error})", "an object in one line")


def _object(number: int, row: Any) -> Row | RowError:
    return row if isinstance(row, dict) else RowError(number, "", f"{row!r:.60}", "a JSON object")


def _opened(source: Path):
    try:
        return source.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise ImportingError(f"{source} cannot be read ({error.strerror}); name a file") from error
