"""Rate and concurrency limits, per address and for all; `middleware.RateLimiter` and `Caller` apply them.

Knows neither HTTP nor pages. People who have signed in, and the person at the machine, have no limits here.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

Item = TypeVar("Item")


class Rate(NamedTuple):
    """So many at once, and so many a second after that."""

    burst: float
    a_second: float


MB = 1_000_000
RATES = {  # for one address
    "requests": Rate(240, 20),  # handlers called and pages fetched
    "pages": Rate(120, 5),  # opened anew: each is a session of its own
    "drawings": Rate(40, 1),
    "uploads": Rate(256 * MB, MB),  # bytes
    "large requests": Rate(96 * MB, MB),  # bytes, of calls that are more than texts
    "cookies": Rate(120, 10),  # looked up in the database
}
A_FILE = MB // 10  # bytes that an uploaded file counts for besides its own: each is a folder on the disk
AT_ONCE = {"drawings": 12, "answers": 24, "streams": 200, "uploads": 4}  # for one address
AT_ONCE_OF_ALL = {"drawings": 32, "answers": 32, "streams": 600, "uploads": 8}
DRAWINGS_OF_A_PAGE = 4  # at the same time: Compare draws two
REMEMBERED = 20_000  # addresses and kinds


class LimitError(Exception):
    """Too much was asked for; the message says of what, and when to come back."""

    def __init__(self, message: str, seconds: float = 5) -> None:
        super().__init__(message)
        self.seconds = seconds


class Limits:
    """What all visitors of one studio have asked for lately. Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # how much, when
        self._now: Counter[tuple[str, str]] = Counter()

    def take(self, kind: str, address: str, amount: float = 1) -> None:
        """Count something. Raises LimitError where it is more than an address may have."""
        rate, now = RATES[kind], self._clock()
        with self._lock:
            left, before = self._left.get((kind, address), (rate.burst, now))
            left = min(rate.burst, left + max(0.0, now - before) * rate.a_second)
            enough = left >= amount
            self._left[(kind, address)] = (left - amount if enough else left, now)
            self._left.move_to_end((kind, address))
            while len(self._left) > REMEMBERED:
                self._left.popitem(last=False)
        if not enough:
            seconds = max(1.0, (min(amount, rate.burst) - left) / rate.a_second)
            raise LimitError(f"Too many {kind} from your network. Wait {seconds:.0f} s, then try again.", seconds)

    @contextmanager
    def during(self, kind: str, address: str, page: str = "") -> Iterator[None]:
        """While something lasts it counts among what happens at once. Raises LimitError."""
        most = {(kind, address): AT_ONCE[kind], (kind, ""): AT_ONCE_OF_ALL.get(kind)}
        if page:
            most[(kind, f"page {page}")] = DRAWINGS_OF_A_PAGE
        with self._lock:
            for key, limit in most.items():
                if limit is not None and self._now[key] >= limit:
                    where = "this page" if key[1].startswith("page ") else "your network" if key[1] else "all visitors"
                    raise LimitError(f"{limit} {kind} of {where} are under way already. Try again in a moment.")
            self._now.update(most.keys())
        try:
            yield
        finally:
            with self._lock:
                self._now.subtract(most.keys())
                for key in most:
                    if self._now[key] <= 0:
                        del self._now[key]


@dataclass(frozen=True)
class Caller:
    """Where a request comes from, and whether what it asks for is counted."""

    address: str = ""
    limits: Limits | None = field(default=None, compare=False)  # None: of somebody who has none

    @staticmethod
    def of(request: Any) -> Caller:
        """The one that the middleware has found; one without limits where there is no middleware."""
        return Caller.of_scope(getattr(getattr(request, "request", None) or request, "scope", None) or {})

    @staticmethod
    def of_scope(scope: Mapping[str, Any]) -> Caller:
        """The same, of an ASGI scope."""
        found = (scope.get("state") or {}).get("caller")
        return found if isinstance(found, Caller) else Caller()

    def take(self, kind: str, amount: float = 1) -> None:
        """Count something. Raises LimitError."""
        if self.limits is not None:
            self.limits.take(kind, self.address, amount)

    def drawing(self, events: Iterator[Item], page: str = "") -> Iterator[Item]:
        """The events of a drawing, counted while they are read. Raises LimitError before the first."""
        if self.limits is None:
            yield from events
            return
        with self.limits.during("drawings", self.address, page):
            yield from events
