"""Simulated annotators over HTTP: what they were shown, what was confirmed, latencies.

Knows the fields of the Annotate page; not the database, which is asked afterwards.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from annotations.schema.questions import NO, REASON_CORRECTION, REASON_RATING, VERDICT_RIGHT, YES
from studio.annotate.item_token import ItemToken
from studio.load.page_client import Handler, HandlerError, PageClient
from studio.load.server import Server

PATIENCE = 120.0  # seconds for one answer
MOST_ERRORS = 100  # after which somebody gives up
KEPT = 0.3  # share of answers that the page keeps unfinished before they are submitted, as it does while one types


@dataclass(frozen=True)
class PageActions:
    """What the page's buttons do."""

    start: Handler
    submit: Handler
    save: Handler
    prepare: Handler

    @staticmethod
    def of(config: dict) -> PageActions:
        return PageActions(
            start=Handler.on(config, "annotate", "annotate-token", "load"),
            submit=Handler.on(config, "annotate", "annotate-submit", "click"),
            save=Handler.on(config, "annotate", "annotate-save", "click"),
            prepare=Handler.on(config, "annotate", "annotate-token", "change"),
        )


@dataclass
class Annotator:
    """One person, and what they remember of their work."""

    name: str
    password: str
    project: str
    shown: set[int] = field(default_factory=set)  # items
    confirmed: dict[str, dict[str, Any]] = field(default_factory=dict)  # answers by their key
    times: list[float] = field(default_factory=list)  # ms from submit to the next item
    errors: list[str] = field(default_factory=list)
    cut: int = 0  # submits that broke off, so that nothing was confirmed; they were sent again

    async def work(
        self,
        server: Server,
        desk: PageActions,
        *,
        most: int | None = None,
        over: Callable[[], bool] = lambda: False,
        pause: float = 0,
    ) -> None:
        """Sign in, and submit until nothing waits, so many times, or until it is `over`, with a pause of about so
        many seconds before each; through whatever happens to the server.

        Raises HandlerError where they are not let in, or everything goes wrong.
        """
        chance = random.Random(self.name)
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=limits) as client:
            await self._arrive(server, client)
            tab = PageClient(client, f"?project={self.project}")
            async with tab.open():
                await self._through(server, tab, desk.start)
                done = 0
                while tab.fields.get("annotate-token") and (most is None or done < most) and not over():
                    await asyncio.sleep(pause * chance.uniform(0.5, 1.5))
                    await self._answer(server, tab, desk, chance)
                    done += 1

    async def _arrive(self, server: Server, client: httpx2.AsyncClient) -> None:
        """Sign in and load the page. Raises HandlerError where the door stays closed."""
        form = {"name": self.name, "password": self.password, "to": "annotate"}
        while True:
            try:
                answer = await client.post("/enter", data=form)
                if answer.headers.get("location") != "annotate":
                    raise HandlerError(f"{self.name} was not let in but sent to {answer.headers.get('location')}")
                (await client.get("/annotate")).raise_for_status()
                return
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
                await server.up.wait()

    async def _answer(self, server: Server, tab: PageClient, desk: PageActions, chance: random.Random) -> None:
        """Fill in the form and submit it; where that broke off again, with the same token or after a reload."""
        token, wrong = tab.fields["annotate-token"], len(self.errors)
        showing = ItemToken.read(token)
        self.shown.add(showing.item)
        said = self._fill(tab.fields, showing, chance)
        await self._through(server, tab, desk.prepare)
        if chance.random() < KEPT:
            await self._through(server, tab, desk.save)
        began = time.perf_counter()
        while not await self._try(tab, desk.submit):
            self.cut += 1
            await server.up.wait()
            if chance.random() < 0.5:
                await self._through(server, tab, desk.start)
                return
            began = time.perf_counter()
        note = tab.fields.get("annotate-note")
        if len(self.errors) == wrong and (note or tab.fields["annotate-token"] == token):
            self.errors.append(note or "a submit led nowhere")
        if len(self.errors) > MOST_ERRORS:
            raise HandlerError(f"{self.name} gave up after {len(self.errors)} errors, the last: {self.errors[-1]}")
        if len(self.errors) > wrong:
            await self._through(server, tab, desk.start)
            return
        self.times.append(1000 * (time.perf_counter() - began))
        self.confirmed[f"{showing.key}-{showing.segment}"] = said

    def _fill(self, fields: dict[str, Any], showing: ItemToken, chance: random.Random) -> dict[str, Any]:
        """Answer what is asked; the answers as they are to be stored."""
        said = {VERDICT_RIGHT: chance.choice((YES, NO)), REASON_RATING: chance.randint(1, 5)}
        if said[VERDICT_RIGHT] == NO:
            said[REASON_CORRECTION] = f"there are {chance.randint(1, 10**9)}, says {self.name}."
        fields["annotate-sheet"] = json.dumps({showing.segment: said})
        fields["annotate-note"] = ""
        return said

    async def _through(self, server: Server, tab: PageClient, handler: Handler) -> None:
        """Ask until the server has answered, however often it goes away meanwhile."""
        while not await self._try(tab, handler):
            await server.up.wait()

    async def _try(self, tab: PageClient, handler: Handler) -> bool:
        """Whether the server answered. What it refuses is an error; that it is not there is none."""
        try:
            await tab.ask(handler)
        except httpx2.TransportError:
            await asyncio.sleep(0.05)
            return False
        except (HandlerError, httpx2.HTTPStatusError) as error:
            self.errors.append(f"{type(error).__name__}: {error}")
        return True
