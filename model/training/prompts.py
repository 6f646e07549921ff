"""Prompts of reinforcement learning: a file's, or the embedded world's training split."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from model.world.language import Description, PromptError, parse
from model.world.splits import sample_training


class PromptFileError(ValueError):
    """A file of prompts with a line that cannot be used."""


def prompts_at(step: int, seed: int, count: int, known: Sequence[Description]) -> list[Description]:
    """The descriptions of one step: of a list, by lot, or sampled from the world's training split."""
    rng = random.Random(f"{seed} {step} prompts")
    return [rng.choice(known) if known else sample_training(rng) for _ in range(count)]


def read_prompts(path: Path) -> list[Description]:
    """The prompts of a text file, one per line. Raises PromptFileError for the first line that is none."""
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.strip():
            try:
                found.append(parse(line))
            except PromptError as error:
                raise PromptFileError(f"{path}, line {number}: {error}") from error
    if not found:
        raise PromptFileError(f"{path} holds no prompt; write one per line")
    return found
