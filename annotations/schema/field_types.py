"""Type checks of dataclass fields from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from model.numbers import is_number

ATOMS = {int, float, str, bool, NoneType}


def misfit(value: Any, wanted: Any, place: str = "") -> str | None:
    """Where a value, or a part of it, is of another type than wanted, such as “segments[0].p_yes is 'x'”; or None."""
    if _check(wanted)(value):
        return None
    if wanted in ATOMS:
        return None if _fits(value, wanted) else f"{place} is {value!r:.60}"
    if get_origin(wanted) in (Union, UnionType):
        found = [misfit(value, one, place) for one in get_args(wanted)]
        exact = (
            of for one, of in zip(get_args(wanted), found, strict=True) if is_dataclass(one) and type(value) is one
        )
        return None if None in found else next(exact, f"{place} is {value!r:.60}")
    if get_origin(wanted) is tuple:
        if not isinstance(value, tuple):
            return f"{place} is {value!r:.60}"
        parts = (misfit(one, get_args(wanted)[0], f"{place}[{index}]") for index, one in enumerate(value))
        return next((part for part in parts if part), None)
    if isinstance(value, wanted) and (is_dataclass(wanted) or hasattr(wanted, "_fields")):
        hints = _hints(wanted)
        parts = (misfit(getattr(value, name), hint, f"{place}.{name}".lstrip(".")) for name, hint in hints.items())
        return next((part for part in parts if part), None)
    return None if _fits(value, wanted) else f"{place} is {value!r:.60}"


@cache
def _check(wanted: Any) -> Callable[[Any], bool]:
    """Whether a value fits, without saying where it does not; thousands of values are asked about."""
    if wanted is int:
        return lambda value: type(value) is int or _fits(value, int)
    if wanted is str:
        return lambda value: type(value) is str and value.isascii() and "\0" not in value or _fits(value, str)
    if get_origin(wanted) in (Union, UnionType):
        checks = {one: _check(one) for one in get_args(wanted)}
        return lambda value: (
            ((own := checks.get(type(value))) is not None and own(value))
            or any(check(value) for check in checks.values())
        )
    if get_origin(wanted) is tuple:
        each = _check_all(get_args(wanted)[0])
        return lambda value: isinstance(value, tuple) and each(value)
    if is_dataclass(wanted) or hasattr(wanted, "_fields"):
        parts = [(attrgetter(name), _check(hint)) for name, hint in _hints(wanted).items()]
        return lambda value: isinstance(value, wanted) and all(check(of(value)) for of, check in parts)
    return lambda value: _fits(value, wanted)


@cache
def _check_all(wanted: Any) -> Callable[[tuple[Any, ...]], bool]:
    """The same of all values of a tuple: of a thousand codes or words in a few calls, where nothing is wrong."""
    each = _check(wanted)
    if wanted is int or (isinstance(wanted, type) and issubclass(wanted, Enum)):
        return lambda values: set(map(type, values)) <= {wanted} or all(map(each, values))
    if wanted is str:
        return lambda values: (
            (set(map(type, values)) <= {str} and (text := "".join(values)).isascii() and "\0" not in text)
            or all(map(each, values))
        )
    if hasattr(wanted, "_fields"):
        columns = [_check_all(hint) for hint in _hints(wanted).values()]
        return lambda values: (
            set(map(type, values)) <= {wanted}
            and all(check(column) for check, column in zip(columns, zip(*values, strict=True), strict=bool(values)))
        )
    return lambda values: all(map(each, values))


@cache
def _hints(wanted: type) -> dict[str, Any]:
    """The declared types by field; of a dataclass only its fields."""
    names = {one.name for one in fields(wanted)} if is_dataclass(wanted) else set(wanted._fields)
    return {name: hint for name, hint in get_type_hints(wanted).items() if name in names}


def _fits(value: Any, wanted: Any) -> bool:
    if wanted is None or wanted is NoneType:
        return value is None
    if wanted is float:
        return is_number(value)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted is str and isinstance(value, str) and not isinstance(value, Enum):
        return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, wanted)
