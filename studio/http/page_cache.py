"""Cache of rendered pages and static files, which are the same for everybody.

Knows HTTP and Gradio's HTML; no page's content.
"""

import asyncio
import base64
import json
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from urllib.parse import parse_qs, urlencode

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.access import API, PAGE
from studio.http.compression import accepts_brotli, compress
from studio.http.limits import Caller
from studio.http.middleware import LASTING, path_below_root
from studio.settings import Settings

RENDERED = re.compile(rf"/(config/?|theme\.css)|{API}/(info/?|openapi\.json|theme\.css)")  # besides pages
FILES = re.compile(r"/(assets|static|svelte|fonts|scripts)/.+\.(js|css|svg|json|woff2)")
QUERY_KEYS = ("page", "all_endpoints")  # parameters on which a response for programs depends
MAX_BYTES = 48_000_000  # of all cached responses
SMALLEST = 400  # bytes that are worth compressing
QUALITIES = 5, 11  # of Brotli: of a first response, and of those after the second, since it takes a second of all files
COMPRESSED = ("text/", "application/json", "application/javascript", "image/svg")
INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.S)
# Of a manifest at the root of the host, where none is; of Gradio's own name and picture, shown where a page is linked.
NOT_OURS = re.compile(r'\s*(<link rel="manifest"[^>]*>|<meta\s+(property="og:|name="twitter:)[^>]*>)')
CONFIGURATION = re.compile(r"(window\.gradio_config = )(\{.*?\})(;?\s*</script>)", re.S)
OF_PROGRAMS = ("api_info", "api_info_as_input", "api_info_as_output", "example_inputs")  # told at `/config` and `/info`
# Of Gradio's script for pages in a frame, which it loads in any.
RESIZER = "document.head.appendChild(script);"
IN_A_FRAME = f"if (window.parent !== window) {RESIZER}"
UNNEEDED = (b"accept-ranges", b"last-modified", b"etag")  # of a file that is never asked for again
GENERAL = """<meta property="og:title" content="Aha Studio" />
		<meta property="og:description" content="Watch a model draw, judge its drawing, and draw again" />
		<meta property="og:type" content="website" />"""
ICON = '<link rel="icon" href="./favicon.ico" type="image/svg+xml" />'


@dataclass(frozen=True)
class Look:
    """What a page is given beside what Gradio makes of it."""

    styles: Callable[[str], str]  # its style sheets, by its path
    head: str  # HTML for its head


@dataclass(frozen=True)
class CachedResponse:
    """A response of status 200, plain and compressed."""

    headers: tuple[tuple[bytes, bytes], ...]
    plain: bytes
    compressed: bytes | None  # by Brotli
    is_final: bool = False  # compressed as well as can be

    @property
    def size(self) -> int:
        return len(self.plain) + len(self.compressed or b"")


class PageCache:
    """ASGI middleware: renders a page once for all. Raises LimitError where a visitor has too many rendered."""

    def __init__(self, app: ASGIApp, settings: Settings, look: Look) -> None:
        self._app, self._settings, self._look = app, settings, look
        self._cache: OrderedDict[tuple, CachedResponse] = OrderedDict()
        self._size = 0
        self._rendering = asyncio.Lock()
        self._compressing: set[asyncio.Task] = set()
        self._one = CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_below_root(scope, self._settings) if scope["type"] == "http" else ""
        if scope["type"] != "http" or scope["method"] != "GET" or not _is_cacheable(path):
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        names = () if PAGE.fullmatch(path) else QUERY_KEYS
        query_items = tuple((name, query[name][0]) for name in names if name in query)
        key = (scope["scheme"], "" if FILES.fullmatch(path) else host, path, query_items)
        cached = self._cache.get(key)
        if cached is None:
            if not FILES.fullmatch(path):
                Caller.of_scope(scope).take("pages")  # hosts and queries can be made up without end
            async with self._rendering:
                cached = self._cache.get(key) or await self._render(key, scope, path, query_items)
        elif cached.compressed is not None and not cached.is_final:
            cached = self._cache[key] = replace(cached, is_final=True)
            task = asyncio.create_task(self._compress_again(key, cached))
            self._compressing.add(task)
            task.add_done_callback(self._compressing.discard)
        if cached is None:
            await self._app({**scope, "query_string": urlencode(query_items).encode()}, receive, send)
            return
        self._cache.move_to_end(key)
        await _send(cached, accepts_brotli(scope), send)

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
        fields = {
            name.lower(): value for name, value in headers if name.lower() not in (b"content-length", b"set-cookie")
        }
        cached = self._of_page(fields, parts, path, scope) if _is_html(fields) else _of_file(fields, parts, path)
        self._cache[key], self._size = cached, self._size + cached.size
        while self._size > MAX_BYTES and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._size -= oldest.size
        return cached

    def _of_page(self, fields: dict[bytes, bytes], parts: list[bytes], path: str, scope: Scope) -> CachedResponse:
        text = NOT_OURS.sub("", b"".join(parts).decode("utf-8"))
        head = "\n\t\t".join(('<base href="./" />', ICON, self._look.head, GENERAL))
        for old, new in (('<base href="./" />', head), (RESIZER, IN_A_FRAME)):
            text = text.replace(old, new, 1)
        name = path.strip("/")
        text = CONFIGURATION.sub(
            lambda found: found[1] + _of_one_page(found[2], name, self._look.styles(name)) + found[3], text, 1
        )
        fields[b"content-security-policy"] = scope["state"]["policy"](_hashes(text)).encode()
        fields[b"cache-control"] = b"no-cache"
        return _compressed(fields, text.encode())

    async def _compress_again(self, key: tuple, cached: CachedResponse) -> None:
        """In a thread, one after another."""
        compressed = await to_thread.run_sync(compress, cached.plain, QUALITIES[1], limiter=self._one)
        if self._cache.get(key) is cached:
            self._cache[key] = smaller = replace(cached, compressed=compressed)
            self._size += smaller.size - cached.size


def _is_cacheable(path: str) -> bool:
    return any(kind.fullmatch(path) for kind in (PAGE, RENDERED, FILES))


def _is_html(fields: dict[bytes, bytes]) -> bool:
    return fields.get(b"content-type", b"").startswith(b"text/html")


def _of_file(fields: dict[bytes, bytes], parts: list[bytes], path: str) -> CachedResponse:
    if LASTING.fullmatch(path):
        fields = {name: value for name, value in fields.items() if name not in UNNEEDED}
        fields[b"cache-control"] = b"max-age=31536000, immutable"
        # Scripts and styles of a page in UTF-8 are read as such; fifty times, the parameter is most of a kilobyte.
        fields[b"content-type"] = fields.get(b"content-type", b"").partition(b";")[0]
    return _compressed(fields, b"".join(parts))


def _compressed(fields: dict[bytes, bytes], body: bytes) -> CachedResponse:
    compressed = None
    if len(body) >= SMALLEST and fields.get(b"content-type", b"").decode("latin-1").startswith(COMPRESSED):
        compressed = compress(body, QUALITIES[0])
        fields[b"vary"] = b"Accept-Encoding"
    return CachedResponse(tuple(fields.items()), body, compressed)


def _of_one_page(configuration: str, name: str, styles: str) -> str:
    """Gradio's configuration of a page with its styles, without the other pages and what is for programs."""
    config = json.loads(configuration)
    config["css"] = styles
    page = config["page"][name]
    config["page"] = {name: page}
    programs = {component["id"] for component in config["components"] if component["type"] == "api"}
    config["components"] = [component for component in config["components"] if component["id"] not in programs]
    for component in config["components"]:
        component["component_class_id"] = component[
            "type"
        ]  # a key of the browser's, where Gradio has a hash of the class
        for key in OF_PROGRAMS:
            component.pop(key, None)
    page["components"] = [id_ for id_ in page["components"] if id_ not in programs]
    for layout in (config["layout"], page["layout"]):
        layout["children"] = [child for child in layout["children"] if child["id"] not in programs]
    called = {each["id"] for each in config["dependencies"] if not programs & {*each["inputs"], *each["outputs"]}}
    config["dependencies"] = [each for each in config["dependencies"] if each["id"] in called]
    page["dependencies"] = [id_ for id_ in page["dependencies"] if id_ in called]
    return json.dumps(config, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _hashes(html: str) -> str:
    """The page's own inline scripts, for a Content-Security-Policy."""
    digests = (sha256(script.encode()).digest() for script in INLINE.findall(html))
    return "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


async def _send(cached: CachedResponse, as_brotli: bool, send: Send) -> None:
    body, headers = cached.plain, list(cached.headers)
    if as_brotli and cached.compressed is not None:
        body = cached.compressed
        headers.append((b"content-encoding", b"br"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
