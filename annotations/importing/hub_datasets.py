"""Data sets that `datasets.load_dataset` reads, by their id on the Hub or their folder, streamed into a Parquet file.

Pictures are kept as the bytes that they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import IterableDataset, get_dataset_split_names, load_dataset
from datasets.table import embed_table_storage

from annotations.errors import DiskFullError, ImportingError
from annotations.importing.source_tables import TableSource
from annotations.scratch_folders import raise_disk_full, scratch_folder

AT_ONCE = 64  # rows with pictures in memory


@contextmanager
def streamed(
    name: str, split: str | None = None, on_progress: Callable[[int], None] = lambda rows: None
) -> Iterator[TableSource]:
    """The rows of a split (the first, where none is named) as a file, which is removed afterwards.

    Raises ImportingError for what cannot be loaded, DiskFullError where the disk of temporary folders is full.
    """
    with scratch_folder() as folder:
        file = Path(folder) / "rows.parquet"
        try:
            with raise_disk_full(file.parent, writes_elsewhere=True):  # `datasets` has a cache of its own
                split = split or get_dataset_split_names(name)[0]
                _write(load_dataset(name, split=split, streaming=True).decode(False), file, on_progress)
        except DiskFullError:
            raise
        except Exception as error:  # of whatever the library, the Hub or the data set's files say
            raise ImportingError(f"the data set {name[:200]} cannot be loaded: {str(error)[:300]}") from error
        yield TableSource(file, Path(name) if Path(name).is_dir() else None, f"{name} ({split})")


def _write(rows: IterableDataset, file: Path, on_progress: Callable[[int], None]) -> None:
    features, done = rows.features, 0
    schema: pa.Schema | None = features and features.arrow_schema
    writer: pq.ParquetWriter | None = None
    unread = iter(rows)
    while some := list(islice(unread, AT_ONCE)):
        table = _table(some, schema)
        schema = schema or table.schema
        writer = writer or pq.ParquetWriter(file, schema)
        writer.write_table(table.cast(schema))
        done += len(some)
        on_progress(done)
    if writer is None:
        raise ValueError("it has no rows")
    writer.close()


def _table(rows: list[dict[str, Any]], schema: pa.Schema | None) -> pa.Table:
    """With the pictures that rows name by their paths in it."""
    table = pa.Table.from_pylist(rows, schema=schema)
    return embed_table_storage(table) if table.schema.metadata else table
