"""JSON columns, from values or from serialised text."""

import json
from typing import Any


class JsonText(str):
    """Serialised JSON, which JSON columns store as it is."""


def to_json(value: Any) -> str:
    """Serialise a value, unless it is JsonText. Raises ValueError for infinities and NaN."""
    return value if isinstance(value, JsonText) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def sorted_json(value: Any) -> JsonText:
    """Serialise with sorted keys, so that equal values have equal texts. Raises ValueError for infinities and NaN."""
    return JsonText(json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False))
