"""Text files opened in their detected encoding."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import IO

from annotations.errors import ImportingError

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
LOOKED_AT = 4096  # bytes


def open_text(file: Path) -> IO[str]:
    """UTF-8 or UTF-16, with or without a byte order mark; line ends are kept. Raises ImportingError."""
    try:
        with file.open("rb") as opened:
            head = opened.read(LOOKED_AT)
        return file.open(encoding=_encoding(head), newline="")
    except OSError as error:
        raise ImportingError(f"{file} cannot be read ({error.strerror}); name a file") from error


def _encoding(head: bytes) -> str:
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if marked is not None or len(head) < 4:
        return marked or "utf-8"
    zeros = [
        half.count(0) / len(half) for half in (head[::2], head[1::2])
    ]  # of text in a Latin script: every other byte
    if zeros[1] > 0.4 > 0.1 > zeros[0]:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.4 > 0.1 > zeros[1] else "utf-8"
