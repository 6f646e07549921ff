"""Branches: a trajectory up to a segment, that segment replaced by a person's, and the rollout from there.

Values in, values out: what comes of it is a `Request` with a `prefix` of segments and a `Parent`. What a person wrote
or changed carries that origin, token by token, so that training can tell it from what the model did.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from model.backends.contract import Backend
from model.backends.request import (
    MOST_REFLECTION_TOKENS,
    MOST_THOUGHT_TOKENS,
    RequestError,
    check_text,
    is_index,
    shortened,
)
from model.reflection_text import sentence
from model.sequences import escape_special_tokens
from model.trajectory import Image, Origin, Parent, Reflection, Segment, Thought, Token, Trajectory

MOST_CHARACTERS = 600  # of a thought or a reason that a person writes


class BranchError(ValueError):
    """A change that a trajectory does not allow; the message says which it would."""


@dataclass(frozen=True)
class Branch:
    """What a branch begins with, and where it leaves its parent."""

    prefix: tuple[Segment, ...]
    parent: Parent

    @property
    def images(self) -> int:
        return sum(isinstance(segment, Image) for segment in self.prefix)


def afresh(trajectory: Trajectory, segment: int) -> Branch:
    """From before a segment on, with whatever seed."""
    _segment(trajectory, segment)
    return Branch(trajectory.segments[:segment], Parent(trajectory.id, segment, 0))


def with_thought(backend: Backend, trajectory: Trajectory, segment: int, text: str) -> Branch:
    """Another thought; the drawing follows it."""
    _finished(trajectory, segment, Thought)
    return _branch(trajectory, segment, written_thought(backend, text))


def with_reflection(backend: Backend, trajectory: Trajectory, segment: int, answer: str, reason: str) -> Branch:
    """Another verdict or reason; after a no, the next drawing answers it."""
    before = _finished(trajectory, segment, Reflection)
    if answer not in ("yes", "no"):
        raise BranchError(f"got the verdict {answer[:20]!r}; it is “yes” or “no”")
    why = reason.lstrip(" ,\n") if reason.strip(" ,.\n") else ""
    tokens = _tokens(backend, sentence(answer, _checked(why) if why else ""), MOST_REFLECTION_TOKENS)
    return _branch(trajectory, segment, Reflection(answer, before.p_yes, tokens))


def with_codes(backend: Backend, trajectory: Trajectory, segment: int, changed: Mapping[int, int]) -> Branch:
    """Other image codes at some raster indices (a planted mistake); the model looks at what they show."""
    image = _finished(trajectory, segment, Image)
    if not changed:
        raise BranchError("no patch is changed; choose at least one")
    able = backend.capabilities
    if not able.codes:
        raise BranchError(f"the images of {backend.name} have no codes to change; try another seed")
    if len(image.codes) != able.codes:
        raise BranchError(f"it has {len(image.codes)} image codes, {backend.name} draws {able.codes}")
    known = len(image.origins) == len(image.codes)
    codes, origins = list(image.codes), list(image.origins if known else (Origin.SAMPLED,) * len(image.codes))
    patches, most = len(codes) - 1, able.codebook - 1
    for index, code in changed.items():
        if not (is_index(index, len(codes)) and is_index(code, able.codebook)):
            raise BranchError(
                f"got code {shortened(code)} for patch {shortened(index)}; "
                f"patches are 0 to {patches}, codes 0 to {most}"
            )
        codes[index], origins[index] = code, Origin.PERSON
    other = replace(image, codes=tuple(codes), origins=tuple(origins), sha256=None)
    return _branch(trajectory, segment, other, min(changed))


def with_perturbation(backend: Backend, trajectory: Trajectory, picture: np.ndarray, rng: random.Random) -> Branch:
    """Its last image, `picture` (H, W, 3) uint8, with one object changed, as a first draft: with the thought before it,
    without the rounds before that, so that nothing but the image says what is wrong."""
    images = [index for index, segment in enumerate(trajectory.segments) if isinstance(segment, Image)]
    if not images:
        raise BranchError("nothing has been drawn yet")
    last = _finished(trajectory, images[-1], Image)
    try:
        changed = backend.domain.perturb(rng, trajectory.prompt, picture, last.codes)
    except ValueError as error:
        raise BranchError(str(error)) from error
    branch = with_codes(backend, trajectory, images[-1], changed)
    planned = images[-1] > 0 and isinstance(trajectory.segments[images[-1] - 1], Thought)
    return Branch(branch.prefix[-2 if planned else -1 :], branch.parent)


def written_thought(backend: Backend, text: str) -> Thought:
    """A thought in a person's words."""
    return Thought(_tokens(backend, " " + _checked(text), MOST_THOUGHT_TOKENS))


def _branch(trajectory: Trajectory, at: int, segment: Segment, token: int = 0) -> Branch:
    return Branch((*trajectory.segments[:at], segment), Parent(trajectory.id, at, token))


def _segment(trajectory: Trajectory, at: int) -> Segment:
    if not 0 <= at < len(trajectory.segments):
        raise BranchError(f"there is no segment {at}; this drawing has {len(trajectory.segments)}, counted from 0")
    return trajectory.segments[at]


Kind = TypeVar("Kind", Thought, Image, Reflection)


def _finished(trajectory: Trajectory, at: int, kind: type[Kind]) -> Kind:
    segment = _segment(trajectory, at)
    if not (isinstance(segment, kind) and segment.finished):
        raise BranchError(f"segment {at} is no finished {kind.kind}")
    return segment


def _checked(text: str) -> str:
    if not text.strip():
        raise BranchError("nothing is written; write a few words")
    if len(text) > MOST_CHARACTERS:
        raise BranchError(f"got {len(text):,} characters; at most {MOST_CHARACTERS} are read")
    try:
        check_text("text", text)
    except RequestError as error:
        raise BranchError(str(error).rstrip(".")) from error
    return escape_special_tokens(text.strip())


def _tokens(backend: Backend, text: str, most: int) -> tuple[Token, ...]:
    tokens = backend.tokens(text)
    if len(tokens) > most:
        raise BranchError(f"this has {len(tokens)} words and parts of words; at most {most} are read, so shorten it")
    return tokens
