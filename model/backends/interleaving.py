"""Interleaves the events of several requests to one backend in the order in which they arrive."""

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from model.backends.contract import Backend
from model.backends.request import Request
from model.events import Event


def interleaved(backend: Backend, requests: Sequence[Request], at_once: int) -> Iterator[Event]:
    """The events of all requests, each asked for in a thread of its own, `at_once` at a time; ending this stops all.

    Raises RequestError before the first event, of whichever request, and what the backend raises.
    """
    for request in requests:
        backend.check(request)
    made: queue.SimpleQueue[Event | Exception | None] = queue.SimpleQueue()
    closed = threading.Event()

    def follow(request: Request) -> None:
        try:
            for event in backend.events(replace(request, stop=lambda: closed.is_set() or request.stop())):
                made.put(event)
        except Exception as error:
            made.put(error)
        finally:
            made.put(None)

    with ThreadPoolExecutor(max(1, min(at_once, len(requests)))) as threads:
        for request in requests:
            threads.submit(follow, request)
        try:
            left = len(requests)
            while left:
                each = made.get()
                if isinstance(each, Exception):
                    raise each
                if each is None:
                    left -= 1
                else:
                    yield each
        finally:
            closed.set()
            threads.shutdown(wait=False, cancel_futures=True)
