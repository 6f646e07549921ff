"""Password login with delays that grow after failed attempts.

Knows accounts; no page and no request. Tries are counted by the clock it is given, those at other processes too once
they are reported: wrong ones for a name from one place, and for that place. Nobody is locked out: a pause is half a
minute at most, what others try elsewhere delays nobody, and who has signed in from a place before does not wait for
others there. A name that nobody has takes as long as one with a wrong password, and is answered in the same words.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from argon2.exceptions import InvalidHashError, VerificationError

from annotations.auth import accounts
from annotations.auth.accounts import HASHER, Person
from annotations.errors import SignInError
from annotations.store.store import Store, now_utc

TRIES = 5  # wrong ones for one name from one place, such as an address, before the first pause
TRIES_FROM = 20  # wrong ones from one place
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=30)  # after a wrong try; each is twice the last
WINDOW = timedelta(minutes=15)  # in which they are counted
MAX_COUNTED = 10_000  # names and places remembered; the oldest are forgotten first
DUMMY_HASH = HASHER.hash("an account that is not there")


class SignIn:
    """Checks passwords, and counts failed attempts. One per studio; thread-safe."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = now_utc) -> None:
        self._store = store
        self._clock = clock
        self._failed: OrderedDict[str, list[datetime]] = OrderedDict()
        self._trusted: OrderedDict[str, None] = OrderedDict()  # (name, origin) pairs of past logins
        self._lock = threading.Lock()
        self._unsent_failures: list[str] = []

    def failures_delta(self) -> list[str]:
        """The keys of wrong tries since the last call, for the other processes of the studio."""
        failures_delta, self._unsent_failures = self._unsent_failures, []
        return failures_delta

    def merge_remote_failures(self, process: str, failures_delta: list[str]) -> None:
        """Wrong tries at another process."""
        with self._lock:
            for key in failures_delta:
                self._count(key)

    def __call__(self, name: str, password: str, *, origin: str = "") -> Person:
        """The account. `origin` is the address of the request. Raises SignInError."""
        pair = f"name {name.casefold()[:100]} from {origin[:100]}"
        keys = {pair: TRIES} | ({f"from {origin[:100]}": TRIES_FROM} if origin else {})
        with self._lock:  # counted before it is known to be wrong, so that many at once are no way round
            limiting = [pair] if pair in self._trusted else list(keys)
            if (pause := max(self._pause(key, keys[key]) for key in limiting)) > timedelta(0):
                seconds = max(1, round(pause.total_seconds()))
                raise SignInError(f"too many tries with a wrong password; wait {seconds} s, then try again")
            for key in keys:
                self._count(key)
        hashed = accounts.stored_hash(self._store, name[:64])
        is_right = _verify(hashed or DUMMY_HASH, password[: 2 * accounts.LONGEST]) and hashed is not None
        if not is_right:
            self._unsent_failures = [*self._unsent_failures, *keys][-MAX_COUNTED:]
            raise SignInError("this name and this password do not open an account; look at both, then try again")
        with self._lock:
            for key in keys:
                self._take_back(key)
            _remember(self._trusted, pair, None)
        if HASHER.check_needs_rehash(hashed):
            accounts.rehash(self._store, name, password)
        return accounts.person(self._store, name)

    def _pause(self, key: str, free: int) -> timedelta:
        """How long the next attempt has to wait."""
        failed = self._recent(key)
        if len(failed) < free:
            return timedelta(0)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(10, len(failed) - free))
        return failed[-1] + pause - self._clock()

    def _recent(self, key: str) -> list[datetime]:
        """Failed attempts within WINDOW; not those in the future of a clock that jumped back."""
        now = self._clock()
        recent = [moment for moment in self._failed.get(key, []) if now - WINDOW < moment <= now]
        if recent:
            self._failed[key] = recent
        else:
            self._failed.pop(key, None)
        return recent

    def _count(self, key: str) -> None:
        _remember(self._failed, key, [*self._failed.get(key, []), self._clock()])

    def _take_back(self, key: str) -> None:
        """Take back one attempt, which was successful; failed ones before it stay counted."""
        tries = self._failed.get(key, [])
        if tries:
            tries.pop()


def _remember(among: OrderedDict, key: str, value: object) -> None:
    among[key] = value
    among.move_to_end(key)
    while len(among) > MAX_COUNTED:
        among.popitem(last=False)


def _verify(hashed: str, password: str) -> bool:
    """Against the normalised password, and the one as typed, which earlier versions hashed."""
    for typed in dict.fromkeys((accounts.normalized(password), password)):
        try:
            return HASHER.verify(hashed, typed)
        except (VerificationError, InvalidHashError):
            continue
    return False
