"""Writers of an export's files, one per layout: Parquet, JSON Lines with pictures beside them, text, WebDataset tars.

A part is what a writer writes between two checkpoints of an export; parts become shards, or are joined to one file.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from annotations.errors import ExportError
from annotations.export.kind import ExportKind, ExportRow
from annotations.export.manifest import DataFile

GROUP_BYTES = 64 * 2**20  # of rows in one row group; viewers refuse groups of more than about 286 MiB


class Writer(ABC):
    """One part of one split."""

    suffix: ClassVar[str]
    builder: ClassVar[str]  # as which `datasets.load_dataset` reads its files
    joined: ClassVar[bool] = False  # whether the parts of a split are one file in the end

    def __init__(self, path: Path, features: Features) -> None:
        """`path` is the part's file; files beside the rows lie in its folder."""
        self.path, self.features = path, features

    @abstractmethod
    def write(self, row: ExportRow) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Everything is in the file afterwards."""

    @classmethod
    def join(cls, parts: Sequence[Path], file: Path) -> int:
        """The parts, one after another, as one file; how many rows it has."""
        count = 0
        with file.open("wb") as out:
            for part in parts:
                with part.open("rb") as opened:
                    for line in opened:
                        out.write(line)
                        count += 1
        return count

    def put_files(self, row: ExportRow) -> None:
        """What lies beside a row, in the folder of the part."""
        for name, content in row.files.items():
            path = self.path.parent / name
            if not path.exists() or path.stat().st_size != len(content):  # named by its hash; cut off by a kill
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


class ParquetWriter(Writer):
    """Row groups of GROUP_BYTES, with page indexes; and the rows' files by their relative paths."""

    suffix = builder = "parquet"

    def __init__(self, path: Path, features: Features) -> None:
        super().__init__(path, features)
        self._schema = features.arrow_schema
        self._file = pq.ParquetWriter(path, self._schema, write_page_index=True)
        self._rows: list[Mapping[str, Any]] = []
        self._size = 0

    def write(self, row: ExportRow) -> None:
        self.put_files(row)
        self._rows.append(row.values)
        self._size += row.size
        if self._size > GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(_table(self._rows, self._schema))
        self._rows.clear()
        self._size = 0

    def close(self) -> None:
        self._flush()
        self._file.close()


def _table(rows: list[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Raises ExportError, which names the first row with a value that a column cannot hold."""
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowException, OverflowError) as error:
        for row in rows:
            try:
                pa.Table.from_pylist([row], schema=schema)
            except (pa.ArrowException, OverflowError) as problem:
                id = row.get("trajectory_id") or row.get("id") or row.get("prompt")
                raise ExportError(
                    f"a row of {id!r:.80} cannot be written ({problem}); delete that trajectory, or leave its project "
                    "out"
                ) from error
        raise


class JsonLinesWriter(Writer):
    """One JSON object per line, and the rows' files by their relative paths."""

    suffix, builder = "jsonl", "json"
    joined = True

    def __init__(self, path: Path, features: Features) -> None:
        super().__init__(path, features)
        self._file = path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n")

    def write(self, row: ExportRow) -> None:
        self.put_files(row)
        self._file.write(self.line(row.values) + "\n")

    @staticmethod
    def line(values: Mapping[str, Any]) -> str:
        return json.dumps(values, ensure_ascii=False)

    def close(self) -> None:
        self._file.close()


class PromptLinesWriter(JsonLinesWriter):
    """JSON Lines in which rows of one prompt (`promptid`, else `prompt`) become one line: their lists `data` joined."""

    @classmethod
    def join(cls, parts: Sequence[Path], file: Path) -> int:
        places: dict[Any, list[tuple[int, int]]] = defaultdict(list)  # by prompt, (part, offset) of its lines
        with ExitStack() as stack, file.open("wb") as out:
            opened = [stack.enter_context(part.open("rb")) for part in parts]
            for number, part in enumerate(opened):
                offset = 0
                while line := part.readline():
                    row = json.loads(line)
                    places[row.get("promptid", row["prompt"])].append((number, offset))
                    offset += len(line)
            for some in places.values():
                rows = [json.loads(_line_at(opened[number], offset)) for number, offset in some]
                joined = {"data": [each for row in rows for each in row["data"]]} if "data" in rows[0] else {}
                out.write(f"{cls.line(rows[0] | joined)}\n".encode("utf-8", "surrogatepass"))
        return len(places)


class TextWriter(JsonLinesWriter):
    """The column `text`, one line per different text."""

    suffix, builder = "txt", "text"

    @staticmethod
    def line(values: Mapping[str, Any]) -> str:
        return " ".join(str(values["text"]).split())

    @classmethod
    def join(cls, parts: Sequence[Path], file: Path) -> int:
        seen: set[bytes] = set()
        with file.open("wb") as out:
            for part in parts:
                with part.open("rb") as opened:
                    for line in opened:
                        digest = hashlib.sha256(line).digest()[:16]
                        if digest not in seen:
                            seen.add(digest)
                            out.write(line)
        return len(seen)


class WebDatasetWriter(Writer):
    """A tar; the members of a sample have its key and an extension each: pictures as they are, the row as JSON."""

    suffix, builder = "tar", "webdataset"

    def __init__(self, path: Path, features: Features) -> None:
        super().__init__(path, features)
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def write(self, row: ExportRow) -> None:
        key = str(row.values["__key__"])
        rest = {name: value for name, value in row.values.items() if name != "__key__"}
        members = {**row.files, **({"json": json.dumps(rest, ensure_ascii=False).encode()} if rest else {})}
        for extension, content in members.items():
            member = tarfile.TarInfo(f"{key}.{extension}")
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))

    def close(self) -> None:
        self._tar.close()


WRITERS: dict[str, type[Writer]] = {
    "parquet": ParquetWriter,
    "jsonl": JsonLinesWriter,
    "prompt_lines": PromptLinesWriter,
    "text": TextWriter,
    "webdataset": WebDatasetWriter,
}


def final_names(kind: ExportKind, split: str, parts: int) -> list[str]:
    """The names of a split's files in the finished folder."""
    writer = WRITERS[kind.layout]
    if writer.joined:
        return [kind.file_name(split) or f"{split}.{writer.suffix}"] if parts else []
    return [f"{split}-{number:05}-of-{parts:05}.{writer.suffix}" for number in range(parts)]


def load_line(kind: ExportKind, files: Iterable[DataFile], folder: str = "") -> str:
    """The call of `datasets.load_dataset` that loads an export's files, whose paths begin with `folder`."""
    writer = WRITERS[kind.layout]
    names: dict[str, str] = {}  # by split
    for file in files:
        several = f"{file.split}-*.{writer.suffix}" if file.split in names else file.name
        names[file.split] = f"{folder}{several}"
    if len(names) > 1:
        return f"load_dataset({writer.builder!r}, data_files={names!r})"
    [(split, name)] = names.items()
    return f"load_dataset({writer.builder!r}, data_files={name!r}, split={split!r})"


def _line_at(file: IO[bytes], offset: int) -> bytes:
    file.seek(offset)
    return file.readline()
