"""Events of a list of requests, interleaved, tagged by trajectory id."""

from collections.abc import Iterator, Sequence

from model.backends.adapters import merged
from model.backends.janus import Janus
from model.backends.request import Request
from model.decoding.engine import Engine
from model.events import Event


def rollout(janus: Janus, requests: Sequence[Request], *, at_once: int = 16) -> Iterator[Event]:
    """Events of all requests, `at_once` trajectories at a time. Raises RequestError before the first event.

    Closing the generator stops everything; a request's own `stop` ends only that one. An error inside a step ends the
    trajectories of that step with `failed`, not the caller. Of a network with an adapter the weights include it until
    the last event.
    """
    if not requests:
        return
    with merged(janus.network):
        engine = Engine.for_requests(janus, requests, at_once)
        try:
            while engine.busy:
                yield from engine.step()
        finally:
            engine.close()
