"""Signing in with a name and a password, a few tries at a time.

Knows accounts; no page and no request. Tries are counted in this process by the clock it is given: wrong ones for a
name and for where they come from. A name that nobody has takes as long as one with a wrong password, and is answered
in the same words.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from argon2.exceptions import InvalidHashError, VerificationError

from annotations import people
from annotations.errors import SignInError
from annotations.people import HASHER, Person
from annotations.store import Store, now_utc

TRIES = 5  # wrong ones for one name
TRIES_FROM = 20  # wrong ones from one place, such as an address
WINDOW = timedelta(minutes=15)  # in which they are counted
MOST_COUNTED = 10_000  # names and places remembered; the oldest are forgotten first
NOBODY = HASHER.hash("an account that is not there")


class SignIn:
    """The door. One for a studio; safe to share between threads."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = now_utc) -> None:
        self._store = store
        self._clock = clock
        self._wrong: OrderedDict[str, list[datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, name: str, password: str, *, origin: str = "") -> Person:
        """Who that is. `origin` is where the request comes from. Raises SignInError."""
        keys = {f"name {name.casefold()[:100]}": TRIES} | ({f"from {origin[:100]}": TRIES_FROM} if origin else {})
        with self._lock:  # counted before it is known to be wrong, so that many at once are no way round
            for key, most in keys.items():
                if len(self._recent(key)) >= most:
                    minutes = int(WINDOW.total_seconds() // 60)
                    raise SignInError(f"too many tries with a wrong password; wait {minutes} minutes, then try again")
            for key in keys:
                self._count(key)
        hashed = people.stored_hash(self._store, name[:64])
        right = _verify(hashed or NOBODY, password[: 2 * people.LONGEST]) and hashed is not None
        if not right:
            raise SignInError("this name and this password do not open an account; look at both, then try again")
        with self._lock:
            for key in keys:
                self._forgive(key)
        if HASHER.check_needs_rehash(hashed):
            people.hash_anew(self._store, name, password)
        return people.person(self._store, name)

    def _recent(self, key: str) -> list[datetime]:
        """Wrong tries that still count; those in the future of a clock that jumped back do not."""
        now = self._clock()
        recent = [moment for moment in self._wrong.get(key, []) if now - WINDOW < moment <= now]
        if recent:
            self._wrong[key] = recent
        else:
            self._wrong.pop(key, None)
        return recent

    def _count(self, key: str) -> None:
        self._wrong.setdefault(key, []).append(self._clock())
        self._wrong.move_to_end(key)
        while len(self._wrong) > MOST_COUNTED:
            self._wrong.popitem(last=False)

    def _forgive(self, key: str) -> None:
        """Take back one try: it was a right one. Wrong ones before it stay counted."""
        tries = self._wrong.get(key, [])
        if tries:
            tries.pop()


def _verify(hashed: str, password: str) -> bool:
    """As it is stored today, or as it was typed, which is how it was stored before."""
    for typed in dict.fromkeys((people.normalized(password), password)):
        try:
            return HASHER.verify(hashed, typed)
        except (VerificationError, InvalidHashError):
            continue
    return False
