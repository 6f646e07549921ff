"""Training sequences of the SFT tasks (draw, judge, redraw, edit): pieces with targets; condition dropout.

A lesson is a list of pieces in which some are targets. Knows the templates through `sequences`; not where the
pictures come from (`world_sequences`, or an annotator's export) and no torch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.sequences import (
    Codes,
    NotesAt,
    Piece,
    Pixels,
    Text,
    Tokenizer,
    editing,
    ids,
    invitation,
    opening,
    unconditional,
)
from model.templates import BEGIN_IMAGE, CHECK, EOS


@dataclass(frozen=True)
class TrainingSequence:
    """One training sequence; `weight` scales its loss, `name` says where it comes from."""

    pieces: tuple[Piece, ...]
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True, eq=False)
class Draft:
    """An earlier image of the context and what was said of it. Codes for drawing, pixels for judging.

    `target`: what was said is true, and to be learnt as well; `notes` on the image (both in `judge`). `thought` before
    it, if any, and `drawn`: notes on its codes (both in `draw`: who judges sees no thoughts).
    """

    reflection: str
    codes: tuple[int, ...] = ()
    image: np.ndarray | None = None
    target: bool = False
    notes: JudgeTargets | None = None
    thought: str | None = None
    drawn: NotesAt = ()


@dataclass(frozen=True)
class JudgeTargets:
    """What the network is to know at each position while it looks.

    Nobody reads them when it draws: they teach it to find out, before the verdict, what the verdict is made of. Each at
    a depth of its own, so that what follows from one has layers left to follow in (Lee et al., 2015: deep supervision).
    """

    prompt: NotesAt  # of the user's turn
    patches: NotesAt  # of the image
    check: NotesAt  # of the words of the self-check, but the last, which says the verdict


@dataclass(frozen=True)
class DrawTargets:
    """And while it draws: of the words of the thought, and of every image code, at the position before it."""

    thought: NotesAt = ()
    codes: NotesAt = ()


def draw(
    tokenizer: Tokenizer,
    prompt: str,
    drafts: Sequence[Draft],
    thought: str | None,
    codes: Sequence[int],
    notes: DrawTargets = DrawTargets(),
    *,
    given: bool = False,
) -> TrainingSequence:
    """Task I without drafts, Task III with: the thought (if any) and the image are the targets.

    A `given` thought is a person's: only the image is a target.
    """
    pieces = opening(tokenizer, prompt)
    begin = ids(tokenizer, BEGIN_IMAGE)
    for draft in drafts:
        if draft.thought is not None:
            pieces.append(Text(ids(tokenizer, draft.thought), hideable=True))
        pieces += [Text(begin), Codes(draft.codes, notes=draft.drawn), Text(ids(tokenizer, CHECK))]
        pieces += [Text(ids(tokenizer, draft.reflection)), *invitation(tokenizer)]
    return _drawn(tokenizer, pieces, thought, codes, notes, given=given)


def edit(
    tokenizer: Tokenizer,
    instruction: str,
    source: Sequence[int],
    thought: str | None,
    codes: Sequence[int],
    notes: DrawTargets = DrawTargets(),
    drawn: NotesAt = (),
) -> TrainingSequence:
    """Editing: from the codes of an image (`drawn`: notes on them) and an instruction to the thought (if any) and the
    edited image."""
    pieces = editing(tokenizer, instruction, source)
    seen = (replace(piece, notes=drawn) if isinstance(piece, Codes) else piece for piece in pieces)
    return _drawn(tokenizer, list(seen), thought, codes, notes)


def _drawn(
    tokenizer: Tokenizer,
    pieces: list[Piece],
    thought: str | None,
    codes: Sequence[int],
    notes: DrawTargets,
    *,
    given: bool = False,
) -> TrainingSequence:
    own = thought is not None and not given
    if thought is not None:
        pieces = [*pieces, Text(ids(tokenizer, thought), hideable=True, target=own, notes=notes.thought)]
    begin = Text(ids(tokenizer, BEGIN_IMAGE), target=own, notes=notes.codes[:1])
    return TrainingSequence((*pieces, begin, Codes(tuple(codes), target=True, notes=notes.codes[1:])))


def judge(
    tokenizer: Tokenizer,
    prompt: str,
    drafts: Sequence[Draft],
    image: np.ndarray,
    reflection: str,
    notes: JudgeTargets | None = None,
    *,
    ends: bool = True,
) -> TrainingSequence:
    """Task II: verdict and reason on the last image are the target; notes are taken before. One that does not end is
    only begun: what follows is not taught here.
    """
    *before, turn = opening(tokenizer, prompt)
    pieces = [*before, replace(turn, notes=notes.prompt) if notes else turn]
    for draft in drafts:
        pieces += _looked(tokenizer, draft.image, draft.notes)
        pieces += [Text(ids(tokenizer, draft.reflection), target=draft.target), *invitation(tokenizer)]
    pieces += _looked(tokenizer, image, notes)
    pieces += [Text(ids(tokenizer, reflection + (EOS if ends else "")), target=True)]
    return TrainingSequence(tuple(pieces))


def _looked(tokenizer: Tokenizer, image: np.ndarray, notes: JudgeTargets | None) -> list[Piece]:
    patches, check = (notes.patches, notes.check) if notes else ((), ())
    return [
        Text(ids(tokenizer, BEGIN_IMAGE)),
        Pixels(image, patches),
        Text(ids(tokenizer, CHECK), notes=check),
    ]


def planned(lesson: TrainingSequence) -> TrainingSequence:
    """Without the image after a thought that is to be learnt: what is drawn after a thought is known soon."""
    *before, image = lesson.pieces
    thinks = isinstance(image, Codes) and image.target and before[-1].target
    return replace(lesson, pieces=tuple(before)) if thinks else lesson


def drop_condition(lesson: TrainingSequence, pad: int, rng: random.Random, share: float) -> TrainingSequence:
    """Condition dropout for classifier-free guidance: in `share` of cases prompt and thoughts become pads."""
    if rng.random() >= share:
        return lesson
    hidden = unconditional(lesson.pieces, pad)
    shown = (replace(p, target=False) if isinstance(p, Text) and p.hideable else p for p in hidden)
    return replace(lesson, pieces=tuple(replace(p, notes=()) for p in shown))
