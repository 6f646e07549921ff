"""JSON columns, from values or from serialised text."""

from __future__ import annotations

import json
from typing import Any


class JsonText(str):
    """A text of JSON: a column keeps it as it is, so that nothing is written twice."""


def to_json(value: Any) -> str:
    """The text of values that JSON knows. Raises ValueError for infinities and NaN."""
    return value if isinstance(value, JsonText) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def sorted_json(value: Any) -> JsonText:
    """The same, with the names of objects in their order: equal for equal values. Raises ValueError."""
    return JsonText(json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False))
