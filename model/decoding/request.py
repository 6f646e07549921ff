"""A request for one trajectory: bounds of its parameters, and the cache positions it may need."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from model.backends.janus import Janus
from model.images import read_rgb
from model.sequences import opening
from model.trajectory import Image, Parent, Reflection, Sampling, Segment, Source, Thought, Token
from model.world.known_prompts import as_taught, edit_as_taught

MOST_THOUGHT_TOKENS = 96
MOST_REFLECTION_TOKENS = 80  # Janus-Pro-R1's own limit
MOST_PROMPT_TOKENS = 200  # Janus-Pro-R1 cuts here; we refuse
MOST_ROUNDS = 16  # every one of which may leave out a position
STREAMS = 3  # drawing, its twin, judging


MOST_SETTING = 1000  # guidance and temperatures: far beyond any use, and no logit overflows


class PromptError(ValueError):
    """A request that cannot be drawn; the message says what to do."""


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


def check_number(name: str, value: Any, bounds: NumberBounds | None = None) -> None:
    """Raises PromptError for what is no number within `bounds`, those of BOUNDS unless given."""
    least, most, whole = bounds or BOUNDS[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and least <= value <= most and (not whole or value == int(value))):
        wanted = f"a {'whole ' if whole else ''}number from {least} to {most}"
        raise PromptError(f"The {name} is {shortened(value)}; give {wanted}.")


def shortened(value: Any) -> str:
    """A value in a message; Python does not write out integers of any length."""
    try:
        return str(value)[:40]
    except ValueError:
        return "a number of thousands of digits"


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


def check_text(name: str, text: Any) -> None:
    """Raises PromptError for what is no text: control characters, halves of surrogate pairs."""
    if not isinstance(text, str):
        raise PromptError(f"The {name} is {shortened(text)}; give a text.")
    for place, letter in enumerate(text, start=1):
        if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\t\n\r":
            raise PromptError(f"Character {place} of the {name} is no text (U+{ord(letter):04X}); remove it.")


def check_prompt(janus: Janus, prompt: str) -> None:
    """Raises PromptError for a prompt that is no text, empty or longer than the network was made for."""
    check_text("prompt", prompt)
    if all(letter.isspace() or unicodedata.category(letter) == "Cf" for letter in prompt):
        raise PromptError("The prompt is empty: say what to draw, for example “two red apples above a blue car”.")
    if len(prompt) > 20 * MOST_PROMPT_TOKENS:
        raise PromptError(
            f"The prompt has {len(prompt):,} characters; at most {20 * MOST_PROMPT_TOKENS:,} are read. Shorten it."
        )
    count = sum(len(piece.ids) for piece in opening(janus, words_of(janus, prompt)))
    if count > MOST_PROMPT_TOKENS:
        raise PromptError(f"The prompt has {count} tokens; at most {MOST_PROMPT_TOKENS} are read. Shorten it.")


def check_request(janus: Janus, request: Request) -> None:
    """Raises PromptError for one that cannot be made, and says what of it: nothing else of a request is checked later,
    when it is one row among others'.
    """
    check_prompt(janus, request.prompt)
    check_number("seed", request.seed)
    check_number("number of rounds", request.rounds)
    sampling = request.sampling or janus.sampling
    for name in ("guidance", "temperature", "text_temperature"):
        check_number(name.replace("_", " "), getattr(sampling, name))
    for name in ("top_k", "text_top_k"):
        if (value := getattr(sampling, name)) is not None:
            check_number(name.replace("_", " "), value)
    if request.task is not Task.DRAW:
        check_pixels(janus, request.source)
    elif request.given:
        check_given(janus, request)


def check_pixels(janus: Janus, pixels: Any) -> None:
    """Raises PromptError for what is no picture (H, W, 3) uint8 of the network's size."""
    size = janus.image_size
    shape, kind = getattr(pixels, "shape", None), getattr(pixels, "dtype", None)
    if shape != (size, size, 3) or kind != np.uint8:
        got = "no picture" if shape is None else f"a picture of shape {shape}, {kind}"
        raise PromptError(f"This network looks at pictures of {size}×{size} pixels in RGB, 8 bits each; got {got}.")


def check_given(janus: Janus, request: Request) -> None:
    """Raises PromptError for a beginning that this network cannot go on from: a drawing that came from elsewhere may
    have other codes, sizes and lengths."""
    order, turn = (Thought, Image, Reflection), 0
    for number, segment in enumerate(request.given):
        if isinstance(segment, Source) or not segment.finished:
            raise PromptError(f"Part {number + 1} of the drawing is unfinished or was given; nothing can follow it.")
        turn += turn == 0 and isinstance(segment, Image)  # without a thought
        if not isinstance(segment, order[turn]):
            raise PromptError(f"Part {number + 1} of the drawing is a {segment.kind}; that cannot stand there.")
        turn = (turn + 1) % len(order)
        if isinstance(segment, Image):
            check_image(janus, request, segment)
        else:
            most = MOST_THOUGHT_TOKENS if isinstance(segment, Thought) else MOST_REFLECTION_TOKENS
            check_tokens(janus, segment.kind, segment.tokens, most)
    images = sum(isinstance(segment, Image) for segment in request.given)
    if images > request.rounds:
        raise PromptError(f"The drawing begins with {images} images, and {request.rounds} rounds are asked for.")


def check_tokens(janus: Janus, kind: str, tokens: tuple[Token, ...], most: int) -> None:
    vocabulary = janus.network.config.text_config.vocab_size
    if len(tokens) > most:
        raise PromptError(f"The {kind} has {len(tokens)} tokens; at most {most} are read.")
    for token in tokens:
        if not is_index(token.id, vocabulary):
            raise PromptError(f"The {kind} has the token {shortened(token.id)}; there are 0 to {vocabulary - 1}.")


def check_image(janus: Janus, request: Request, image: Image) -> None:
    if len(image.codes) != janus.image_codes:
        raise PromptError(
            f"An image of the drawing has {len(image.codes)} image codes, {janus.name} draws {janus.image_codes}: "
            "it was made by another network, and this one cannot go on from it."
        )
    for code in image.codes:
        if not is_index(code, janus.codebook_size):
            raise PromptError(
                f"An image of the drawing has the code {shortened(code)}; "
                f"{janus.name} has 0 to {janus.codebook_size - 1}."
            )
    png = request.pictures.get(image.sha256)
    if png is not None:
        try:
            pixels = np.asarray(read_rgb(io.BytesIO(png)))
        except (OSError, ValueError) as error:
            raise PromptError(f"A picture of the drawing cannot be read: {error}.") from error
        check_pixels(janus, pixels)


def is_index(value: Any, count: int) -> bool:
    return isinstance(value, int | np.integer) and 0 <= value < count


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
