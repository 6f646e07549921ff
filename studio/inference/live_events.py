"""A running trajectory's events as timeline updates; stopping, and deletion by receipt.

Knows the generator's events, the timeline's values and the buttons beside it; not what was asked for.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import gradio as gr

from annotations.errors import AnnotationsError, redact_paths
from annotations.store.store import Store
from model.backends.request import RequestError
from model.events import Event, TrajectoryStarted
from studio.auth.identity import is_local, owner_name
from studio.components import render
from studio.components.page_options import QUICK, QUIET
from studio.http.limits import Caller, LimitError
from studio.http.priority import activity
from studio.inference import served_copies
from studio.inference.finished_details import finished_details
from studio.inference.generator import LiveTrajectory
from studio.inference.live_drawings import LiveDrawings
from studio.inference.partial_trajectory import PartialTrajectory
from studio.inference.replays import replay
from studio.inference.request_queue import AT_ONCE, MOST_WAITING, QueueFull, QueuePosition
from studio.settings import Settings

DRAW_QUEUE = {"concurrency_id": "draw", "concurrency_limit": AT_ONCE + MOST_WAITING + 4}  # 4 are told: full
BATCH_SECONDS = 0.045  # at least so long between two values sent to a browser
VALUES = 100.0  # a second, to all browsers together
VALUES_MEANWHILE = 20.0  # … while people who have signed in are at work
RUNNING = (gr.update(visible=False), gr.update(visible=True))  # the buttons that start and stop
IDLE = (gr.update(visible=True), gr.update(visible=False))
SAME = (gr.skip(), gr.skip())


class Sessions:
    """Open pages by session: which is drawing, and which has asked to stop."""

    def __init__(self) -> None:
        self._asked: dict[str, threading.Event] = {}

    def begin(self, session: str) -> threading.Event:
        self._asked[session] = threading.Event()
        return self._asked[session]

    def ask(self, session: str) -> None:
        if session in self._asked:
            self._asked[session].set()

    def stop(self, request: gr.Request) -> None:
        """The handler of a page's Stop button."""
        self.ask(request.session_hash or "")

    @property
    def count(self) -> int:
        return len(self._asked)

    def under_way(self, session: str) -> bool:
        return session in self._asked

    def end(self, session: str) -> None:
        self._asked.pop(session, None)


@dataclass
class Sending:
    """Buffer of events on their way to a page: collected for an interval, then sent as one value."""

    store: Store
    rows: list[render.Row] = field(default_factory=list)
    fresh: int = 0
    sent_at: float = 0.0
    run: str = ""
    receipt: str = ""
    own: bool = True  # whether whoever sees it asked for it, and may delete it

    def add(self, event: Event) -> None:
        if isinstance(event, TrajectoryStarted):
            self.run = event.trajectory_id
            self.receipt = self.store.receipt(self.run) if self.own else ""
        row = render.row(event)
        if row is not None:
            self.rows.append(row)

    def due(self, others: int = 0) -> bool:
        """Whether the interval has passed; it grows with the number of pages that are sent to."""
        after = max(BATCH_SECONDS, others / (VALUES_MEANWHILE if activity.signed_in_active else VALUES))
        return self.fresh < len(self.rows) and time.monotonic() - self.sent_at >= after

    def value(self, partial: PartialTrajectory) -> render.Row:
        """The timeline's value with what is new since the last one, and with the whole trajectory once it has ended."""
        trajectory, pictures = partial
        ended = trajectory if trajectory.stop_reason is not None else None
        whole = render.in_brief(trajectory, pictures.__getitem__) if ended else ()
        value = render.timeline_value(self.run, self.rows, self.fresh, whole, ended)
        if ended is not None:
            value |= finished_details(ended, pictures.__getitem__)
        self.fresh, self.sent_at = len(self.rows), time.monotonic()
        return value | {"receipt": self.receipt}


@dataclass(frozen=True)
class PageVisit:
    """Who asks (owner) and from which open page (session)."""

    owner: str
    session: str
    caller: Caller = field(default=Caller(), compare=False)

    @property
    def asking(self) -> dict[str, str]:
        """Keyword arguments of `Generator.stream`."""
        return {"owner": self.owner, "session": self.session}

    @staticmethod
    def of(request: gr.Request, settings: Settings) -> "PageVisit":
        return PageVisit(owner_name(settings), request.session_hash or "", Caller.of(request))


def live(events: LiveTrajectory, visit: PageVisit, sessions: Sessions, store: Store) -> Iterator[tuple]:
    """Yields (timeline value, start button, stop button) until the trajectory ends."""
    sending = Sending(store)
    try:
        for event in visit.caller.drawing(events, visit.session.partition(" ")[0]):
            if isinstance(event, QueuePosition):
                yield render.notice_value(event.text), *RUNNING
                continue
            sending.add(event)
            if isinstance(event, TrajectoryStarted):
                yield sending.value(events.partial), *RUNNING
            elif sending.due(sessions.count):
                yield sending.value(events.partial), *SAME
                sending.sent_at = time.monotonic()  # where sending takes long, what came meanwhile goes together
        begun = events.partial.trajectory is not None
        yield sending.value(events.partial) if begun else render.notice_value("Stopped before it began."), *IDLE
    except (RequestError, QueueFull, LimitError, AnnotationsError) as error:
        if sending.fresh < len(sending.rows):
            yield sending.value(events.partial), *SAME
        yield notice(redact_paths(error))
    finally:
        events.close()
        sessions.end(visit.session)


def following(run: str, visit: PageVisit, store: Store, settings: Settings) -> Iterator[render.Row]:
    """Yields the timeline's values of a drawing that another page or studio has started, until it ends; last the stored
    trajectory where its studio has ended."""
    sending, partial = Sending(store, own=False), PartialTrajectory()
    try:
        for event in visit.caller.drawing(LiveDrawings.of(store).follow(run), visit.session.partition(" ")[0]):
            partial = partial.after(event)
            sending.add(event)
            if sending.due():
                yield sending.value(partial)
        ended = partial.trajectory is not None and partial.trajectory.stop_reason is not None
        yield sending.value(partial) if ended else replay(store, run, settings)
    except (LimitError, AnnotationsError) as error:
        yield render.notice_value(redact_paths(error))


def let_follow(view: gr.HTML, store: Store, settings: Settings) -> None:
    """Connect a timeline to `following` where its value names a drawing under way (`watch`)."""

    def followed(event: gr.EventData, request: gr.Request) -> Iterator[render.Row]:
        run = str(getattr(event, "run", None) or "")
        yield from following(run, PageVisit.of(request, settings), store, settings)

    view.follow(followed, None, view, **QUIET, **DRAW_QUEUE)


def forget(asked: gr.EventData, visit: PageVisit, store: Store, settings: Settings) -> render.Row:
    """Delete a trajectory for the holder of its receipt, or in local mode for the person at the machine; returns the
    timeline's value. `asked` has `run` and `receipt`."""
    run, receipt = (str(getattr(asked, name, None) or "") for name in ("run", "receipt"))
    try:
        if not is_local(settings) and not store.is_receipt(receipt, run):
            return render.notice_value("Only the browser that asked for a drawing can delete it.")
        store.hide(run, by=visit.owner)
        served_copies.remove(store, run)
    except AnnotationsError as error:
        return render.notice_value(f"That cannot be deleted: {redact_paths(error)}.")
    return render.empty_value("It is deleted: nobody sees it any more, here or in the gallery.") | {"gone": run}


def let_forget(view: gr.HTML, store: Store, settings: Settings) -> None:
    """Connect the timeline's delete event to `forget`."""

    def forgotten(event: gr.EventData, request: gr.Request) -> render.Row:
        return forget(event, PageVisit.of(request, settings), store, settings)

    view.forget(forgotten, None, view, **QUICK)


def notice(text: str, *, anyway: str = "") -> tuple:
    """Timeline value with a message in place of a drawing, and idle buttons."""
    return render.notice_value(text, anyway=anyway), *IDLE
