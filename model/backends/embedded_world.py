"""The embedded world as a backend's domain: the only place where a backend meets the world."""

import re

from model.backends.contract import Domain, PromptReading
from model.backends.request import Task
from model.world.known_prompts import normalise, normalise_edit
from model.world.plan import read_items, write_items
from model.world.scene import Item, Scene

LONGEST_LINE = 80  # characters; what is longer is no line of a plan


class EmbeddedWorld(Domain):
    """Prompts about objects in a few colours, and plans that say where each of them stands."""

    name = "embedded world"

    def read(self, prompt: str, task: Task = Task.DRAW) -> PromptReading:
        return PromptReading(*(normalise_edit(prompt) if task is Task.EDIT else normalise(prompt)))

    def plan(self, text: str) -> str:
        """Where the objects stand is the person's own affair. Raises ValueError, naming the line."""
        lines = [" ".join(line.split()) for line in re.split(r"[;\n]", text)]
        return write_items([_item(number, line) for number, line in enumerate(filter(None, lines), start=1)])


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
