"""Rate and concurrency limits, per address and for all; `middleware.RateLimiter` and `Caller` apply them.

Knows neither HTTP nor pages. People who have signed in, and the person at the machine, have no limits here.
"""

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
    per_second: float


MB = 1_000_000
RATES = {  # for one address
    "requests": Rate(240, 20),  # handlers called and pages fetched
    "pages": Rate(120, 5),  # opened anew: each is a session of its own
    "drawings": Rate(40, 1),
    "uploads": Rate(256 * MB, MB),  # bytes
    "large requests": Rate(96 * MB, MB),  # bytes, of calls that are more than texts
    "cookies": Rate(120, 10),  # looked up in the database
}
BYTES_PER_FILE = MB // 10  # bytes that an uploaded file counts for besides its own: each is a folder on the disk
MAX_RUNNING = {"drawings": 12, "answers": 24, "streams": 200, "uploads": 4}  # for one address
MAX_RUNNING_IN_ALL = {"drawings": 32, "answers": 32, "streams": 600, "uploads": 8}
DRAWINGS_OF_A_PAGE = 4  # at the same time: Compare draws two
MAX_BUCKETS = 20_000  # one per kind and address
REMOTE_TTL = 5.0  # seconds for which the running operations that another process reported count


class LimitError(Exception):
    """A limit is exceeded; the message says which, and after how many `seconds` to try again."""

    def __init__(self, message: str, seconds: float = 5) -> None:
        super().__init__(message)
        self.seconds = seconds


class Limits:
    """Token buckets and concurrency counts of all visitors of one studio. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, shared: bool = False) -> None:
        """`shared`: whether other processes are told of what is used."""
        self._clock, self._is_shared = clock, shared
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # tokens left, at which time
        self._running: Counter[tuple[str, str]] = Counter()
        self._used: Counter[tuple[str, str]] = Counter()  # of tokens, since the last `usage_delta`
        self._elsewhere: dict[str, tuple[float, Counter[tuple[str, str]]]] = {}  # running in other processes

    def usage_delta(self) -> dict[str, list[list[Any]]]:
        """What was used since the last call, and what is running now, for the other processes of the studio."""
        with self._lock:
            used, self._used = self._used, Counter()
            running = [[*key, count] for key, count in self._running.items() if _is_address(key)]
        usage_delta = {"used": [[*key, amount] for key, amount in used.items()], "running": running}
        return usage_delta if used or running else {}

    def merge_remote_usage(self, process: str, usage_delta: dict[str, list[list[Any]]]) -> None:
        """What visitors used at another process counts here as well, also beyond what was left."""
        now = self._clock()
        with self._lock:
            for kind, address, amount in usage_delta["used"]:
                self._put((kind, address), self._tokens(kind, address, now) - amount, now)
            running = Counter({(kind, address): count for kind, address, count in usage_delta["running"]})
            self._elsewhere[process] = (now, running)

    def _tokens(self, kind: str, address: str, now: float) -> float:
        rate = RATES[kind]
        tokens, updated = self._buckets.get((kind, address), (rate.burst, now))
        return min(rate.burst, tokens + max(0.0, now - updated) * rate.per_second)

    def _put(self, key: tuple[str, str], tokens: float, now: float) -> None:
        self._buckets[key] = (tokens, now)
        self._buckets.move_to_end(key)
        while len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)

    def _count(self, key: tuple[str, str]) -> int:
        """How many are running: of an address at all processes, of all visitors at this one."""
        if not _is_address(key) or not self._elsewhere:
            return self._running[key]
        since = self._clock() - REMOTE_TTL
        return self._running[key] + sum(others[key] for at, others in self._elsewhere.values() if at > since)

    def take(self, kind: str, address: str, amount: float = 1) -> None:
        """Take `amount` tokens of `kind`. Raises LimitError where an address has too few left."""
        rate, now = RATES[kind], self._clock()
        with self._lock:
            tokens = self._tokens(kind, address, now)
            enough = tokens >= amount
            self._put((kind, address), tokens - amount if enough else tokens, now)
            if enough and self._is_shared:
                self._used[kind, address] += amount
        if not enough:
            seconds = max(1.0, (min(amount, rate.burst) - tokens) / rate.per_second)
            raise LimitError(f"Too many {kind} from your network. Wait {seconds:.0f} s, then try again.", seconds)

    @contextmanager
    def during(self, kind: str, address: str, page: str = "") -> Iterator[None]:
        """Counts as one running operation of `kind` inside the context. Raises LimitError where too many run."""
        limits = {(kind, address): MAX_RUNNING[kind], (kind, ""): MAX_RUNNING_IN_ALL[kind]}
        if page:
            limits[(kind, f"page {page}")] = DRAWINGS_OF_A_PAGE
        with self._lock:
            for key, limit in limits.items():
                if self._count(key) >= limit:
                    where = "this page" if key[1].startswith("page ") else "your network" if key[1] else "all visitors"
                    raise LimitError(f"{limit} {kind} of {where} are under way already. Try again in a moment.")
            self._running.update(limits.keys())
        try:
            yield
        finally:
            with self._lock:
                self._running.subtract(limits.keys())
                for key in limits:
                    if self._running[key] <= 0:
                        del self._running[key]


def _is_address(key: tuple[str, str]) -> bool:
    return bool(key[1]) and not key[1].startswith("page ")


@dataclass(frozen=True)
class Caller:
    """Where a request comes from, and the limits that apply to it."""

    address: str = ""
    limits: Limits | None = field(default=None, compare=False)  # None: no limits apply

    @staticmethod
    def of(request: Any) -> "Caller":
        """The caller that the middleware stored in the request; one without limits where there is no middleware."""
        return Caller.of_scope(getattr(getattr(request, "request", None) or request, "scope", None) or {})

    @staticmethod
    def of_scope(scope: Mapping[str, Any]) -> "Caller":
        """The same for an ASGI scope."""
        caller = (scope.get("state") or {}).get("caller")
        return caller if isinstance(caller, Caller) else Caller()

    def take(self, kind: str, amount: float = 1) -> None:
        """Take `amount` tokens of `kind`. Raises LimitError."""
        if self.limits is not None:
            self.limits.take(kind, self.address, amount)

    def drawing(self, events: Iterator[Item], page: str = "") -> Iterator[Item]:
        """The events of a drawing, counted while they are read. Raises LimitError before the first."""
        if self.limits is None:
            yield from events
            return
        with self.limits.during("drawings", self.address, page):
            yield from events
