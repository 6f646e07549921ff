"""Samples of a WebDataset tar: members that share a name up to its first dot, one after another.

Pictures and other members are bytes, text members (`.txt`, `.cls`) text, `.json` members values. Nothing is unpacked to
disk.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotations.errors import ImportingError
from annotations.importing.records import RowError

LARGEST = 64 * 2**20  # bytes of a member
MOST_MEMBERS = 64  # of a sample
TEXTS = ("txt", "cls", "text")


def samples(file: Path) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Every sample with its number, from 1, by the members' endings, and `__key__`. Raises ImportingError."""
    number, key = 0, None
    sample: dict[str, Any] = {}
    problem: RowError | None = None
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, ending = name.partition(".")
                if (folder, stem) != key:
                    if key is not None:
                        yield number, problem or sample
                    number, key = number + 1, (folder, stem)
                    sample, problem = {"__key__": f"{folder}/{stem}".lstrip("/")}, None
                if member.size > LARGEST or len(sample) > MOST_MEMBERS:
                    got = f"{len(sample)} members, this of {member.size:,} bytes"
                    problem = RowError(number, ending, got, f"at most {MOST_MEMBERS}, each of at most {LARGEST:,}")
                    continue
                if ending in sample:
                    problem = RowError(number, ending, f"two members {member.name[:200]!r}", "one of each name")
                    continue
                opened = tar.extractfile(member)
                content = opened.read() if opened else b""
                try:
                    sample[ending] = _value(ending, content)
                except (ValueError, RecursionError) as error:
                    problem = RowError(number, ending, str(error)[:200], "UTF-8 or JSON, as its ending says")
            end = _end(tar)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ImportingError(f"{file} cannot be read as a tar after sample {number}: {error}; get it again") from error
    if key is not None:
        yield number, problem or sample
    if end:
        yield number + 1, RowError(number + 1, "", end, "a whole tar; get it again")


def _end(tar: tarfile.TarFile) -> str:
    """What stands in the place of the block of zeros that ends a tar, where `tarfile` has stopped without a word."""
    if tar.fileobj is None:
        return ""
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(tarfile.BLOCKSIZE)
    if not block:
        return "a tar without an end, which may be cut short"
    return "a damaged header, behind which nothing can be read" if block.strip(b"\0") else ""


def _value(ending: str, content: bytes) -> Any:
    kind = ending.rpartition(".")[2].lower()
    if kind == "json":
        return json.loads(content.decode("utf-8"))
    return content.decode("utf-8") if kind in TEXTS else content
