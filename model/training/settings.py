"""Command-line options from the fields of a settings dataclass."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

Settings = TypeVar("Settings")
BOUNDS = {  # least and most of a setting, wherever there is one of this name
    **dict.fromkeys(("steps", "batch", "micro_batches", "micro_batch", "prompts", "group", "updates"), (1, 10**7)),
    **dict.fromkeys(("warmup", "save_every", "mending", "rehearsal"), (0, 10**7)),
    **dict.fromkeys(("falling", "thinking", "thinking_hard", "learning_rate", "muon"), (0, 1)),
    **dict.fromkeys(("weight_decay", "truth", "rehearsal_share", "beta", "clip_ratio"), (0, 100)),
    **dict.fromkeys(("naming_steps", "most_characters", "most_tokens"), (0, 10**9)),
    "rounds": (1, 16),
    "clip": (1e-9, 1e9),
    "most_megapixels": (1e-6, 1e4),
    "threads": (1, 1024),
    "seed": (-(2**62), 2**62),
}


def add_settings(
    parser: argparse.ArgumentParser, defaults: Settings, choices: Mapping[str, Sequence[str]] | None = None
) -> None:
    """An option for every field, with its default; a flag for one that is False."""
    for name, default in asdict(defaults).items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            parser.add_argument(option, action="store_true")
        else:
            kind = bounded(type(default), *BOUNDS[name]) if name in BOUNDS else type(default)
            parser.add_argument(option, type=kind, default=default, choices=(choices or {}).get(name))


def bounded(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """A reader of numbers from `least` to `most`, for argparse."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            wanted = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"got {text}, wanted {wanted} from {least:g} to {most:g}")
        return value

    return read


def settings_of(arguments: argparse.Namespace, defaults: Settings) -> Settings:
    """What was chosen."""
    return type(defaults)(**{name: getattr(arguments, name) for name in asdict(defaults)})
