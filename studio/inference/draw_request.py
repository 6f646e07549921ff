"""A visitor's draw request, from widget values, within bounds."""

import random
import sys
from dataclasses import dataclass, fields, replace

from model.backends.request import NumberBounds, check_number
from model.trajectory import Sampling, Trajectory
from studio.inference.generator import MOST_VISITOR_ROUNDS

ROUNDS, GUIDANCE, TEMPERATURE = (1, MOST_VISITOR_ROUNDS), (1, 10), (0, 2)  # least and most
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class DrawForm:
    """One field for every widget, in the page's order."""

    prompt: str
    rounds: float
    guidance: float
    temperature: float
    seed: float | None
    new_seed: bool
    thinks: bool
    checkpoint: str | None = None  # None: the first that draws here
    numbers_of: str | None = None  # the checkpoint that guidance and temperature are of; None: the one that draws

    @staticmethod
    def of(trajectory: Trajectory) -> "DrawForm":
        """The form that draws a trajectory again."""
        how = trajectory.sampling
        prompt, rounds, seed = trajectory.prompt, trajectory.rounds, trajectory.seed
        drawn_by = trajectory.checkpoint
        return DrawForm(prompt, rounds, how.guidance, how.temperature, seed, False, how.thinks, drawn_by, drawn_by)

    def with_numbers(self, own: Sampling) -> "DrawForm":
        """The form as it is where its numbers are of its checkpoint, else with those of `own`, that checkpoint's
        defaults: the page was sent before it had them."""
        if self.numbers_of in (None, self.checkpoint):
            return self
        return replace(self, guidance=own.guidance, temperature=own.temperature, numbers_of=self.checkpoint)

    def sampling(self, default: Sampling, *, can_plan: bool = True) -> Sampling:
        """The checkpoint's sampling settings with those of the form; no plan where it writes none. Raises
        RequestError."""
        guidance = _within(GUIDANCE, self.guidance, "guidance")
        temperature = _within(TEMPERATURE, self.temperature, "temperature")
        plans = {"thinks": bool(self.thinks) and can_plan, "thinks_after_no": default.thinks and not self.thinks}
        return replace(default, guidance=guidance, temperature=temperature, **plans)

    def most_rounds(self) -> int:
        """The number of rounds, clamped to ROUNDS. Raises RequestError for no number."""
        return int(_within(ROUNDS, self.rounds, "number of rounds"))

    def chosen_seed(self) -> int:
        """The seed of the form, or a random one where a new one is wanted. Raises RequestError."""
        return chosen_seed(self.seed, self.new_seed)


WIDGETS = len(fields(DrawForm))


def chosen_seed(seed: float | None, another: bool) -> int:
    """The seed that was given, or another. Raises RequestError."""
    if another or seed is None:
        return new_seed()
    return int(_within((0, LARGEST_SEED), seed, "seed"))


def new_seed() -> int:
    return random.randrange(LARGEST_SEED)


def _within(bounds: tuple[float, float], value: float | None, name: str) -> float:
    """The value clamped to its bounds, since a handler can be called with values outside a slider's. Raises
    RequestError for no number."""
    if not (isinstance(value, int | float) and abs(value) <= sys.float_info.max):
        check_number(name, value, NumberBounds(*bounds))
    return min(max(value, bounds[0]), bounds[1])
