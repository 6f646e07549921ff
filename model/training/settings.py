"""A run's settings on the command line: every field of its dataclass is an option."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

Settings = TypeVar("Settings")


def add_settings(
    parser: argparse.ArgumentParser, defaults: Settings, choices: Mapping[str, Sequence[str]] | None = None
) -> None:
    """An option for every field, with its default; a flag for one that is False."""
    for name, default in asdict(defaults).items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=type(default), default=default, choices=(choices or {}).get(name))


def settings_of(arguments: argparse.Namespace, defaults: Settings) -> Settings:
    """What was chosen."""
    return type(defaults)(**{name: getattr(arguments, name) for name in asdict(defaults)})
