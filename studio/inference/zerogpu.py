"""ZeroGPU: each trajectory in a forked process with a lent GPU.

Knows requests and events; neither the store nor a page, so that what is kept is kept outside the fork. The fork has the
networks that were loaded before it; what it yields is pickled. There is no line here: the lender keeps one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module

from model.backends.janus import Janus
from model.decoding.request import Request, check_request, longest
from model.decoding.rollout import rollout
from model.events import Event, Failed, TrajectoryFinished
from model.trajectory import StopReason
from studio.inference.engine_thread import QueueFull

SECONDS = 5.0  # that a call takes besides its steps: the fork, and moving the weights
OVERHEAD = 0.01  # seconds of a step besides reading the weights
BYTES_PER_SECOND = 5e11  # at which weights are read: about half of what such GPUs can
MOST_SECONDS = 120
LOAN = "each costs some of your daily allowance of GPU time"  # said where visitors choose how many rounds

Making = Callable[[str, Request], Iterator[Event]]

_networks: dict[str, Janus] = {}  # by name: what a fork finds here needs not be sent to it


def seconds(name: str, request: Request) -> int:
    """How long a GPU is asked for: the most steps that the request's rounds can take."""
    janus = _networks[name]
    weights = sum(each.numel() * each.element_size() for each in janus.network.model.language_model.parameters())
    return min(MOST_SECONDS, round(SECONDS + longest(janus, request) * (OVERHEAD + weights / BYTES_PER_SECOND)))


def make(name: str, request: Request) -> Iterator[Event]:
    """A request's events, made by an engine of its own. What is to run on the GPU."""
    yield from rollout(_networks[name], [request], at_once=1)


class LentEngine:
    """An engine for each request, on a GPU that is lent for it."""

    def __init__(self, janus: Janus, making: Making) -> None:
        """`making`: `make`, decorated by whoever lends."""
        _networks[janus.name] = janus
        self._janus = janus
        self._making = making

    def events(self, request: Request) -> Iterator[Event]:
        """A request's events until it ends; what breaks in the fork ends it as failed. Raises PromptError, and
        QueueFull where no GPU is lent."""
        check_request(self._janus, request)
        latest, made = None, self._making(self._janus.name, replace(request, stop=never))
        try:
            for latest in made:
                yield latest
                if request.stop() and not isinstance(latest, TrajectoryFinished | Failed):
                    yield _end(latest, TrajectoryFinished, stop_reason=StopReason.CANCELLED)
                    return
        except Exception as error:  # of the lender, too: no GPU free, time over, allowance spent
            if latest is None:
                raise QueueFull(f"No GPU is lent at the moment ({error}); come back later.") from error
            yield _end(latest, Failed, error=f"{type(error).__name__}: {error}")
        finally:
            made.close()


def lender() -> Callable[[Janus], LentEngine]:
    """What borrows of Hugging Face's ZeroGPU, on whose Spaces alone the package `spaces` is installed."""
    making = import_module("spaces").GPU(duration=seconds)(make)
    return lambda janus: LentEngine(janus, making)


def never() -> bool:
    """Whether to stop, where nobody can be asked: a fork does not hear this process."""
    return False


def _end(latest: Event, kind: type[Event], **values: object) -> Event:
    return kind(trajectory_id=latest.trajectory_id, segment=latest.segment, t_ms=latest.t_ms, **values)
