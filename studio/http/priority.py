"""Priority of signed-in people over visitors: visitors' requests wait while any of the former is being served.

Knows nothing of HTTP. All but `are_at_work` is called in the event loop of one studio.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from studio.http.limits import MB, LimitError


class Seconds(NamedTuple):
    """How long something is to take, at least."""

    meanwhile: float  # while people who have signed in are at work
    otherwise: float


CALLS = Seconds(meanwhile=0.25, otherwise=0.0)  # between two calls of visitors
DRAWINGS = Seconds(meanwhile=3.0, otherwise=0.1)  # … and between two that let the network draw or judge
AT_WORK = 2.0  # seconds after an answer for which they are
LONGEST = 20.0  # seconds for a call to wait; whoever would wait longer is told to come back
LOOKS = 0.1  # seconds between two looks whether they still are
BUSY = "Many visitors are waiting for the studio already. Try again in a moment."
BYTE = Seconds(meanwhile=1 / (4 * MB), otherwise=1 / (24 * MB))  # for each of the bodies of all visitors' requests


class Members:
    """Whether people who have signed in are at work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asking = 0  # calls of theirs
        self._asked = float("-inf")

    @property
    def are_at_work(self) -> bool:
        """Whether they wait for answers, or did just now."""
        return self._asking > 0 or self._clock() - self._asked < AT_WORK

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While one of them waits for an answer."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._asked = self._clock()

    def now(self, each: Seconds) -> float:
        """How long something is to take now."""
        return each.meanwhile if self.are_at_work else each.otherwise


members = Members()  # of this process


class Turns:
    """The turns of visitors' calls of one kind, first come, first served. People who have signed in need none."""

    def __init__(
        self, between: Seconds, members: Members = members, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._between, self._members, self._clock = between, members, clock
        self._last = float("-inf")
        self._waiting = 0
        self._first = asyncio.Lock()

    async def begin(self) -> None:
        """Wait until the next may begin. Raises LimitError where that takes long."""
        if self._waiting * self._seconds >= LONGEST:
            raise LimitError(BUSY, AT_WORK)
        self._waiting += 1
        try:
            async with self._first:
                while (wait := self._last + self._seconds - self._clock()) > 0:
                    await asyncio.sleep(min(wait, LOOKS))
                self._last = self._clock()
        finally:
            self._waiting -= 1

    @property
    def _seconds(self) -> float:
        return self._members.now(self._between)


class Pace:
    """So many bytes a second for all together: each waits until those before it are through."""

    def __init__(
        self, each: Seconds = BYTE, members: Members = members, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._each, self._members, self._clock = each, members, clock
        self._free = float("-inf")

    async def take(self, size: int) -> None:
        now = self._clock()
        self._free = max(now, self._free) + size * self._members.now(self._each)
        await asyncio.sleep(self._free - now)
