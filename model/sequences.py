"""The drawing and the judging sequence of a trajectory, as pieces; shared by rollout and training.

The drawing stream: prompt, thought, image codes, self-check, reflection, prompt to redraw, thought, image codes, …
The judging stream: the same without thoughts, and with pixels where the other has codes.

A stream is a list of pieces. It knows ids and pixels, not embeddings: no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from model.templates import BEGIN_IMAGE, BOS, CHECK, CONNECT, SPECIAL_TOKENS, ask, edit
from model.trajectory import Image, Reflection, Segment, Thought


class Tokenizer(Protocol):
    """Text → token ids; special tokens in the text are recognised, none is added."""

    def tokenize(self, text: str) -> list[int]: ...


@dataclass(frozen=True)
class Text:
    """Text tokens. `cfg_masked` ones (the user's words, thoughts) are pads in the unconditional branch of guidance."""

    ids: tuple[int, ...]
    cfg_masked: bool = False


@dataclass(frozen=True)
class Codes:
    """Image codes, seen through the generation embeddings."""

    codes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image (H, W, 3) uint8, seen through the understanding embeddings."""

    image: np.ndarray


@dataclass(frozen=True)
class SkipPosition:
    """One position that no token takes: the next one comes after it."""


@dataclass(frozen=True)
class Rewind:
    """First of what is fed: the last `count` positions are forgotten before."""

    count: int


Piece = Text | Codes | Pixels | SkipPosition | Rewind


def prompt_pieces(tokenizer: Tokenizer, prompt: str) -> list[Piece]:
    """BOS and the user's turn."""
    return [Text(ids(tokenizer, BOS)), Text(ids(tokenizer, ask(escape_special_tokens(prompt))), cfg_masked=True)]


def edit_prompt_pieces(tokenizer: Tokenizer, instruction: str, codes: Sequence[int]) -> list[Piece]:
    """BOS and the user's turn with an image to edit, seen through its codes; only the instruction is masked."""
    before, between, after = edit()
    return [
        Text(ids(tokenizer, BOS + before)),
        Codes(tuple(codes)),
        Text(ids(tokenizer, between)),
        Text(ids(tokenizer, escape_special_tokens(instruction)), cfg_masked=True),
        Text(ids(tokenizer, after)),
    ]


def escape_special_tokens(words: str) -> str:
    """Text of a person without special tokens: where one is spelled out, a space stands behind its first character."""
    for token in SPECIAL_TOKENS:
        words = words.replace(token, f"{token[0]} {token[1:]}")
    return words


def ids(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.tokenize(text))


def segment_pieces(tokenizer: Tokenizer, segment: Segment) -> list[Piece]:
    """What a finished segment adds to the drawing stream."""
    match segment:
        case Thought():
            return [Text(tuple(t.id for t in segment.tokens), cfg_masked=True)]
        case Image():
            return [Text(ids(tokenizer, BEGIN_IMAGE)), Codes(segment.codes)]
        case Reflection():
            return [*self_check_pieces(tokenizer), Text(tuple(t.id for t in segment.tokens))]
    raise ValueError(f"a {segment.kind} does not follow in a drawing stream")


def image_pixel_pieces(tokenizer: Tokenizer, picture: np.ndarray) -> list[Piece]:
    """What a drawn image adds to the judging stream: its pixels, not its codes, and no thought."""
    return [Text(ids(tokenizer, BEGIN_IMAGE)), Pixels(picture)]


def self_check_pieces(tokenizer: Tokenizer) -> list[Piece]:
    """The self-check after an image, in both streams; the verdict follows."""
    return [Text(ids(tokenizer, CHECK))]


def redraw_prompt_pieces(tokenizer: Tokenizer) -> list[Text]:
    """Between a reflection and the next drawing, in both streams."""
    return [Text(ids(tokenizer, CONNECT))]


def unconditional(pieces: Sequence[Piece], pad: int) -> list[Piece]:
    """The same stream with the prompt and the thoughts turned into pads, which are attended to (Janus)."""
    return [
        replace(piece, ids=(pad,) * len(piece.ids)) if isinstance(piece, Text) and piece.cfg_masked else piece
        for piece in pieces
    ]


def size(piece: Piece, image_codes: int) -> int:
    """Tokens of a piece, each of which takes a position."""
    match piece:
        case Text():
            return len(piece.ids)
        case Codes():
            return len(piece.codes)
        case Pixels():
            return image_codes
        case SkipPosition() | Rewind():
            return 0
