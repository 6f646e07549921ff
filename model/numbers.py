"""Validation of numbers from outside."""

import math
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it is a finite float, or an int that a float can hold; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int above 1.8e308
        return False
