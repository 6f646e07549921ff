"""Simulated annotators over HTTP: what they were shown, what was confirmed, latencies.

Knows the fields of the Annotate page; not the database, which is asked afterwards.
"""

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
from studio.load.cluster import Studio
from studio.load.page_client import Handler, HandlerError, PageClient

TIMEOUT = 120.0  # seconds for one response
MAX_ERRORS = 100  # after which an annotator gives up
NO_ANSWER = (502, 503, 504)  # of a proxy, where the studio behind it ended meanwhile
SAVED_FIRST = 0.3  # share of answers that are saved unfinished before they are submitted


@dataclass(frozen=True)
class PageActions:
    """The handlers of the Annotate page."""

    start: Handler
    submit: Handler
    save: Handler
    prepare: Handler

    @staticmethod
    async def of(server: Studio) -> "PageActions":
        async with httpx2.AsyncClient(base_url=server.url, timeout=None) as client:
            config = (await client.get("/config")).raise_for_status().json()
        return PageActions(
            start=Handler.on(config, "annotate", "annotate-token", "load"),
            submit=Handler.on(config, "annotate", "annotate-submit", "click"),
            save=Handler.on(config, "annotate", "annotate-save", "click"),
            prepare=Handler.on(config, "annotate", "annotate-token", "change"),
        )


@dataclass
class Annotator:
    """A simulated annotator: credentials, and what was shown to and confirmed for them."""

    name: str
    password: str
    project: str
    shown: set[int] = field(default_factory=set)  # items
    confirmed: dict[str, dict[str, Any]] = field(default_factory=dict)  # answers by their key
    times: list[float] = field(default_factory=list)  # ms from submit to the next item
    errors: list[str] = field(default_factory=list)
    broken_off: int = 0  # submits without a response; they were sent again

    async def work(
        self,
        server: Studio,
        actions: PageActions,
        *,
        most: int | None = None,
        over: Callable[[], bool] = lambda: False,
        pause: float = 0,
    ) -> None:
        """Sign in, and submit until nothing waits, so many times, or until it is `over`, with a pause of about so
        many seconds before each; through whatever happens to the server.

        Raises HandlerError where they are not let in, or everything goes wrong.
        """
        rng = random.Random(self.name)
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=server.url, timeout=TIMEOUT, limits=limits) as client:
            await self._sign_in(server, client)
            page = PageClient(client, f"?project={self.project}")
            async with page.open():
                await self._call_until_answered(server, page, actions.start)
                submits = 0
                while page.fields.get("annotate-token") and (most is None or submits < most) and not over():
                    await asyncio.sleep(pause * rng.uniform(0.5, 1.5))
                    await self._answer(server, page, actions, rng)
                    submits += 1

    async def _sign_in(self, server: Studio, client: httpx2.AsyncClient) -> None:
        """Sign in and load the page. Raises HandlerError where that is refused."""
        form = {"name": self.name, "password": self.password, "to": "annotate"}
        while True:
            try:
                answer = await client.post("/enter", data=form)
                page = await client.get("/annotate")
                if {answer.status_code, page.status_code} & set(NO_ANSWER):
                    continue
                if answer.headers.get("location") != "annotate":
                    raise HandlerError(f"{self.name} was not let in but sent to {answer.headers.get('location')}")
                page.raise_for_status()
                return
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
                await server.up.wait()

    async def _answer(self, server: Studio, page: PageClient, actions: PageActions, rng: random.Random) -> None:
        """Fill in the form and submit it; where that broke off, again with the same token or after a reload."""
        token, errors_before = page.fields["annotate-token"], len(self.errors)
        item = ItemToken.read(token)
        self.shown.add(item.item)
        answers = self._fill(page.fields, item, rng)
        await self._call_until_answered(server, page, actions.prepare)
        if rng.random() < SAVED_FIRST:
            await self._call_until_answered(server, page, actions.save)
        began = time.perf_counter()
        while not await self._call(page, actions.submit):
            self.broken_off += 1
            await server.up.wait()
            if rng.random() < 0.5:
                await self._call_until_answered(server, page, actions.start)
                return
            began = time.perf_counter()
        note = page.fields.get("annotate-note")
        if len(self.errors) == errors_before and (note or page.fields["annotate-token"] == token):
            self.errors.append(note or "a submit led nowhere")
        if len(self.errors) > MAX_ERRORS:
            raise HandlerError(f"{self.name} gave up after {len(self.errors)} errors, the last: {self.errors[-1]}")
        if len(self.errors) > errors_before:
            await self._call_until_answered(server, page, actions.start)
            return
        self.times.append(1000 * (time.perf_counter() - began))
        self.confirmed[f"{item.key}-{item.segment}"] = answers

    def _fill(self, fields: dict[str, Any], item: ItemToken, rng: random.Random) -> dict[str, Any]:
        """Fill in the form at random; the answers as they are to be stored."""
        answers = {VERDICT_RIGHT: rng.choice((YES, NO)), REASON_RATING: rng.randint(1, 5)}
        if answers[VERDICT_RIGHT] == NO:
            answers[REASON_CORRECTION] = f"there are {rng.randint(1, 10**9)}, says {self.name}."
        fields["annotate-sheet"] = json.dumps({item.segment: answers})
        fields["annotate-note"] = ""
        return answers

    async def _call_until_answered(self, server: Studio, page: PageClient, handler: Handler) -> None:
        """Repeat a call until the server has responded, through restarts."""
        while not await self._call(page, handler):
            await server.up.wait()

    async def _call(self, page: PageClient, handler: Handler) -> bool:
        """Whether the server responded; a refusal is recorded as an error, a broken connection is not."""
        try:
            await page.ask(handler)
        except httpx2.TransportError:
            await asyncio.sleep(0.05)
            return False
        except (HandlerError, httpx2.HTTPStatusError) as error:
            if isinstance(error, httpx2.HTTPStatusError) and error.response.status_code in NO_ANSWER:
                await asyncio.sleep(0.05)
                return False
            self.errors.append(f"{type(error).__name__}: {error}")
        return True
