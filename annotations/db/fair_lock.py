"""A first-in, first-out lock for threads."""

import threading
from collections import deque


class FairLock:
    """`threading.Lock` has no order: a thread that releases it and acquires it again at once wins over the threads that
    wait, so that one thread with many short transactions would hold up all others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._locked = False

    def acquire(self, timeout: float) -> bool:
        """Whether the lock was acquired within `timeout` seconds."""
        granted = threading.Event()
        with self._lock:
            if not self._locked:
                self._locked = True
                return True
            self._waiting.append(granted)
        if granted.wait(timeout):
            return True
        with self._lock:
            if granted.is_set():  # between the timeout and this line
                return True
            self._waiting.remove(granted)
        return False

    def release(self) -> None:
        """Hand the lock to the thread that has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._locked = False
