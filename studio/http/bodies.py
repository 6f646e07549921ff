"""Request bodies: size and speed limits, buffering, refusals.

Knows HTTP and limits; no route and no page.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.http.limits import MB, LimitError
from studio.http.whole_numbers import whole_number

GRACE, SLOWEST = 30.0, 20_000.0  # seconds until a visitor's body has to arrive, and bytes a second that add to them


def refused(status: int, message: str, **headers: str) -> Response:
    """A refusal that pages and programs show: Gradio's clients read `error` of some answers and `detail` of others."""
    return JSONResponse({"error": message, "detail": message}, status, headers=headers)


class BodyLimit:
    """Ends a request whose body grows beyond a bound, with a status of 413. Raises LimitError where `receive` does."""

    def __init__(self, app: ASGIApp, most: int, wanted: str) -> None:
        self._app, self._most, self._wanted = app, most, wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = TooLargeError(self._most, self._wanted)
        if is_longer(scope, self._most):
            await problem.answer(scope, receive, send)
            return
        size, over, begun, limit = 0, False, False, None

        async def counted() -> Message:
            nonlocal size, over, limit
            try:
                message = await receive()
            except LimitError as error:
                over, limit = True, error
                return {"type": "http.disconnect"}
            size += len(message.get("body", b""))
            if size > self._most:
                over = True
                return {"type": "http.disconnect"}
            return message

        async def unless_over(message: Message) -> None:
            nonlocal begun
            if not over or begun:
                begun = True
                await send(message)

        try:
            await self._app(scope, counted, unless_over)
        except Exception:
            if not over:
                raise
        if over and not begun:
            if limit is not None:
                raise limit
            await problem.answer(scope, receive, send)


class TooLargeError(Exception):
    """What was sent is larger than it may be."""

    def __init__(self, most: int, wanted: str = "") -> None:
        super().__init__(f"What was sent is too large: {wanted or f'wanted at most {most // MB} MB'}.")

    @property
    def answer(self) -> Response:
        return refused(413, str(self), Connection="close")


def is_longer(scope: Scope, most: int) -> bool:
    """Whether a request says that its body is."""
    length = Headers(scope=scope).get("content-length", "")
    number = whole_number(length)
    return bool(length) and (number is None or number > most)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body that has been read, once more; then what `receive` says."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def paced(receive: Receive) -> Receive:
    """A body that keeps a place no longer than one over a slow connection would. It raises LimitError."""
    begun, size, more = time.monotonic(), 0, True

    async def on_time() -> Message:
        nonlocal size, more
        if not more:
            return await receive()
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + left()):
                message = await receive()
        except TimeoutError as error:
            raise LimitError("What you send arrives too slowly. Send it again, over a faster connection.") from error
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        return message

    def left() -> float:
        return max(0.0, begun + GRACE + size / SLOWEST - time.monotonic())

    return on_time


def counted(receive: Receive, count: Callable[[bytes], Awaitable[None]]) -> Receive:
    """A body whose parts are told as they arrive."""

    async def counting() -> Message:
        message = await receive()
        if part := message.get("body", b""):
            await count(part)
        return message

    return counting
