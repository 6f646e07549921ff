"""The embedded world as a backend's domain; no other module of the backends imports the world."""

import pkgutil
import random
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model.backends.contract import Box, Domain, PromptReading, Suggestion
from model.backends.request import Task
from model.trajectory import Sampling
from model.world.known_prompts import normalise, normalise_edit
from model.world.language import facts_of, parse
from model.world.nearest import in_quotes, nearest_notice, nearest_prompt, unknown_words
from model.world.plan import read_items, write_items
from model.world.scene import Item, Scene
from model.world.sprites import CELL, CELLS, SPRITE
from model.world.vocabulary import PromptError

LONGEST_LINE = 80  # characters; what is longer is no line of a plan
# What the verifier serves, without which everything else is drawn.
PERTURB = "model.world.perturbations:perturbed_codes"
READ = "model.world.verifier:read"
SMEARED = "model.world.verifier:smeared_share"
BLAMED = "model.world.reasons:blamed_items"
STOCK_REASONS = "model.world.reasons:stock_reasons"
UNFAMILIAR = 0.5  # from which share of smeared cells on a picture is of another kind
SIZE = CELL * CELLS  # pixels per side
AT_ONCE_TEMPERATURE = 1.4  # of image codes: a draft without a plan errs in half of all cases, and mostly repairs it


class EmbeddedWorld(Domain):
    """Prompts about objects in a few colours, and plans that say where each of them stands."""

    name = "embedded world"
    closed = True

    def read(self, prompt: str, task: Task = Task.DRAW) -> PromptReading:
        return PromptReading(*(normalise_edit(prompt) if task is Task.EDIT else normalise(prompt)))

    def suggestion(self, prompt: str) -> Suggestion | None:
        nearest = nearest_prompt(prompt)
        if nearest is None:
            return None
        return Suggestion(nearest_notice(prompt, nearest), nearest.prompt, nearest.choices(), nearest.stood_for)

    def facts(self, prompt: str) -> tuple[str, ...]:
        """Counts, colours and relations, and that nothing else is there; parts of what it cannot read."""
        try:
            return facts_of(parse(prompt))
        except PromptError:
            return super().facts(prompt)

    def plan(self, text: str) -> str:
        """Accepts any positions of the objects. Raises ValueError, naming the line."""
        lines = [" ".join(line.split()) for line in re.split(r"[;\n]", text)]
        return write_items([_item(number, line) for number, line in enumerate(filter(None, lines), start=1)])

    def first_draft(self, sampling: Sampling) -> Sampling:
        """A quick, bold draft; the plan comes after a no."""
        if not sampling.thinks:
            return sampling
        return replace(sampling, thinks=False, thinks_after_no=True, temperature=AT_ONCE_TEMPERATURE)

    def perturb(self, rng: random.Random, prompt: str, picture: np.ndarray, codes: Sequence[int]) -> dict[int, int]:
        """One object recoloured, moved, removed or doubled. Raises ValueError where no object can be read."""
        return pkgutil.resolve_name(PERTURB)(rng, prompt, picture, codes)

    def fault_boxes(self, reason: str, picture: np.ndarray) -> list[Box]:
        """The objects that a reason names, as the verifier reads them in the drawing."""
        if picture.shape != (SIZE, SIZE, 3):
            return []
        reading = pkgutil.resolve_name(READ)(picture)
        side = SPRITE / SIZE
        items = pkgutil.resolve_name(BLAMED)(reason, reading)
        return [(item.column * CELL / SIZE, item.row * CELL / SIZE, side, side) for item in items]

    def is_familiar(self, picture: np.ndarray) -> bool:
        """Whether most of it is background or parts of objects."""
        return picture.shape != (SIZE, SIZE, 3) or pkgutil.resolve_name(SMEARED)(picture) < UNFAMILIAR

    def why_a_guess(self, prompt: str, task: Task, picture: np.ndarray) -> str | None:
        """The warning for a result whose prompt or source was not of the training domain; None where both were.
        `picture`: (H, W, 3) uint8, the first image of the trajectory; one of another size is another backend's."""
        if picture.shape != (SIZE, SIZE, 3):
            return None
        if task is not Task.DRAW and not self.is_familiar(picture):
            return "The picture is unlike the small drawings that the model knows: this is a guess."
        if self.read(prompt, task).warning is None:
            return None
        words = [] if task is Task.EDIT else unknown_words(prompt)
        return f"The model does not know {in_quotes(words) or 'how to do that'}: this is a guess."

    def stock_reasons(self, prompt: str) -> list[str]:
        try:
            return pkgutil.resolve_name(STOCK_REASONS)(parse(normalise(prompt).text))
        except PromptError:
            return []


EMBEDDED_WORLD = EmbeddedWorld()


def _item(number: int, line: str) -> Item:
    shown = f"line {number} of the plan is “{line[:LONGEST_LINE]}”"
    try:
        [item] = read_items(line[:LONGEST_LINE])
    except ValueError as error:
        raise ValueError(f"{shown}; it should read like “red apple at 2 3”: colour, thing, column and row") from error
    try:
        Scene((item,))
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from error
    return item
