"""A client of one page: its components and handlers over HTTP, without a browser.

Knows Gradio's protocol; nothing of what the pages mean.
"""

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
    """A handler failed or refused its input; the message is the server's."""


@dataclass(frozen=True)
class Handler:
    """A handler of a page: what it is called with, and which fields it fills."""

    fn_index: int
    trigger: int
    inputs: tuple[str, ...]  # the names (elem_id) of the fields that are sent along; empty for those without one
    outputs: tuple[str, ...]  # … and of those that it gives back
    values: tuple[Any, ...]  # of the inputs, before anybody has touched them
    queued: bool = True  # whether it is called through the queue, as its page does

    @staticmethod
    def on_load(config: dict) -> "list[Handler]":
        """The handlers that run when the front page is opened."""
        shown = config["page"][""]["dependencies"]
        handlers = [handler for handler in config["dependencies"] if handler["id"] in shown and handler["backend_fn"]]
        loads = [(handler, target) for handler in handlers for target in handler["targets"] if target[1] == "load"]
        return [Handler._of(config, handler, target) for handler, target in loads]

    @staticmethod
    def on(config: dict, page: str, name: str, event: str) -> "Handler":
        """The handler of an event of the element `name`; of “load”, the one that fills it when the page is opened."""
        props = {handler["id"]: handler["props"] for handler in config["components"]}
        page_config = config["page"][page]
        [element] = [id for id in page_config["components"] if props[id].get("elem_id") == name]
        handlers = [
            handler
            for handler in config["dependencies"]
            if handler["id"] in page_config["dependencies"] and handler["backend_fn"]
        ]
        events = [(handler, target) for handler in handlers for target in handler["targets"] if target[1] == event]
        [(handler, target)] = [
            (handler, target)
            for handler, target in events
            if target[0] == element or event == "load" and element in handler["outputs"]
        ]
        return Handler._of(config, handler, target)

    @staticmethod
    def _of(config: dict, dependency: dict, target: list) -> "Handler":
        props = {component["id"]: component["props"] for component in config["components"]}

        def names(ids: list[int]) -> tuple[str, ...]:
            return tuple(props.get(id, {}).get("elem_id") or "" for id in ids)

        values = tuple(props.get(id, {}).get("value") for id in dependency["inputs"])
        queued = dependency["queue"] is not False
        return Handler(
            dependency["id"], target[0], names(dependency["inputs"]), names(dependency["outputs"]), values, queued
        )


class PageClient:
    """One open page. `fields`: current values by elem_id."""

    def __init__(self, client: httpx2.AsyncClient, query: str = "") -> None:
        self.session = uuid4().hex
        self.fields: dict[str, Any] = {}
        self._client = client
        self._query = query

    def call_body(self, handler: Handler, data: list[Any], event: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON body of a call; `event` is what a component's own event says."""
        called = {"fn_index": handler.fn_index, "trigger_id": handler.trigger}
        return {"data": data, **called, "session_hash": self.session, "event_data": event}

    async def messages(
        self, handler: Handler, data: list[Any], event: dict[str, Any] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The messages of the queue about a call, until it has ended."""
        body = self.call_body(handler, data, event)
        (await self._client.post(f"{API}/queue/join{self._query}", json=body)).raise_for_status()
        params = {"session_hash": self.session}
        async with self._client.stream("GET", f"{API}/queue/data", params=params) as stream:
            async for line in stream.aiter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line.removeprefix("data:"))
                yield message
                if message.get("msg") in ("process_completed", "unexpected_error"):
                    return

    async def ask(self, handler: Handler) -> None:
        """Call a handler with the current fields, and store what it returns. Raises HandlerError, httpx2.HTTPError."""
        data = [self.fields.get(name) for name in handler.inputs]
        answer = await (self._through_queue(handler, data) if handler.queued else self._directly(handler, data))
        for name, value in zip(handler.outputs, answer["data"], strict=True):
            if not (isinstance(value, dict) and value.get("__type__") == "update"):
                self.fields[name] = value
            elif "value" in value:
                self.fields[name] = value["value"]

    async def _through_queue(self, handler: Handler, data: list[Any]) -> dict[str, Any]:
        last: dict[str, Any] = {}
        async for message in self.messages(handler, data):
            last = message
        output = last.get("output") or {}
        if last.get("msg") != "process_completed" or not last.get("success"):
            raise HandlerError(str(output.get("error") or last.get("message") or "the answer broke off"))
        return output

    async def _directly(self, handler: Handler, data: list[Any]) -> dict[str, Any]:
        response = await self._client.post(f"{API}/run/predict{self._query}", json=self.call_body(handler, data))
        if response.status_code in (422, 500) and isinstance(problem := response.json(), dict) and problem.get("error"):
            raise HandlerError(str(problem["error"]))
        return response.raise_for_status().json()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keeps the heartbeat stream of an open page inside the context; the server notices its end."""
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
