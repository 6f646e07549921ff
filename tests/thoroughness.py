"""Of the cases of a parametrised test the suite runs a few; `--all` runs every one."""

from collections.abc import Iterable

import pytest


def few(cases: Iterable[object], *plain: int) -> list[object]:
    """The cases at the places `plain`; the others take part with `--all` only."""
    return [case if place in plain else _thorough(case) for place, case in enumerate(cases)]


def _thorough(case: object) -> object:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.thorough)


ON_SQLITE = pytest.mark.parametrize("url", few(("sqlite", "postgresql"), 0), indirect=True)
ON_POSTGRES = pytest.mark.parametrize("url", few(("sqlite", "postgresql"), 1), indirect=True)
