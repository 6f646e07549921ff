"""Items held by open pages, released when a page closes.

Knows the queue; a page is known by its session. Lives as long as the process: what it forgets lapses by itself.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import gradio as gr
from anyio import to_thread

from annotations.queue import assignment
from annotations.store.store import Store


@dataclass(frozen=True)
class HeldItems:
    """Who has opened which items on which page."""

    store: Store
    open: dict[str, tuple[str, frozenset[int]]] = field(default_factory=dict)

    def remember(self, session: str, name: str, item: int) -> None:
        _, before = self.open.get(session, (name, frozenset()))
        self.open[session] = (name, before | {item})

    def forget(self, session: str, item: int) -> None:
        """What is done need not be given back."""
        if session in self.open:
            name, items = self.open[session]
            self.open[session] = (name, items - {item})

    def leave(self, session: str) -> None:
        """The page went away: its items may go to others, but for those that another page of this person has open."""
        name, items = self.open.pop(session, ("", frozenset()))
        elsewhere = {item for other, theirs in list(self.open.values()) if other == name for item in theirs}
        for item in items - elsewhere:
            assignment.leave(self.store, name, item)


def on_closing(leave: Callable[[gr.Request], None], holding: HeldItems) -> Callable[[gr.Request], Awaitable[None]]:
    """`leave` for pages that have something open, in a thread; for all others, which are most, nothing."""

    async def closed(request: gr.Request) -> None:
        if (request.session_hash or "") in holding.open:
            await to_thread.run_sync(leave, request)

    return closed
