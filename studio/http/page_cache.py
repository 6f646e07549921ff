"""Cache of rendered pages and static files, which are the same for everybody.

Knows HTTP and Gradio's HTML; no page's content.
"""

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

RENDERED = re.compile(rf"/(config/?|theme\.css)|{API}/(info/?|openapi\.json|theme\.css)")  # besides pages
FILES = re.compile(r"/(assets|static|svelte)/.+\.(js|css|svg|json)")
LASTING = re.compile(r"/(assets|svelte)/.+|/fonts/.+")  # named after their content
QUERY_KEYS = ("page", "all_endpoints")  # parameters on which a response depends
MAX_BYTES = 48_000_000  # of all cached responses
SMALLEST = 400  # bytes that are worth compressing
COMPRESSED = ("text/", "application/json", "application/javascript", "image/svg")
INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.S)
# Of a manifest at the root of the host, where none is; of Gradio's own name and picture, shown where a page is linked.
NOT_OURS = re.compile(r'\s*(<link rel="manifest"[^>]*>|<meta\s+(property="og:|name="twitter:)[^>]*>)')
GENERAL = """<meta property="og:title" content="Aha Studio" />
		<meta property="og:description" content="Watch a model draw, judge its drawing, and draw again" />
		<meta property="og:type" content="website" />"""
HEAD = f"""
		<link rel="icon" href="./favicon.ico" type="image/svg+xml" />
		{GENERAL}"""


@dataclass(frozen=True)
class CachedResponse:
    """A response of status 200, plain and compressed."""

    headers: tuple[tuple[bytes, bytes], ...]
    plain: bytes
    compressed: bytes | None  # by Brotli

    @property
    def size(self) -> int:
        return len(self.plain) + len(self.compressed or b"")


class PageCache:
    """ASGI middleware: renders a page once for all. Raises LimitError where a visitor has too many rendered."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._cache: OrderedDict[tuple, CachedResponse] = OrderedDict()
        self._size = 0
        self._rendering = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_below_root(scope, self._settings) if scope["type"] == "http" else ""
        if scope["type"] != "http" or scope["method"] != "GET" or not _is_cacheable(path):
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        query_items = tuple((name, query[name][0]) for name in QUERY_KEYS if name in query)
        key = (scope["scheme"], "" if FILES.fullmatch(path) else host, path, query_items)
        cached = self._cache.get(key)
        if cached is None:
            if not FILES.fullmatch(path):
                Caller.of_scope(scope).take("pages")  # hosts and queries can be made up without end
            async with self._rendering:
                cached = self._cache.get(key) or await self._render(key, scope, path, query_items)
        if cached is None:
            await self._app({**scope, "query_string": urlencode(query_items).encode()}, receive, send)
            return
        self._cache.move_to_end(key)
        await _send(cached, "br" in Headers(scope=scope).get("accept-encoding", ""), send)

    async def _render(self, key: tuple, scope: Scope, path: str, query_items: tuple) -> CachedResponse | None:
        """Render by the application and cache; None where the status is not 200."""
        status, headers, parts = 0, [], []

        body_sent = False

        async def empty_body() -> Message:
            nonlocal body_sent
            if body_sent:
                await asyncio.Event().wait()  # nobody disconnects
            body_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def collect(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message["headers"])
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        plain = [pair for pair in scope["headers"] if pair[0].lower() == b"host"]
        request: Scope = {**scope, "headers": plain, "query_string": urlencode(query_items).encode()}
        await self._app(request, empty_body, collect)
        if status != 200:
            return None
        cached = _cached(headers, b"".join(parts), path, scope["state"]["policy"])
        self._cache[key], self._size = cached, self._size + cached.size
        while self._size > MAX_BYTES and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._size -= oldest.size
        return cached


def _is_cacheable(path: str) -> bool:
    return any(kind.fullmatch(path) for kind in (PAGE, RENDERED, FILES))


def _cached(headers: list[tuple[bytes, bytes]], body: bytes, path: str, policy: Callable[[str], str]) -> CachedResponse:
    fields = {name.lower(): value for name, value in headers if name.lower() not in (b"content-length", b"set-cookie")}
    content_type = fields.get(b"content-type", b"").decode("latin-1")
    if content_type.startswith("text/html"):
        text = NOT_OURS.sub("", body.decode("utf-8")).replace('<base href="./" />', f'<base href="./" />{HEAD}', 1)
        body = text.encode()
        fields[b"content-security-policy"] = policy(_hashes(text)).encode()
        fields[b"cache-control"] = b"no-cache"
    elif LASTING.fullmatch(path):
        fields[b"cache-control"] = b"public, max-age=31536000, immutable"
    compressed = None
    if len(body) >= SMALLEST and content_type.startswith(COMPRESSED):
        compressed = brotli.compress(body, mode=brotli.MODE_TEXT, quality=5)
        fields[b"vary"] = b"Accept-Encoding"
    return CachedResponse(tuple(fields.items()), body, compressed)


def _hashes(html: str) -> str:
    """The page's own inline scripts, for a Content-Security-Policy."""
    digests = (sha256(script.encode()).digest() for script in INLINE.findall(html))
    return "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


async def _send(cached: CachedResponse, accepts_brotli: bool, send: Send) -> None:
    body, headers = cached.plain, list(cached.headers)
    if accepts_brotli and cached.compressed is not None:
        body = cached.compressed
        headers.append((b"content-encoding", b"br"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
