"""The backend contract: capabilities, sampling defaults, request check, events, domain. No torch.

A backend is a class that inherits from `Backend`, and a line of `registry.OPENERS`. It makes images of codes (Janus) or
without (`capabilities.codes == 0`: a diffusion pipeline), in this process or elsewhere.
"""

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.backends.request import Request, RequestError, Task
from model.events import Event
from model.images import Source, read_picture
from model.trajectory import Origin, Sampling, Token

GONE = "The machine that drew this is gone; what it had drawn is kept. Draw it again."  # of a trajectory that failed
BETWEEN_FACTS = re.compile(r"\s*[,;]\s*(?:and\s+)?|\s+(?:and|with)\s+")


class CheckpointError(Exception):
    """A folder, Hub id or address that cannot be opened as a backend, or a checkpoint that cannot be written."""


class UnavailableError(Exception):
    """A backend that can make nothing at the moment: no memory, no answer from another machine."""


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do."""

    draw: bool = True
    judge: bool = True
    edit: bool = True
    thought: bool = False  # writes a plan before an image, where the sampling settings ask for one
    codes: int = 0  # image codes of an image, row by row of a square; 0: its images have none
    codebook: int = 0  # image codes there are to choose from

    def includes(self, task: Task) -> bool:
        return {Task.DRAW: self.draw, Task.EDIT: self.edit, Task.JUDGE: self.judge}[task]


@dataclass(frozen=True)
class ServingOptions:
    """How much a backend may take where it serves many people."""

    at_once: int = 32  # requests whose events are made at the same time, at most
    rounds: int = 4  # of a request, at most
    memory_share: float = 1.0  # of the memory that is free
    threads: int = 2  # of the processor
    busy: Callable[[], bool] = lambda: False  # asked between two steps: whether others need the processor more


@dataclass(frozen=True)
class PromptReading:
    """A prompt as a backend reads it: in the wording that it was trained with, and why it may not know it."""

    text: str
    warning: str | None = None


@dataclass(frozen=True)
class Suggestion:
    """The prompt nearest to a person's that a backend was trained for."""

    notice: str  # why, in a sentence
    prompt: str
    choices: Sequence[tuple[str, str]] = ()  # (word, prompt): others in the place of a word that stands in for theirs
    replaced: str = ""  # the person's word that `choices` stand for


Box = tuple[float, float, float, float]  # left, top, width, height, as parts of a picture's side


class Domain:
    """The prompts that a backend was trained for, and what is known of them. The base class: any prompt, unchanged."""

    name = "open"
    closed = False  # whether it knows a few words only, which a page may list

    def read(self, prompt: str, task: Task = Task.DRAW) -> PromptReading:
        return PromptReading(prompt)

    def suggestion(self, prompt: str) -> Suggestion | None:
        """The nearest known prompt for one that `read` warns of; the base class: None."""
        return None

    def plan(self, text: str) -> str:
        """A thought that a person wrote, in the wording of thoughts. Raises ValueError for what cannot be read."""
        return text

    def facts(self, prompt: str) -> tuple[str, ...]:
        """What a prompt asks for, one by one: here its parts, as commas, “and” and “with” divide it."""
        return tuple(part for part in BETWEEN_FACTS.split(prompt.strip().rstrip(".")) if part)

    def first_draft(self, sampling: Sampling) -> Sampling:
        """The sampling settings of a first draft without a plan."""
        return replace(sampling, thinks=False)

    def perturb(self, rng: random.Random, prompt: str, picture: np.ndarray, codes: Sequence[int]) -> dict[int, int]:
        """Other codes, by raster index, that make a drawing of the prompt wrong in one object: `picture` (H, W, 3)
        uint8, of these `codes`. Raises ValueError where there is nothing to change; here always."""
        raise ValueError("only a drawing whose objects can be read can be changed so; rub out patches instead")

    def fault_boxes(self, reason: str, picture: np.ndarray) -> list[Box]:
        """Boxes of what a reason finds wrong in a picture, (H, W, 3) uint8, for display; the base class: none."""
        return []

    def is_familiar(self, picture: np.ndarray) -> bool:
        """Whether a picture, (H, W, 3) uint8, is of the training domain; the base class: always."""
        return True

    def stock_reasons(self, prompt: str) -> list[str]:
        """Reasons offered to annotators for a drawing of `prompt`; the base class: none."""
        return []


class Backend(ABC):
    """What makes the events of a request. `events` and `check` may be called from several threads at a time."""

    name: str  # what trajectories call it (`Trajectory.checkpoint`)
    image_size: int  # pixels per side
    capabilities: Capabilities
    sampling: Sampling  # its own settings, where a request has none
    domain: Domain = Domain()

    @abstractmethod
    def check(self, request: Request) -> None:
        """Raises RequestError for a request that it cannot carry out."""

    @abstractmethod
    def events(self, request: Request) -> Iterator[Event]:
        """The events of one trajectory, from `TrajectoryStarted` to `TrajectoryFinished` or `Failed`.

        Raises RequestError and UnavailableError before the first event, nothing after it. Ends soon once `request.stop`
        says so, and when the iterator is closed.
        """

    def rollout(self, requests: Sequence[Request], *, at_once: int = 16) -> Iterator[Event]:
        """Events of all requests, `at_once` trajectories at a time, interleaved; here: one after another.

        Runs in the calling thread. Raises RequestError before the first event, of whichever request.
        """
        for request in requests:
            self.check(request)
        for request in requests:
            yield from self.events(request)

    def serve(self, options: ServingOptions) -> int:
        """Prepare for requests of several threads; returns how many are made at the same time, further ones wait."""
        return 1

    def load_weights(self, weights: bytes) -> None:
        """Replace parameters by those of a safetensors file, by name. Call it while no events are being made.

        Raises CheckpointError for parameters that do not fit; then no weight is changed.
        """
        raise CheckpointError(f"{self.name} takes no weights while it is open; name another checkpoint")

    def warning(self, prompt: str, task: Task = Task.DRAW) -> str | None:
        """Why the prompt may lie outside of what the backend was trained for; None if it does not."""
        return self.domain.read(prompt, task).warning

    def read_source(self, file: Source, task: Task) -> np.ndarray:
        """An image file as a request's source, (image_size, image_size, 3) uint8; here its middle. Raises OSError for
        what is no picture."""
        return read_picture(file, self.image_size)

    def tokens(self, text: str) -> tuple[Token, ...]:
        """A person's text as the tokens of a thought or a reflection; here a token a word."""
        return word_tokens(text, Origin.PERSON)

    def seconds(self, request: Request) -> float:
        """How long a data centre's GPU would take for a request at most, without loading the weights."""
        return 60.0


def word_tokens(text: str, origin: Origin = Origin.SAMPLED) -> tuple[Token, ...]:
    """Text as tokens for a backend that has none of its own: words and punctuation, all of id 0."""
    return tuple(Token(0, part, origin) for part in re.findall(r"\s*\w+|\s*[^\w\s]+|\s+", text))


def check_task(backend: Backend, request: Request) -> None:
    """Raises RequestError for a task, a thought or a number of codes that a backend's capabilities leave out."""
    able = backend.capabilities
    if not able.includes(request.task):
        others = ", ".join(task.value for task in Task if able.includes(task))
        raise RequestError(f"{backend.name} cannot {request.task.value}; it can: {others}.")
    sampling = request.sampling or backend.sampling
    if (sampling.thinks or sampling.thinks_after_no) and not able.thought:
        raise RequestError(f"{backend.name} writes no thought before it draws; ask for none.")
