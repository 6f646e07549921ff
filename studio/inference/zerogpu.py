"""ZeroGPU: each trajectory in a forked process with a lent GPU.

Knows requests and events; neither the store nor a page, so that what is kept is kept outside the fork. The fork has the
backends that were opened before it; what it yields is pickled. There is no line here: the lender keeps one.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module

from model.backends.contract import Backend
from model.backends.request import Request
from model.events import Event, Failed, TrajectoryFinished
from model.trajectory import StopReason
from studio.inference.request_queue import QueueFull

FORK_SECONDS = 5.0  # that a call takes besides its steps: the fork, and moving the weights
MOST_SECONDS = 120
LOAN = "each costs some of your daily allowance of GPU time"  # said where visitors choose how many rounds

Making = Callable[[str, Request], Iterator[Event]]

_backends: dict[str, Backend] = {}  # by name: what a fork finds here needs not be sent to it


def seconds(name: str, request: Request) -> int:
    """Duration in seconds that a GPU is requested for."""
    return min(MOST_SECONDS, round(FORK_SECONDS + _backends[name].seconds(request)))


def make(name: str, request: Request) -> Iterator[Event]:
    """Events of a request; runs in the fork, on the lent GPU."""
    yield from _backends[name].events(request)


class LentBackend:
    """A backend on a GPU that is lent for each request."""

    def __init__(self, backend: Backend, making: Making) -> None:
        """`making`: `make`, decorated by whoever lends."""
        _backends[backend.name] = backend
        self._backend = backend
        self._making = making

    def events(self, request: Request) -> Iterator[Event]:
        """A request's events until it ends; what breaks in the fork ends it as failed. Raises RequestError, and
        QueueFull where no GPU is lent."""
        self._backend.check(request)
        latest, events = None, self._making(self._backend.name, replace(request, stop=never))
        try:
            for latest in events:
                yield latest
                if request.stop() and not isinstance(latest, TrajectoryFinished | Failed):
                    yield _end(latest, TrajectoryFinished, stop_reason=StopReason.CANCELLED)
                    return
        except Exception as error:  # of the lender, too: no GPU free, time over, allowance spent
            if latest is None:
                raise QueueFull(f"No GPU is lent at the moment ({error}); come back later.") from error
            yield _end(latest, Failed, error=f"{type(error).__name__}: {error}")
        finally:
            events.close()


def lender() -> Callable[[Backend], LentBackend]:
    """The decorator `spaces.GPU` of Hugging Face's ZeroGPU, from a package installed on its Spaces alone."""
    making = import_module("spaces").GPU(duration=seconds)(make)
    return lambda backend: LentBackend(backend, making)


def never() -> bool:
    """Stop flag in a fork, which cannot hear this process: always False."""
    return False


def _end(latest: Event, kind: type[Event], **values: object) -> Event:
    return kind(trajectory_id=latest.trajectory_id, segment=latest.segment, t_ms=latest.t_ms, **values)
