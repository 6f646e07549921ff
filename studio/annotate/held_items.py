"""Items held by open pages, released when a page closes.

Knows the queue; a page is known by its session. Lives as long as the process: what it forgets lapses by itself.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import gradio as gr
from anyio import to_thread

from annotations.queue import assignment
from annotations.store.store import Store

Held = tuple[str, dict[int, datetime]]  # the annotator; each item with the page's last sign of life


@dataclass(frozen=True)
class HeldItems:
    """Who has opened which items on which page."""

    store: Store
    open: dict[str, Held] = field(default_factory=dict)  # by session

    def remember(self, session: str, name: str, item: int) -> None:
        _, items = self.open.setdefault(session, (name, {}))
        items[item] = self.store.clock()

    def renew(self, session: str, item: int) -> None:
        """A page gave a sign of life, which renewed its lease."""
        if session in self.open and item in self.open[session][1]:
            self.open[session][1][item] = self.store.clock()

    def forget(self, session: str, item: int) -> None:
        """What is done need not be given back."""
        if session in self.open:
            self.open[session][1].pop(item, None)

    def leave(self, session: str) -> None:
        """The page went away: its items may go to others, but for those that another page of this person has open, be
        it one that has only just claimed them."""
        name, items = self.open.pop(session, ("", {}))
        elsewhere = {item for other, theirs in list(self.open.values()) if other == name for item in list(theirs)}
        mine = {item: moment for item, moment in items.items() if item not in elsewhere}
        if mine:
            assignment.leave(self.store, name, unless_renewed_after=mine)


def on_closing(leave: Callable[[gr.Request], None], holding: HeldItems) -> Callable[[gr.Request], Awaitable[None]]:
    """`leave` for pages that have something open, in a thread; for all others, which are most, nothing."""

    async def closed(request: gr.Request) -> None:
        if (request.session_hash or "") in holding.open:
            await to_thread.run_sync(leave, request)

    return closed
