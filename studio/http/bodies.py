"""Request bodies: size and speed limits, buffering, refusals.

Knows HTTP and limits; no route and no page.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.http.limits import MB, LimitError
from studio.http.whole_numbers import whole_number

GRACE, SLOWEST = 30.0, 20_000.0  # a visitor's body may take 30 seconds, and one more for each 20 kB


def refusal(status: int, message: str, **headers: str) -> Response:
    """A refusal that pages and programs show: Gradio's clients read `error` of some answers and `detail` of others."""
    return JSONResponse({"error": message, "detail": message}, status, headers=headers)


class BodyLimit:
    """Ends a request whose body grows beyond a bound, with a status of 413. Raises LimitError where `receive` does."""

    def __init__(self, app: ASGIApp, most: int, hint: str) -> None:
        self._app, self._most, self._hint = app, most, hint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = TooLargeError(self._most, self._hint)
        if declares_more(scope, self._most):
            await problem.answer(scope, receive, send)
            return
        size, exceeded, started, limit_error = 0, False, False, None

        async def counted() -> Message:
            nonlocal size, exceeded, limit_error
            try:
                message = await receive()
            except LimitError as error:
                exceeded, limit_error = True, error
                return {"type": "http.disconnect"}
            size += len(message.get("body", b""))
            if size > self._most:
                exceeded = True
                return {"type": "http.disconnect"}
            return message

        async def send_unless_exceeded(message: Message) -> None:
            nonlocal started
            if not exceeded or started:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, send_unless_exceeded)
        except Exception:
            if not exceeded:
                raise
        if exceeded and not started:
            if limit_error is not None:
                raise limit_error
            await problem.answer(scope, receive, send)


class TooLargeError(Exception):
    """What was sent is larger than it may be."""

    def __init__(self, most: int, hint: str = "") -> None:
        super().__init__(f"What was sent is too large: {hint or f'wanted at most {most // MB} MB'}.")

    @property
    def answer(self) -> Response:
        return refusal(413, str(self), Connection="close")


def declares_more(scope: Scope, most: int) -> bool:
    """Whether a request says that its body is."""
    length = Headers(scope=scope).get("content-length", "")
    number = whole_number(length)
    return bool(length) and (number is None or number > most)


def replay_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that delivers a body which has been read already, then whatever `receive` delivers."""
    delivered = False

    async def replay() -> Message:
        nonlocal delivered
        if delivered:
            return await receive()
        delivered = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def with_deadline(receive: Receive) -> Receive:
    """A `receive` that raises LimitError where a body arrives more slowly than GRACE and SLOWEST allow."""
    started, size, more = time.monotonic(), 0, True

    async def on_time() -> Message:
        nonlocal size, more
        if not more:
            return await receive()
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + remaining()):
                message = await receive()
        except TimeoutError as error:
            raise LimitError("What you send arrives too slowly. Send it again, over a faster connection.") from error
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        return message

    def remaining() -> float:
        return max(0.0, started + GRACE + size / SLOWEST - time.monotonic())

    return on_time


def count_body(receive: Receive, count: Callable[[bytes], Awaitable[None]]) -> Receive:
    """A `receive` that passes each part of the body to `count` as it arrives."""

    async def counting() -> Message:
        message = await receive()
        if part := message.get("body", b""):
            await count(part)
        return message

    return counting
