"""A first-in, first-out lock for threads."""

import threading
from collections import deque


class FairLock:
    """`threading.Lock` has no order: a thread that gives it back and asks again at once wins over those that wait, so
    that many short pieces of work of one thread would hold up everybody.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def take(self, timeout: float) -> bool:
        """Whether it became this thread's turn within so many seconds."""
        turn = threading.Event()
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            self._waiting.append(turn)
        if turn.wait(timeout):
            return True
        with self._lock:
            if turn.is_set():  # it came at the last moment
                return True
            self._waiting.remove(turn)
        return False

    def give_back(self) -> None:
        """The turn goes to who asked first."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
