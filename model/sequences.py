"""The drawing and the judging sequence of a trajectory, as pieces; shared by rollout and training.

The drawing stream: prompt, thought, image codes, self-check, reflection, invitation, thought, image codes, …
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
    """Text tokens. `hideable` ones (the user's words, thoughts) are pads to the unconditional branch."""

    ids: tuple[int, ...]
    hideable: bool = False


@dataclass(frozen=True)
class Codes:
    """Image codes, seen through the generation embeddings."""

    codes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image (H, W, 3) uint8, seen through the understanding embeddings."""

    image: np.ndarray


@dataclass(frozen=True)
class Gap:
    """One position left out."""


@dataclass(frozen=True)
class Rewind:
    """First of what is fed: the last `count` positions are forgotten before."""

    count: int


Piece = Text | Codes | Pixels | Gap | Rewind


def opening(tokenizer: Tokenizer, prompt: str) -> list[Piece]:
    """BOS and the user's turn."""
    return [Text(ids(tokenizer, BOS)), Text(ids(tokenizer, ask(harmless(prompt))), hideable=True)]


def editing(tokenizer: Tokenizer, instruction: str, codes: Sequence[int]) -> list[Piece]:
    """BOS and the user's turn with an image to edit, seen through its codes; only the instruction is hideable."""
    before, between, after = edit()
    return [
        Text(ids(tokenizer, BOS + before)),
        Codes(tuple(codes)),
        Text(ids(tokenizer, between)),
        Text(ids(tokenizer, harmless(instruction)), hideable=True),
        Text(ids(tokenizer, after)),
    ]


def harmless(words: str) -> str:
    """A special token spelled out by a person is broken up, never obeyed."""
    for token in SPECIAL_TOKENS:
        words = words.replace(token, f"{token[0]} {token[1:]}")
    return words


def ids(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.tokenize(text))


def drawing(tokenizer: Tokenizer, segment: Segment) -> list[Piece]:
    """What a finished segment adds to the drawing stream."""
    match segment:
        case Thought():
            return [Text(tuple(t.id for t in segment.tokens), hideable=True)]
        case Image():
            return [Text(ids(tokenizer, BEGIN_IMAGE)), Codes(segment.codes)]
        case Reflection():
            return [*question(tokenizer), Text(tuple(t.id for t in segment.tokens))]
    raise ValueError(f"a {segment.kind} does not follow in a drawing stream")


def looking(tokenizer: Tokenizer, picture: np.ndarray) -> list[Piece]:
    """What a drawn image adds to the judging stream: its pixels, not its codes, and no thought."""
    return [Text(ids(tokenizer, BEGIN_IMAGE)), Pixels(picture)]


def question(tokenizer: Tokenizer) -> list[Piece]:
    """The self-check after an image, in both streams; the verdict follows."""
    return [Text(ids(tokenizer, CHECK))]


def invitation(tokenizer: Tokenizer) -> list[Text]:
    """Between a reflection and the next drawing, in both streams."""
    return [Text(ids(tokenizer, CONNECT))]


def unconditional(pieces: Sequence[Piece], pad: int) -> list[Piece]:
    """The same stream with the prompt and the thoughts turned into pads, which are attended to (Janus)."""
    return [
        replace(piece, ids=(pad,) * len(piece.ids)) if isinstance(piece, Text) and piece.hideable else piece
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
        case Gap() | Rewind():
            return 0
