"""Type checks of dataclass fields from outside."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from model.examples import is_number

ATOMS = {int, float, str, bool, NoneType}


def misfit(value: Any, expected: Any, place: str = "") -> str | None:
    """Where a value, or a part of it, is of another type than wanted, such as “segments[0].p_yes is 'x'”; or None."""
    if _check(expected)(value):
        return None
    if expected in ATOMS:
        return None if _fits(value, expected) else f"{place} is {value!r:.60}"
    if get_origin(expected) in (Union, UnionType):
        misfits = [misfit(value, option, place) for option in get_args(expected)]
        exact = (
            of
            for option, of in zip(get_args(expected), misfits, strict=True)
            if is_dataclass(option) and type(value) is option
        )
        return None if None in misfits else next(exact, f"{place} is {value!r:.60}")
    if get_origin(expected) is tuple:
        if not isinstance(value, tuple):
            return f"{place} is {value!r:.60}"
        parts = (misfit(option, get_args(expected)[0], f"{place}[{index}]") for index, option in enumerate(value))
        return next((part for part in parts if part), None)
    if isinstance(value, expected) and (is_dataclass(expected) or hasattr(expected, "_fields")):
        hints = _hints(expected)
        parts = (misfit(getattr(value, name), hint, f"{place}.{name}".lstrip(".")) for name, hint in hints.items())
        return next((part for part in parts if part), None)
    return None if _fits(value, expected) else f"{place} is {value!r:.60}"


@cache
def _check(expected: Any) -> Callable[[Any], bool]:
    """Whether a value fits, without saying where it does not: fast, for thousands of values."""
    if expected is int:
        return lambda value: type(value) is int or _fits(value, int)
    if expected is str:
        return lambda value: type(value) is str and value.isascii() and "\0" not in value or _fits(value, str)
    if get_origin(expected) in (Union, UnionType):
        checks = {option: _check(option) for option in get_args(expected)}
        return lambda value: (
            ((own := checks.get(type(value))) is not None and own(value))
            or any(check(value) for check in checks.values())
        )
    if get_origin(expected) is tuple:
        each = _check_all(get_args(expected)[0])
        return lambda value: isinstance(value, tuple) and each(value)
    if is_dataclass(expected) or hasattr(expected, "_fields"):
        parts = [(attrgetter(name), _check(hint)) for name, hint in _hints(expected).items()]
        return lambda value: isinstance(value, expected) and all(check(of(value)) for of, check in parts)
    return lambda value: _fits(value, expected)


@cache
def _check_all(expected: Any) -> Callable[[tuple[Any, ...]], bool]:
    """The same of all values of a tuple: of a thousand codes or words in a few calls, where nothing is wrong."""
    each = _check(expected)
    if expected is int or (isinstance(expected, type) and issubclass(expected, Enum)):
        return lambda values: set(map(type, values)) <= {expected} or all(map(each, values))
    if expected is str:
        return lambda values: (
            (set(map(type, values)) <= {str} and (text := "".join(values)).isascii() and "\0" not in text)
            or all(map(each, values))
        )
    if hasattr(expected, "_fields"):
        columns = [_check_all(hint) for hint in _hints(expected).values()]
        return lambda values: (
            set(map(type, values)) <= {expected}
            and all(check(column) for check, column in zip(columns, zip(*values, strict=True), strict=bool(values)))
        )
    return lambda values: all(map(each, values))


@cache
def _hints(expected: type) -> dict[str, Any]:
    """The declared types by field; of a dataclass only its fields."""
    names = {field.name for field in fields(expected)} if is_dataclass(expected) else set(expected._fields)
    return {name: hint for name, hint in get_type_hints(expected).items() if name in names}


def _fits(value: Any, expected: Any) -> bool:
    if expected is None or expected is NoneType:
        return value is None
    if expected is float:
        return is_number(value)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if expected is str and isinstance(value, str) and not isinstance(value, Enum):
        return is_storable(value)
    return isinstance(value, expected)


def is_storable(text: str) -> bool:
    """Whether every database keeps all characters of it."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)
