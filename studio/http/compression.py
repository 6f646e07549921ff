"""ASGI middleware that compresses the responses of handlers; Brotli for the other modules of this package.

Knows HTTP; pages and files are compressed where they are cached. Only requests of the studio's own pages get so far
(`RequestGuard`), so that nobody can guess at an answer's content by its size.
"""

import brotli
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.access import API

SMALLEST = 2_000  # bytes of an answer that are worth the time
QUALITY = 6  # some 10 ms for 1 MB


def accepts_brotli(scope: Scope) -> bool:
    return "br" in Headers(scope=scope).get("accept-encoding", "")


def compress(body: bytes, quality: int = QUALITY) -> bytes:
    return brotli.compress(body, mode=brotli.MODE_TEXT, quality=quality)


class CompressedAnswers:
    """Compresses answers in JSON that come in one piece; streams of events pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        called = scope["type"] == "http" and f"{API}/run/" in scope["path"] and accepts_brotli(scope)
        if not called:
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                headers, body = MutableHeaders(raw=start["headers"]), message.get("body", b"")
                is_json = headers.get("content-type", "").startswith("application/json")
                if is_json and len(body) >= SMALLEST and not message.get("more_body"):
                    message = {**message, "body": compress(body)}
                    headers["content-encoding"], headers["content-length"] = "br", str(len(message["body"]))
                await send(start)
                start = None
            await send(message)

        await self._app(scope, receive, compressed)
