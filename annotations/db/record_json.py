"""Lossless JSON form of imported records.

Bytes, and lists too long to sit in a row (a heat map of numbers), become files of their own. What JSON cannot say is
said by an object with one key that begins with $: {"$bytes": name}, {"$long": name}, {"$time": ISO 8601},
{"$float": "nan"}; an object that looks like one itself is {"$object": [[key, value], …]}. Knows values only.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import pandas as pd

LONG = 20_000  # characters of JSON in a row
DIGITS = 4300  # that Python reads of a whole number
TOO_LARGE = 10**DIGITS

Files = dict[str, bytes]


def pack(record: Mapping[str, Any]) -> tuple[dict[str, Any], Files]:
    """The record as JSON values, and the files they refer to by name. Raises ValueError for what cannot be kept."""
    files: Files = {}
    return {_text(key): _pack(value, key, files) for key, value in record.items()}, files


def unpack(packed: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """The record that was packed."""
    return {key: _unpack(value, files) for key, value in packed.items()}


def _pack(value: Any, name: str, files: Files) -> Any:
    match value:
        case None | bool():
            return value
        case int():
            return _whole(value, name)
        case str():
            return _text(value)
        case float():
            return value if math.isfinite(value) else {"$float": str(value)}
        case bytes():
            return {"$bytes": _file(name, value, files)}
        case datetime() | date():
            return {"$time": value.isoformat()}
        case Mapping():
            return _object({_text(key): _pack(item, f"{name}.{key}", files) for key, item in value.items()}, value)
        case list() | tuple():
            return _list([_pack(item, f"{name}.{index}", files) for index, item in enumerate(value)], name, files)
    raise ValueError(f"“{name}” holds a {type(value).__name__}, which cannot be kept")


def _whole(value: int, name: str) -> int:
    if abs(value) >= TOO_LARGE:
        raise ValueError(f"“{name}” holds a whole number of more than {DIGITS} digits, which cannot be kept")
    return value


def _object(packed: dict[str, Any], value: Mapping[str, Any]) -> Any:
    looks_packed = len(value) == 1 and next(iter(value)).startswith("$")
    return {"$object": [list(pair) for pair in packed.items()]} if looks_packed else packed


def _list(packed: list[Any], name: str, files: Files) -> Any:
    if len(packed) * 2 < LONG and len(text := json.dumps(packed)) < LONG:
        return packed
    text = json.dumps(packed)
    return {"$long": _file(name, zlib.compress(text.encode()), files)}


def _file(name: str, content: bytes, files: Files) -> str:
    while name in files:
        name += "+"
    files[name] = content
    return name


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the name {value!r} of a field is no text, and cannot be kept")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{value[:40]!r} has characters that cannot be stored")
    return value


def _unpack(value: Any, files: Mapping[str, bytes]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, files) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$bytes": name, **rest} if not rest:
            return files[name]
        case {"$long": name, **rest} if not rest:
            return _unpack(json.loads(zlib.decompress(files[name])), files)
        case {"$time": text, **rest} if not rest:
            return pd.Timestamp(text) if "T" in text else date.fromisoformat(text)
        case {"$float": text, **rest} if not rest:
            return float(text)
        case {"$object": pairs, **rest} if not rest:
            return {key: _unpack(item, files) for key, item in pairs}
    return {key: _unpack(item, files) for key, item in value.items()}
