"""The HTTP endpoints of replicas, as Starlette responses. Knows a replica and its neighbours, not how they run.

GET  /about     what is drawn here: name, image size, capabilities, sampling settings, version of the weights
GET  /replicas  every replica: its process, drawings under way, room, version
POST /events    a request (wire.py); its events as they are made, a line of JSON each, partial images among them
POST /rollout   a request; once it has ended its trajectory, pictures, token ids, masks, log-probabilities
POST /tokens    {"text"} as the backend's tokens
POST /source    {"picture", "task"} as the backend sees it
POST /weights   {"source"}, a checkpoint, or a safetensors file of parameters: served by every replica from now on
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Protocol

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse

from model.backends.contract import CheckpointError, UnavailableError
from model.backends.request import RequestError, Task
from model.serving.replica import Replica
from model.serving.rollout_row import rollout_row
from model.serving.wire import EVENTS, SESSION, bytes_of, png_row, read_line

HEARTBEAT = 1.0  # seconds of silence after which an empty line says that the drawing goes on
STATUS_OF = {RequestError: 422, CheckpointError: 422, UnavailableError: 503}


class Service(Protocol):
    """A replica that answers, and what it knows of the others."""

    replica: Replica

    async def statuses(self) -> list[dict[str, Any]]:
        """Of every replica."""

    async def publish(self, source: str, weights: bytes) -> dict[str, Any]:
        """Let every replica serve a checkpoint, or weights; the version, and how many serve it. Raises
        CheckpointError."""


Endpoint = Callable[[Service, HttpRequest], Awaitable[Response]]


async def respond(service: Service, request: HttpRequest, token: str = "") -> Response:
    """`token`: what a request has to bring, as `Authorization: Bearer TOKEN`; empty: nothing."""
    if token and request.headers.get("authorization") != f"Bearer {token}":
        return refusal("This needs the token of the service.", 401)
    endpoint = ENDPOINTS.get((request.method, request.url.path.rstrip("/").rpartition("/")[2]))
    if endpoint is None:
        return refusal(f"There is nothing at {request.method} {request.url.path[:80]}.", 404)
    try:
        return await endpoint(service, request)
    except tuple(STATUS_OF) as error:
        return refusal(str(error), STATUS_OF[type(error)])


def refusal(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status)


async def about(service: Service, request: HttpRequest) -> Response:
    room = sum(status["at_once"] for status in await service.statuses())
    return JSONResponse(service.replica.about() | {"at_once": room})


async def replicas(service: Service, request: HttpRequest) -> Response:
    return JSONResponse(await service.statuses())


async def events(service: Service, request: HttpRequest) -> Response:
    """Refused before the first event by a status, while it waits longer by a line of its own."""
    lines = service.replica.lines(await _request_row(request))
    first = asyncio.ensure_future(anext(lines, b""))
    try:
        await asyncio.wait({first}, timeout=HEARTBEAT)
        if first.done():
            first.result()
    except asyncio.CancelledError:
        first.cancel()
        raise
    return StreamingResponse(_beating(lines, first), media_type=EVENTS)


async def rollout(service: Service, request: HttpRequest) -> Response:
    row = {"preview_every": None, "log_probs": True} | await _request_row(request)
    async with aclosing(service.replica.lines(row)) as lines:
        made = b"".join([chunk async for chunk in lines]).decode()
    return JSONResponse(rollout_row(map(read_line, made.splitlines())))


async def tokens(service: Service, request: HttpRequest) -> Response:
    text = str((await _json(request)).get("text"))
    return JSONResponse(await asyncio.to_thread(service.replica.backend.tokens, text))


async def source(service: Service, request: HttpRequest) -> Response:
    row = await _json(request)
    try:
        picture, task = bytes_of(row["picture"]), Task(row.get("task", "judge"))
        pixels = await asyncio.to_thread(service.replica.backend.read_source, picture, task)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise RequestError(f"The picture cannot be read: {error}.") from error
    return JSONResponse({"picture": png_row(pixels)})


async def weights(service: Service, request: HttpRequest) -> Response:
    if request.headers.get("content-type", "").startswith("application/json"):
        checkpoint = (await _json(request)).get("source")
        if not isinstance(checkpoint, str) or not checkpoint:
            raise RequestError("Name a checkpoint, such as {“source”: “better”}, or send a safetensors file.")
        return JSONResponse(await service.publish(checkpoint, b""))
    return JSONResponse(await service.publish("", await request.body()))


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "about"): about,
    ("GET", "replicas"): replicas,
    ("POST", "events"): events,
    ("POST", "rollout"): rollout,
    ("POST", "tokens"): tokens,
    ("POST", "source"): source,
    ("POST", "weights"): weights,
}


async def _request_row(request: HttpRequest) -> dict[str, Any]:
    """A request's fields; its session is that of the header where the body has none."""
    row = await _json(request)
    return {"session": request.headers.get(SESSION, "")} | row


async def _json(request: HttpRequest) -> dict[str, Any]:
    try:
        row = json.loads(await request.body())
    except ValueError as error:
        raise RequestError(f"The body is no JSON: {error}.") from error
    if not isinstance(row, dict):
        raise RequestError("The body is no JSON object.")
    return row


async def _beating(lines: AsyncIterator[bytes], first: asyncio.Future[bytes]) -> AsyncIterator[bytes]:
    """The lines, and an empty one now and then while there is none. What is raised becomes a line of its own."""
    coming = first
    try:
        while True:
            await asyncio.wait({coming}, timeout=HEARTBEAT)
            if not coming.done():
                yield b"\n"
                continue
            if not (chunk := coming.result()):
                return
            yield chunk
            coming = asyncio.ensure_future(anext(lines, b""))
    except tuple(STATUS_OF) as error:
        yield json.dumps({"error": str(error), "status": STATUS_OF[type(error)]}).encode() + b"\n"
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await coming
        await lines.aclose()
