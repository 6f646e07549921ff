"""Priority of signed-in people over visitors: visitors' requests wait while any of the former is being served.

Knows nothing of HTTP. All but `signed_in_active` is called in the event loop of one studio.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from studio.http.limits import MB, LimitError


class Seconds(NamedTuple):
    """Seconds per unit."""

    meanwhile: float  # while signed-in people are active
    otherwise: float


CALLS = Seconds(meanwhile=0.25, otherwise=0.0)  # between two calls of visitors
DRAWINGS = Seconds(meanwhile=3.0, otherwise=0.1)  # … and between two that let the network draw or judge
ACTIVE_FOR = 2.0  # seconds after a response to a signed-in person
MAX_WAIT = 20.0  # seconds for a call to wait; one that would wait longer is refused
POLL_SECONDS = 0.1  # while a turn is waited for
BUSY = "Many visitors are waiting for the studio already. Try again in a moment."
BYTE = Seconds(meanwhile=1 / (4 * MB), otherwise=1 / (24 * MB))  # for each of the bodies of all visitors' requests


class Activity:
    """Whether requests of signed-in people are being served, or were a moment ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._serving = 0  # requests of signed-in people
        self._served_at = float("-inf")

    @property
    def signed_in_active(self) -> bool:
        """Whether one is being served, or was less than ACTIVE_FOR seconds ago."""
        return self._serving > 0 or self._clock() - self._served_at < ACTIVE_FOR

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Counts one request of a signed-in person inside the context."""
        self._serving += 1
        try:
            yield
        finally:
            self._serving -= 1
            self._served_at = self._clock()

    def current(self, each: Seconds) -> float:
        """The value of `each` that applies now."""
        return each.meanwhile if self.signed_in_active else each.otherwise


activity = Activity()  # of this process


class CallSpacing:
    """Spaces visitors' calls of one kind in time, first come, first served."""

    def __init__(
        self, between: Seconds, activity: Activity = activity, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._between, self._activity, self._clock = between, activity, clock
        self._last_turn = float("-inf")
        self._waiting = 0
        self._queue = asyncio.Lock()

    async def begin(self) -> None:
        """Wait for a turn. Raises LimitError where MAX_WAIT would be exceeded."""
        if self._waiting * self._seconds >= MAX_WAIT:
            raise LimitError(BUSY, ACTIVE_FOR)
        self._waiting += 1
        try:
            async with self._queue:
                while (wait := self._last_turn + self._seconds - self._clock()) > 0:
                    await asyncio.sleep(min(wait, POLL_SECONDS))
                self._last_turn = self._clock()
        finally:
            self._waiting -= 1

    @property
    def _seconds(self) -> float:
        return self._activity.current(self._between)


class ByteRate:
    """Limits the bytes a second of all visitors together: each part waits for those before it."""

    def __init__(
        self, each: Seconds = BYTE, activity: Activity = activity, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._each, self._activity, self._clock = each, activity, clock
        self._free = float("-inf")

    async def take(self, size: int) -> None:
        now = self._clock()
        self._free = max(now, self._free) + size * self._activity.current(self._each)
        await asyncio.sleep(self._free - now)
