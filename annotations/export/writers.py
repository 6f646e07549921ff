"""Writers of an export's files, one per layout: Parquet, JSON Lines with pictures beside them, text, WebDataset tars.

A part is what a writer writes between two checkpoints of an export; parts become shards, or are joined to one file.
"""

from __future__ import annotations

import io
import json
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from annotations.export.kind import Row

GROUP_BYTES = 64 * 2**20  # of rows in one row group; viewers refuse groups of more than about 286 MiB


class Writer(ABC):
    """One part of one split."""

    suffix: ClassVar[str]
    joined: ClassVar[bool] = False  # whether the parts of a split are one file in the end

    def __init__(self, path: Path, features: Features) -> None:
        """`path` is the part's file; files beside the rows lie in its folder."""
        self.path, self.features = path, features

    @abstractmethod
    def write(self, row: Row) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Everything is in the file afterwards."""


class ParquetWriter(Writer):
    """Row groups of GROUP_BYTES, with page indexes."""

    suffix = "parquet"

    def __init__(self, path: Path, features: Features) -> None:
        super().__init__(path, features)
        self._schema = features.arrow_schema
        self._file = pq.ParquetWriter(path, self._schema, write_page_index=True)
        self._rows: list[Mapping[str, Any]] = []
        self._size = 0

    def write(self, row: Row) -> None:
        self._rows.append(row.values)
        self._size += row.size
        if self._size > GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
        self._size = 0

    def close(self) -> None:
        self._flush()
        self._file.close()


class JsonLinesWriter(Writer):
    """One JSON object per line, and the rows' files by their relative paths."""

    suffix = "jsonl"
    joined = True

    def __init__(self, path: Path, features: Features) -> None:
        super().__init__(path, features)
        self._file = path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n")

    def write(self, row: Row) -> None:
        for name, content in row.files.items():
            _put(self.path.parent / name, content)
        self._file.write(self.line(row.values) + "\n")

    @staticmethod
    def line(values: Mapping[str, Any]) -> str:
        return json.dumps(values, ensure_ascii=False)

    def close(self) -> None:
        self._file.close()


class TextWriter(JsonLinesWriter):
    """The column `text`, one line per row."""

    suffix = "txt"

    @staticmethod
    def line(values: Mapping[str, Any]) -> str:
        return " ".join(str(values["text"]).split())


class WebDatasetWriter(Writer):
    """A tar; the members of a sample have its key and an extension each: pictures as they are, the row as JSON."""

    suffix = "tar"

    def __init__(self, path: Path, features: Features) -> None:
        super().__init__(path, features)
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def write(self, row: Row) -> None:
        key = str(row.values["__key__"])
        rest = {name: value for name, value in row.values.items() if name != "__key__"}
        members = {**row.files, "json": json.dumps(rest, ensure_ascii=False).encode()}
        for extension, content in members.items():
            member = tarfile.TarInfo(f"{key}.{extension}")
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))

    def close(self) -> None:
        self._tar.close()


WRITERS: dict[str, type[Writer]] = {
    "parquet": ParquetWriter,
    "jsonl": JsonLinesWriter,
    "text": TextWriter,
    "webdataset": WebDatasetWriter,
}


def final_names(layout: str, split: str, parts: int) -> list[str]:
    """The names of a split's files in the finished folder."""
    writer = WRITERS[layout]
    if writer.joined:
        return [f"{split}.{writer.suffix}"] if parts else []
    return [f"{split}-{number:05}-of-{parts:05}.{writer.suffix}" for number in range(parts)]


def join(parts: Sequence[Path], file: Path) -> None:
    """The parts, one after another."""
    with file.open("wb") as out:
        for part in parts:
            with part.open("rb") as opened:
                while block := opened.read(2**20):
                    out.write(block)


def _put(path: Path, content: bytes) -> None:
    if not path.exists():  # named by its hash
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
