"""Cache of rendered pages and static files, which are the same for everybody.

Knows HTTP and Gradio's HTML; no page's content.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qs, urlencode

import brotli
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.auth.access import API, PAGE
from studio.http.limits import Caller
from studio.http.middleware import path_below_root
from studio.settings import Settings

MADE = re.compile(rf"/(config/?|theme\.css)|{API}/(info/?|openapi\.json|theme\.css)")  # besides pages
FILES = re.compile(r"/(assets|static|svelte)/.+\.(js|css|svg|json)")
LASTING = re.compile(r"/(assets|svelte)/.+|/fonts/.+")  # named after their content
MEANS = ("page", "all_endpoints")  # of a query, what an answer depends on
MOST = 48_000_000  # bytes kept
SMALLEST = 400  # bytes that are worth compressing
COMPRESSED = ("text/", "application/json", "application/javascript", "image/svg")
INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.S)
# Of a manifest at the root of the host, where none is; of Gradio's own name and picture, shown where a page is linked.
NOT_OURS = re.compile(r'\s*(<link rel="manifest"[^>]*>|<meta\s+(property="og:|name="twitter:)[^>]*>)')
HEAD = """
		<link rel="icon" href="./favicon.ico" type="image/svg+xml" />
		<meta property="og:title" content="Aha Studio" />
		<meta property="og:description" content="Watch a model draw, judge its drawing, and draw again" />
		<meta property="og:type" content="website" />"""


@dataclass(frozen=True)
class CachedResponse:
    """An answer."""

    headers: tuple[tuple[bytes, bytes], ...]
    plain: bytes
    packed: bytes | None  # by Brotli

    @property
    def size(self) -> int:
        return len(self.plain) + len(self.packed or b"")


class PageCache:
    """An ASGI application whose pages are asked for once. Raises LimitError where a visitor has too many made."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._kept: OrderedDict[tuple, CachedResponse] = OrderedDict()
        self._size = 0
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_below_root(scope, self._settings) if scope["type"] == "http" else ""
        if scope["type"] != "http" or scope["method"] != "GET" or not _is_made(path):
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        asked = tuple((name, query[name][0]) for name in MEANS if name in query)
        key = (scope["scheme"], "" if FILES.fullmatch(path) else host, path, asked)
        kept = self._kept.get(key)
        if kept is None:
            if not FILES.fullmatch(path):
                Caller.of_scope(scope).take("pages")  # of other hosts and queries there is no end
            async with self._making:
                kept = self._kept.get(key) or await self._make(key, scope, path, asked)
        if kept is None:
            await self._app(scope | {"query_string": urlencode(asked).encode()}, receive, send)
            return
        self._kept.move_to_end(key)
        await _send(kept, "br" in Headers(scope=scope).get("accept-encoding", ""), send)

    async def _make(self, key: tuple, scope: Scope, path: str, asked: tuple) -> CachedResponse | None:
        """Ask the application; None for what is no success."""
        status, headers, parts = 0, [], []

        asked_before = False

        async def nothing() -> Message:
            nonlocal asked_before
            if asked_before:
                await asyncio.Event().wait()  # nobody disconnects
            asked_before = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def take(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message["headers"])
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        plain = [pair for pair in scope["headers"] if pair[0].lower() == b"host"]
        await self._app(scope | {"headers": plain, "query_string": urlencode(asked).encode()}, nothing, take)
        if status != 200:
            return None
        kept = _kept(headers, b"".join(parts), path, scope["state"]["policy"])
        self._kept[key], self._size = kept, self._size + kept.size
        while self._size > MOST and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._size -= old.size
        return kept


def _is_made(path: str) -> bool:
    return any(kind.fullmatch(path) for kind in (PAGE, MADE, FILES))


def _kept(headers: list[tuple[bytes, bytes]], body: bytes, path: str, policy: Callable[[str], str]) -> CachedResponse:
    given = {name.lower(): value for name, value in headers if name.lower() not in (b"content-length", b"set-cookie")}
    kind = given.get(b"content-type", b"").decode("latin-1")
    if kind.startswith("text/html"):
        text = NOT_OURS.sub("", body.decode("utf-8")).replace('<base href="./" />', f'<base href="./" />{HEAD}', 1)
        body = text.encode()
        given[b"content-security-policy"] = policy(_hashes(text)).encode()
        given[b"cache-control"] = b"no-cache"
    elif LASTING.fullmatch(path):
        given[b"cache-control"] = b"public, max-age=31536000, immutable"
    packed = None
    if len(body) >= SMALLEST and kind.startswith(COMPRESSED):
        packed = brotli.compress(body, mode=brotli.MODE_TEXT, quality=5)
        given[b"vary"] = b"Accept-Encoding"
    return CachedResponse(tuple(given.items()), body, packed)


def _hashes(html: str) -> str:
    """The page's own inline scripts, for a Content-Security-Policy."""
    digests = (sha256(script.encode()).digest() for script in INLINE.findall(html))
    return "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


async def _send(kept: CachedResponse, packed: bool, send: Send) -> None:
    body, headers = kept.plain, list(kept.headers)
    if packed and kept.packed is not None:
        body = kept.packed
        headers.append((b"content-encoding", b"br"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
