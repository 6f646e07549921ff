"""An engine in a thread of its own, for requests that come from many threads."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import SimpleQueue

from model.backends.contract import UnavailableError
from model.backends.request import Request
from model.decoding.engine import Engine
from model.events import Event, Failed, TrajectoryFinished

log = logging.getLogger(__name__)

LONGEST_PAUSE = 0.05  # seconds after a step, while others need the processor more


class EngineThread:
    """Serves requests of many threads with one engine, which a single daemon thread steps."""

    def __init__(self, new_engine: Callable[[], Engine], busy: Callable[[], bool] = lambda: False) -> None:
        """`new_engine` is called now and after every exception of an engine; while `busy()` the thread sleeps after a
        step."""
        self._new_engine = new_engine
        self._busy = busy
        self._engine: Engine | None = new_engine()  # None: broken, and no other could be made yet
        self._readers: dict[str, SimpleQueue[Event | UnavailableError]] = {}  # by trajectory
        self._arrival = threading.Condition()
        self._thread = threading.Thread(target=self._drive, name="engine", daemon=True)

    @property
    def at_once(self) -> int:
        return self._engine.at_once

    def renew(self) -> None:
        """Wait until no request runs or is queued, then replace the engine, so that it uses the weights as they are
        then."""
        while True:
            with self._arrival:
                if self._engine is None or not self._engine.busy:
                    if self._engine is not None:
                        self._engine.close()
                    self._engine = None
                    self._engine = self._made()
                    return
            time.sleep(LONGEST_PAUSE)

    def events(self, request: Request) -> Iterator[Event]:
        """As `Backend.events`. Events are buffered without bound; closing the generator cancels the request."""
        closed = threading.Event()
        made = self._readers[request.id] = SimpleQueue()
        try:
            self._add(replace(request, stop=lambda: closed.is_set() or request.stop()))
            event = None
            while not isinstance(event, TrajectoryFinished | Failed):
                event = made.get()
                if isinstance(event, UnavailableError):
                    raise event
                yield event
        finally:
            closed.set()
            del self._readers[request.id]

    def _add(self, request: Request) -> None:
        with self._arrival:
            if self._engine is None:
                self._engine = self._made()
            self._engine.add(request)
            if not self._thread.is_alive():
                self._thread.start()
            self._arrival.notify()

    def _drive(self) -> None:
        """Thread body: step the engine while it has requests, else wait for one."""
        while True:
            with self._arrival:
                self._arrival.wait_for(lambda: self._engine is not None and self._engine.busy)
            began = time.perf_counter()
            try:
                events = self._engine.step()
            except Exception as error:  # of any kind: what was drawn so far has been sent as events
                log.exception("the engine broke")
                events = self._replace_engine(error)
            for event in events:
                self._tell(event.trajectory_id, event)
            if self._busy():
                time.sleep(min(time.perf_counter() - began, LONGEST_PAUSE))

    def _replace_engine(self, error: Exception) -> list[Event]:
        """`Failed` events of the running trajectories; the new engine takes over the queued requests. Where no engine
        can be made, these end with UnavailableError."""
        with self._arrival:
            events, waiting = self._engine.fail(error), list(self._engine.waiting)
            self._engine.close()
            self._engine = None
            try:
                self._engine = self._made()
                self._engine.waiting.extend(waiting)
            except UnavailableError as unavailable:
                for prepared in waiting:
                    self._tell(prepared.id, unavailable)
        return events

    def _made(self) -> Engine:
        try:
            return self._new_engine()
        except Exception as error:  # mostly: no memory
            log.exception("no engine could be made")
            raise UnavailableError(str(error)) from error

    def _tell(self, trajectory: str, event: Event | UnavailableError) -> None:
        if (reader := self._readers.get(trajectory)) is not None:
            reader.put(event)
