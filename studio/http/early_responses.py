"""Reads the rest of a request's body after an early response (such as 413), so that the client gets it.

Knows ASGI. A server that closes a connection on which something is left to read resets it, and what it sent is lost:
a browser shows a lost connection, and a reverse proxy answers 502, where there was a 413 with its reason.
"""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.http.priority import ByteRate

MOST = 256_000_000  # bytes that are read and thrown away
LONGEST = 30.0  # seconds
SILENCE = 2.0  # seconds after which nothing more is expected


class DrainRequestBody:
    """Reads on, within bounds, after an answer that was given early, and closes the connection then."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._pace = ByteRate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        unread = True

        async def watched_receive() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def send_then_discard(message: Message) -> None:
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not ends or not unread:
                await send(message)
                return
            await send({**message, "more_body": True})
            await _discard(watched_receive, self._pace)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, watched_receive, send_then_discard)


def _has_body(scope: Scope) -> bool:
    """Whether one is on its way: not where a client waits for the word to send it."""
    headers = Headers(scope=scope)
    named = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    return named and "expect" not in headers


async def _discard(receive: Receive, pace: ByteRate) -> None:
    size, until = 0, time.monotonic() + LONGEST
    while size <= MOST and time.monotonic() < until:
        try:
            message = await asyncio.wait_for(receive(), SILENCE)
        except TimeoutError:
            return
        size += len(message.get("body", b""))
        await pace.take(len(message.get("body", b"")))
        if not message.get("more_body", False):
            return
