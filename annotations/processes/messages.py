"""Messages among studios that share a PostgreSQL database, exchanged every half second.

For what holds for all of them and changes too often for rows of its own: what visitors used up, failed sign-ins, files
to remove. A message is read within a second, and kept for a minute. With SQLite nothing is told.
"""

import threading
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, func, insert, select

from annotations.db.process_tables import ProcessMessageRow
from annotations.processes.periodic import run_periodically
from annotations.store.store import Store

EVERY = timedelta(seconds=0.5)
KEPT = timedelta(minutes=1)

_of: "weakref.WeakKeyDictionary[Store, ProcessMessages]" = weakref.WeakKeyDictionary()
_making = threading.Lock()


class ProcessMessages:
    """What this process sends to the others and applies of theirs, by topic."""

    def __init__(self, store: Store) -> None:
        self.process = uuid4().hex
        self.shared = store.database.url is not None
        self._store: Store = weakref.proxy(store)
        self._topics: dict[str, tuple[Callable[[], Any], Callable[[str, Any], None]]] = {}
        self._unsent: dict[str, Any] = {}
        self._last_read = 0
        self._lock = threading.Lock()
        if self.shared:
            with store.database.reading() as session:
                self._last_read = session.scalar(select(func.max(ProcessMessageRow.id))) or 0
            run_periodically(self.exchange, EVERY, "messages", stop=store.closed)

    @staticmethod
    def of(store: Store) -> "ProcessMessages":
        with _making:
            if store not in _of:
                _of[store] = ProcessMessages(store)
            return _of[store]

    def share(self, topic: str, collect: Callable[[], Any], apply: Callable[[str, Any], None]) -> None:
        """`collect` returns what is new to send (JSON), or nothing; `apply` gets the sender and what it sent."""
        self._topics[topic] = (collect, apply)

    def exchange(self) -> None:
        """Send what is new, and apply what others sent. Raises DatabaseError; what could not be sent is sent later."""
        with self._lock:
            self._exchange()

    def _exchange(self) -> None:
        self._unsent = self._unsent or {
            topic: told for topic, (collect, _) in list(self._topics.items()) if (told := collect())
        }
        row = ProcessMessageRow
        if self._unsent:
            with self._store.database.writing() as session:
                now = self._store.clock()
                values = {"process": self.process, "body": self._unsent, "created_at": now}
                session.execute(insert(row).values(**values))
                session.execute(delete(row).where(row.created_at < now - KEPT))
            self._unsent = {}
        query = select(row.id, row.process, row.body).where(row.id > self._last_read).order_by(row.id)
        with self._store.database.reading() as session:
            messages = session.execute(query).all()
        for number, process, body in messages:
            self._last_read = number
            if process != self.process:
                for topic, told in body.items():
                    if topic in self._topics:
                        self._topics[topic][1](process, told)
