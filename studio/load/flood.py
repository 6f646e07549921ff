"""Load test: attackers that flood the studio with sessions, draws, uploads and large bodies."""

import asyncio
import base64
import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import httpx2
from PIL import Image

from studio.load.page_client import API, Handler, PageClient

SIDE = 7000  # pixels of a picture whose PNG has 62 kB
FILE = 8_000_000  # bytes of an upload
HELD = 5.0  # seconds that a stream is left unread
PATIENCE = 60.0  # seconds for an answer
POLL_SECONDS = 0.05  # between two checks whether to stop
NICE = 10
BOUNDARY = "of-an-upload"
JSON = {"Content-Type": "application/json"}
PATHS = ("run/predict", "queue/join", "call/draw", "call/judge", "mcp/")
FAILED = 0  # counted in place of a status where the connection broke off


def address(number: int) -> str | None:
    """A loopback address for each client, so that each has its own rate limits; None where only one exists."""
    return f"127.1.{number // 250 % 250}.{number % 250 + 1}" if sys.platform == "linux" else None


def client_at(url: str, number: int, **options: Any) -> httpx2.AsyncClient:
    """A client that has an address of its own."""
    limits = httpx2.Limits(max_connections=None)
    transport = httpx2.AsyncHTTPTransport(local_address=address(number), limits=limits, verify=False)
    return httpx2.AsyncClient(base_url=url, transport=transport, **{"timeout": PATIENCE} | options)


def large_picture() -> bytes:
    """A PNG of few bytes and many pixels."""
    file = io.BytesIO()
    Image.new("L", (SIDE, SIDE)).save(file, "PNG", optimize=True)
    return file.getvalue()


def forged() -> tuple[bytes, ...]:
    """Bodies that no page sends."""
    call = {"data": [], "fn_index": 0, "session_hash": uuid4().hex}
    file = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    return (
        os.urandom(2000),
        b"[" * 200_000,
        json.dumps([call] * 1000).encode(),
        json.dumps(call | {"data": ["x" * 20_000_000]}).encode(),
        json.dumps(call | {"fn_index": 10**9}).encode(),
        json.dumps(call | {"session_hash": {"a": 1}}).encode(),
        json.dumps(call | {"data": [file]}).encode(),
        b" " * 30_000_000,
    )


@dataclass(frozen=True)
class Sent:
    """Request bodies, made once, so that sending costs little."""

    upload: bytes
    picture: bytes  # a call
    forged: tuple[bytes, ...]

    @classmethod
    def made(cls) -> "Sent":
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        upload = head.encode() + os.urandom(FILE) + f"\r\n--{BOUNDARY}--\r\n".encode()
        data = [base64.b64encode(large_picture()).decode(), "a red apple"]
        return cls(upload, json.dumps({"data": data}).encode(), forged())


@dataclass
class Flooder:
    """One client; each kind of request is sent in a loop of its own."""

    http: httpx2.AsyncClient
    start: Handler  # what fills the page when it is opened
    draw: Handler  # its button
    sent: Sent
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    @property
    def kinds(self) -> dict[str, tuple[Callable[[int], Awaitable[int]], float]]:
        """The kinds of requests, and at most how many of each a second."""
        return {
            "new sessions": (self._session, 10),
            "drawings": (self._drawing, 10),
            "uploads": (self._upload, 1),
            "large pictures": (self._picture, 2),
            "forged bodies": (self._forged, 2),
            "unread streams": (self._stream, 2),
        }

    async def repeat(self, kind: str) -> None:
        ask, a_second = self.kinds[kind]
        for number in count():
            soonest = time.monotonic() + 1 / a_second
            try:
                status = await ask(number)
            except httpx2.HTTPError:
                status = FAILED
            self.answers[kind, status] += 1
            await asyncio.sleep(soonest - time.monotonic())

    async def _session(self, _: int) -> int:
        return await self._post("run/predict", json=PageClient(self.http).call_body(self.start, []))

    async def _drawing(self, _: int) -> int:
        body = PageClient(self.http).call_body(self.draw, ["three hearts below a tree", *self.draw.values[1:]])
        return await self._post("queue/join", json=body)

    async def _upload(self, _: int) -> int:
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return await self._post("upload", content=self.sent.upload, headers=headers)

    async def _picture(self, _: int) -> int:
        return await self._post("call/judge", content=self.sent.picture, headers=JSON)

    async def _forged(self, number: int) -> int:
        path = PATHS[number // len(self.sent.forged) % len(PATHS)]
        return await self._post(path, content=self.sent.forged[number % len(self.sent.forged)], headers=JSON)

    async def _stream(self, number: int) -> int:
        path = ("heartbeat/", "queue/data?session_hash=")[number % 2] + uuid4().hex
        async with self.http.stream("GET", f"{API}/{path}") as stream:
            if stream.status_code == 200:
                await asyncio.sleep(HELD)
            return stream.status_code

    async def _post(self, path: str, **body: Any) -> int:
        return (await self.http.post(f"{API}/{path}", **body)).status_code


def flood(url: str, clients: int, stop: Any, results: Any) -> None:
    """Until the event `stop` is set; then the counts of answers, {(kind, status): count}, and the seconds of processor
    time that all this took are sent into `results`. Runs at low priority."""
    os.nice(NICE)
    results.send((asyncio.run(_flood(url, clients, stop.is_set)), time.process_time()))


async def _flood(url: str, clients: int, stopped: Callable[[], bool]) -> Counter[tuple[str, int]]:
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        config = (await client.get("/config")).raise_for_status().json()
    start = Handler.on(config, "", "timeline", "load")
    button, sent = Handler.on(config, "", "draw", "click"), Sent.made()
    flooders = [Flooder(client_at(url, number), start, button, sent) for number in range(clients)]
    loops = [asyncio.create_task(flooder.repeat(kind)) for flooder in flooders for kind in flooder.kinds]
    while not stopped() and not any(loop.done() for loop in loops):
        await asyncio.sleep(POLL_SECONDS)
    for loop in loops:
        loop.cancel()
    for outcome in await asyncio.gather(*loops, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    for flooder in flooders:
        await flooder.http.aclose()
    return sum((flooder.answers for flooder in flooders), Counter())
