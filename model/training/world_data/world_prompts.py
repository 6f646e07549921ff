"""Prompts of the embedded world for reinforcement learning: a file's lines, or samples of the training split."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from model.backends.request import RequestError
from model.distributed.prompt_file import numbered_prompts
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
    """The prompts of a text file, one per line. Raises PromptFileError for the first line that is none, OSError."""
    try:
        lines = numbered_prompts(path)
    except RequestError as error:
        raise PromptFileError(str(error)) from error
    prompts = []
    for number, line in lines:
        try:
            prompts.append(_prompt(parse(line)))
        except PromptError as error:
            raise PromptFileError(f"{path}, line {number}: {error}") from error
    return prompts


def _prompt(description: Description) -> Prompt:
    return Prompt(write(description), hard=category_of(description) in HARD)
