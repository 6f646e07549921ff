"""A client of one page: its components and handlers over HTTP, without a browser.

Knows Gradio's protocol; nothing of what the pages mean.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2

API = "/gradio_api"


class HandlerError(Exception):
    """A handler failed, or what was asked could not be asked; the message says what the server said."""


@dataclass(frozen=True)
class Handler:
    """What the page does when something on it happens."""

    fn_index: int
    trigger: int
    inputs: tuple[str, ...]  # the names (elem_id) of the fields that are sent along; empty for those without one
    outputs: tuple[str, ...]  # … and of those that it gives back
    values: tuple[Any, ...]  # of the inputs, before anybody has touched them
    queued: bool = True  # whether it is called through the queue, as its page does

    @staticmethod
    def filling(config: dict, page: str) -> list[Handler]:
        """What the page does when it is opened."""
        shown = config["page"][page]["dependencies"]
        there = [one for one in config["dependencies"] if one["id"] in shown and one["backend_fn"]]
        loads = [(one, target) for one in there for target in one["targets"] if target[1] == "load"]
        return [Handler._of(config, one, target) for one, target in loads]

    @staticmethod
    def on(config: dict, page: str, name: str, event: str) -> Handler:
        """What happens at an event of the element `name`; at “load”, what fills it when the page is opened."""
        props = {one["id"]: one["props"] for one in config["components"]}
        shown = config["page"][page]
        [element] = [id for id in shown["components"] if props[id].get("elem_id") == name]
        there = [one for one in config["dependencies"] if one["id"] in shown["dependencies"] and one["backend_fn"]]
        events = [(one, target) for one in there for target in one["targets"] if target[1] == event]
        [(found, target)] = [
            (one, target)
            for one, target in events
            if target[0] == element or event == "load" and element in one["outputs"]
        ]
        return Handler._of(config, found, target)

    @staticmethod
    def _of(config: dict, found: dict, target: list) -> Handler:
        props = {one["id"]: one["props"] for one in config["components"]}

        def names(ids: list[int]) -> tuple[str, ...]:
            return tuple(props.get(id, {}).get("elem_id") or "" for id in ids)

        values = tuple(props.get(id, {}).get("value") for id in found["inputs"])
        queued = found["queue"] is not False
        return Handler(found["id"], target[0], names(found["inputs"]), names(found["outputs"]), values, queued)


class PageClient:
    """One open page. `fields` has what its named fields hold."""

    def __init__(self, client: httpx2.AsyncClient, query: str = "") -> None:
        self.session = uuid4().hex
        self.fields: dict[str, Any] = {}
        self._client = client
        self._query = query

    def asked(self, handler: Handler, data: list[Any]) -> dict[str, Any]:
        """The body of a call."""
        called = {"fn_index": handler.fn_index, "trigger_id": handler.trigger}
        return {"data": data, **called, "session_hash": self.session, "event_data": None}

    async def messages(self, handler: Handler, data: list[Any]) -> AsyncIterator[dict[str, Any]]:
        """What the server says while a handler works, until it has ended."""
        sent = self.asked(handler, data)
        (await self._client.post(f"{API}/queue/join{self._query}", json=sent)).raise_for_status()
        where = {"session_hash": self.session}
        async with self._client.stream("GET", f"{API}/queue/data", params=where) as stream:
            async for line in stream.aiter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line.removeprefix("data:"))
                yield message
                if message.get("msg") in ("process_completed", "unexpected_error"):
                    return

    async def ask(self, handler: Handler) -> None:
        """Let a handler work on the fields, as they are. Raises HandlerError, and httpx2.HTTPError."""
        data = [self.fields.get(name) for name in handler.inputs]
        given = await (self._through_queue(handler, data) if handler.queued else self._at_once(handler, data))
        for name, value in zip(handler.outputs, given["data"], strict=True):
            if not (isinstance(value, dict) and value.get("__type__") == "update"):
                self.fields[name] = value
            elif "value" in value:
                self.fields[name] = value["value"]

    async def _through_queue(self, handler: Handler, data: list[Any]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        async for message in self.messages(handler, data):
            told = message
        given = told.get("output") or {}
        if told.get("msg") != "process_completed" or not told.get("success"):
            raise HandlerError(str(given.get("error") or told.get("message") or "the answer broke off"))
        return given

    async def _at_once(self, handler: Handler, data: list[Any]) -> dict[str, Any]:
        answer = await self._client.post(f"{API}/run/predict{self._query}", json=self.asked(handler, data))
        if answer.status_code in (422, 500) and isinstance(said := answer.json(), dict) and said.get("error"):
            raise HandlerError(str(said["error"]))
        return answer.raise_for_status().json()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """While it is open the server hears of it, and when it is closed, too."""
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    async def _beat(self) -> None:
        while True:
            with suppress(httpx2.HTTPError):
                async with self._client.stream("GET", f"{API}/heartbeat/{self.session}") as stream:
                    async for _ in stream.aiter_bytes():
                        pass
            await asyncio.sleep(0.5)
