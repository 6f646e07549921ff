"""A request for one trajectory, and the checks that all backends share. No torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from model.reflection_text import control_character, is_blank
from model.trajectory import Parent, Sampling, Segment

MOST_PROMPT_CHARACTERS = 4000
MOST_THOUGHT_TOKENS = 96
MOST_REFLECTION_TOKENS = 80  # Janus-Pro-R1's own limit
MOST_ROUNDS = 16
MOST_SETTING = 1000  # guidance and temperatures: far beyond any use, and no logit overflows


class RequestError(ValueError):
    """A request that a backend cannot carry out; the message says what to do."""


class Task(StrEnum):
    """What a trajectory is for."""

    DRAW = "draw"  # what the prompt says, and judge it, and draw again
    EDIT = "edit"  # the source, as the prompt instructs
    JUDGE = "judge"  # whether the source shows what the prompt says


@dataclass(frozen=True)
class Request:
    """One trajectory to make."""

    prompt: str
    seed: int = 0
    rounds: int = 3  # images at most
    sampling: Sampling | None = None  # None: the backend's own
    preview_every: int | None = 4  # image codes between previews, at the least; None: only the finished picture
    stop: Callable[[], bool] = field(default=lambda: False, compare=False)  # asked between steps
    task: Task = Task.DRAW
    source: np.ndarray | None = field(default=None, compare=False)  # (H, W, 3) uint8, to edit or to judge
    prefix: tuple[Segment, ...] = ()  # the beginning, to go on from: a branch of `parent`
    pictures: Mapping[str, bytes] = field(default_factory=dict, compare=False)  # PNGs of given images, by hash
    parent: Parent | None = None
    log_probs: bool = False  # whether to tell the log-probabilities of sampled tokens, where the backend knows them
    session: str = field(default="", compare=False)  # whose it is: replicas keep the requests of one together
    id: str = field(default_factory=lambda: uuid4().hex, compare=False)


class NumberBounds(NamedTuple):
    """The least and the most that a number of a request may be."""

    least: float
    most: float
    whole: bool = False


BOUNDS = {
    "seed": NumberBounds(0, 2**63 - 1, whole=True),
    "number of rounds": NumberBounds(1, MOST_ROUNDS, whole=True),
    "guidance": NumberBounds(0, MOST_SETTING),
    "temperature": NumberBounds(0, MOST_SETTING),
    "text temperature": NumberBounds(0, MOST_SETTING),
    "top k": NumberBounds(1, 2**31, whole=True),
    "text top k": NumberBounds(1, 2**31, whole=True),
}


def check_values(request: Request, default: Sampling, image_size: int) -> None:
    """Raises RequestError for a prompt that is no text or empty, numbers out of bounds, or a source that is no picture
    of `image_size` pixels per side."""
    check_prompt(request.prompt)
    check_number("seed", request.seed)
    check_number("number of rounds", request.rounds)
    sampling = request.sampling or default
    for name in ("guidance", "temperature", "text_temperature"):
        check_number(name.replace("_", " "), getattr(sampling, name))
    for name in ("top_k", "text_top_k"):
        if (value := getattr(sampling, name)) is not None:
            check_number(name.replace("_", " "), value)
    if request.task is not Task.DRAW:
        check_pixels(request.source, image_size)


def check_number(name: str, value: Any, bounds: NumberBounds | None = None) -> None:
    """Raises RequestError for what is no number within `bounds`, those of BOUNDS unless given."""
    least, most, whole = bounds or BOUNDS[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and least <= value <= most and (not whole or value == int(value))):
        expected = f"a {'whole ' if whole else ''}number from {least} to {most}"
        raise RequestError(f"The {name} is {shortened(value)}; give {expected}.")


def shortened(value: Any) -> str:
    """A value in a message; Python does not write out integers of any length."""
    try:
        return str(value)[:40]
    except ValueError:
        return "a number of thousands of digits"


def check_text(name: str, text: Any) -> None:
    """Raises RequestError for what is no text: control characters, halves of surrogate pairs."""
    if not isinstance(text, str):
        raise RequestError(f"The {name} is {shortened(text)}; give a text.")
    if (at := control_character(text)) is not None:
        raise RequestError(f"Character {at + 1} of the {name} is no text (U+{ord(text[at]):04X}); remove it.")


def check_prompt(prompt: str) -> None:
    """Raises RequestError for a prompt that is no text, empty or too long."""
    check_text("prompt", prompt)
    if is_blank(prompt):
        raise RequestError("The prompt is empty: say what to draw, for example “two red apples above a blue car”.")
    if len(prompt) > MOST_PROMPT_CHARACTERS:
        raise RequestError(
            f"The prompt has {len(prompt):,} characters; at most {MOST_PROMPT_CHARACTERS:,} are read. Shorten it."
        )


def check_pixels(pixels: Any, size: int) -> None:
    """Raises RequestError for what is no picture (size, size, 3) uint8."""
    shape, kind = getattr(pixels, "shape", None), getattr(pixels, "dtype", None)
    if shape != (size, size, 3) or kind != np.uint8:
        got = "no picture" if shape is None else f"a picture of shape {shape}, {kind}"
        raise RequestError(f"This network looks at pictures of {size}×{size} pixels in RGB, 8 bits each; got {got}.")


def is_index(value: Any, count: int) -> bool:
    return isinstance(value, int | np.integer) and 0 <= value < count
