"""What can be asked of a network: one trajectory to make, and the room it may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import uuid4

import numpy as np

from model.janus import Janus
from model.streams import opening
from model.trajectory import Parent, Sampling, Segment
from model.world.taught import as_taught, edit_as_taught

MOST_THOUGHT_TOKENS = 96
MOST_REFLECTION_TOKENS = 80  # Janus-Pro-R1's own limit
MOST_PROMPT_TOKENS = 200  # Janus-Pro-R1 cuts here; we refuse
MOST_SETTING = 1000  # guidance and temperatures: far beyond any use, and no logit overflows
MOST_ROUNDS = 16  # every one of which may leave out a position
STREAMS = 3  # drawing, its twin, judging


class PromptError(ValueError):
    """A prompt that cannot be drawn; the message says what to do."""


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
    sampling: Sampling | None = None  # None: the checkpoint's own
    preview_every: int | None = 4  # image codes between previews, at the least; None: only the finished picture
    stop: Callable[[], bool] = field(default=lambda: False, compare=False)  # asked between tokens
    task: Task = Task.DRAW
    source: np.ndarray | None = field(default=None, compare=False)  # (H, W, 3) uint8, to edit or to judge
    given: tuple[Segment, ...] = ()  # the beginning, to go on from: a branch of `parent`
    pictures: Mapping[str, bytes] = field(default_factory=dict, compare=False)  # PNGs of given images, by hash
    parent: Parent | None = None
    id: str = field(default_factory=lambda: uuid4().hex, compare=False)


def words_of(janus: Janus, prompt: str, task: Task = Task.DRAW) -> str:
    """What the network reads of a prompt: the embedded one in the wording that it was taught."""
    if not janus.embedded_world:
        return prompt
    return edit_as_taught(prompt) if task is Task.EDIT else as_taught(prompt)


def check_prompt(janus: Janus, prompt: str) -> None:
    """Raises PromptError for a prompt that is empty or longer than the network was made for."""
    if not prompt.strip():
        raise PromptError("The prompt is empty: say what to draw, for example “two red apples above a blue car”.")
    if len(prompt) > 20 * MOST_PROMPT_TOKENS:
        raise PromptError(
            f"The prompt has {len(prompt):,} characters; at most {20 * MOST_PROMPT_TOKENS:,} are read. Shorten it."
        )
    count = sum(len(piece.ids) for piece in opening(janus, words_of(janus, prompt)))
    if count > MOST_PROMPT_TOKENS:
        raise PromptError(f"The prompt has {count} tokens; at most {MOST_PROMPT_TOKENS} are read. Shorten it.")


def check_request(janus: Janus, request: Request) -> None:
    """Raises PromptError for one that cannot be made: its prompt, its rounds, or a setting that is no number."""
    check_prompt(janus, request.prompt)
    if not 1 <= request.rounds <= MOST_ROUNDS:
        raise PromptError(f"{request.rounds} rounds are asked for; give 1 to {MOST_ROUNDS}.")
    sampling = request.sampling or janus.sampling
    for name in ("guidance", "temperature", "text_temperature"):
        value = getattr(sampling, name)
        if not 0 <= value <= MOST_SETTING:  # nor is nan
            raise PromptError(f"The {name.replace('_', ' ')} is {value!s:.40}; give a number from 0 to {MOST_SETTING}.")


def longest(janus: Janus, request: Request) -> int:
    """Positions a stream of this request can grow to."""
    start = sum(len(piece.ids) for piece in opening(janus, words_of(janus, request.prompt, request.task)))
    rounds = request.rounds if request.task is Task.DRAW else 2  # an edit reads one image and draws one
    return most_positions(janus.image_codes, rounds) - MOST_PROMPT_TOKENS + start


def most_positions(image_codes: int, rounds: int) -> int:
    """Positions a stream of any request of so many rounds can grow to."""
    fixed = 64  # self-check and invitation, or what stands around a source
    each = MOST_THOUGHT_TOKENS + image_codes + MOST_REFLECTION_TOKENS + fixed
    return MOST_PROMPT_TOKENS + rounds * each


def streams_needed(janus: Janus, request: Request) -> int:
    """Without guidance the drawing stream needs no twin."""
    return STREAMS - 1 + ((request.sampling or janus.sampling).guidance != 1)
