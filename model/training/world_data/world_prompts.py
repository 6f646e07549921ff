"""Prompts of the embedded world for reinforcement learning: a file's lines, or samples of the training split."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from model.training.rollouts import Prompt
from model.world.language import Description, PromptError, category_of, parse, write
from model.world.splits import HARD, sample_training


class PromptFileError(ValueError):
    """A file of prompts with a line that cannot be used."""


def world_prompts(seed: int, count: int, known: Sequence[Prompt] = ()) -> Callable[[int], list[Prompt]]:
    """The prompts of a step: `count` of those known, or sampled from the world's training split."""

    def prompts(step: int) -> list[Prompt]:
        rng = random.Random(f"{seed} {step} prompts")
        return [rng.choice(known) if known else _prompt(sample_training(rng)) for _ in range(count)]

    return prompts


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a text file, one per line. Raises PromptFileError for the first line that is none."""
    prompts = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.strip():
            try:
                prompts.append(_prompt(parse(line)))
            except PromptError as error:
                raise PromptFileError(f"{path}, line {number}: {error}") from error
    if not prompts:
        raise PromptFileError(f"{path} holds no prompt; write one per line")
    return prompts


def _prompt(description: Description) -> Prompt:
    return Prompt(write(description), hard=category_of(description) in HARD)
