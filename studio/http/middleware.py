"""ASGI middleware: hosts, origins, routes, body sizes, rate limits (429), logging, security headers.

Knows HTTP, settings and limits; no page. Each class is an ASGI application around another.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.access import API, CALL, MCP, PAGE, SERVED_FILE, STREAM, UPLOAD, is_route
from studio.http.addresses import HOST, is_allowed, rate_limit_key
from studio.http.bodies import BodyLimit, TooLargeError, count_body, declares_more, refusal, replay_body, with_deadline
from studio.http.limits import BYTES_PER_FILE, MB, Caller, LimitError, Limits
from studio.http.printable import printable
from studio.http.priority import CALLS, DRAWINGS, ByteRate, CallSpacing, activity
from studio.settings import Settings

log = logging.getLogger(__name__)

LARGEST = {"call": 24 * MB, "visitor": 64 * MB}  # bytes of what a handler is given, and of what a visitor uploads
SMALL = MB  # bytes of a call; of larger ones few are held at a time
LARGE_AT_ONCE = 2
PATIENCE = 20.0  # seconds that a large one waits for its turn
REFUSAL_DELAY = 0.5  # seconds before a 429 is sent
MAX_DELAYED = 64  # refusals that wait at the same time; others are sent at once
FILE_NAME = b"filename="  # in the head of each uploaded file
DEFAULT_PORTS = {"http": "80", "https": "443"}


class RequestGuard:
    """Host, route and origin of each request. A browser names its origin; programs name none and are let through."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._problem(scope) or self._app
            await answer(_as_get(scope, path_below_root(scope, self._settings)), receive, send)

    def _problem(self, scope: Scope) -> Response | None:
        headers, method = Headers(scope=scope), scope["method"]
        host = headers.get("host", "")
        if HOST.fullmatch(host) is None or len(headers.getlist("host")) > 1:
            return refusal(400, "The request names no host. Send a Host header, as HTTP/1.1 wants it.")
        if not is_allowed(host, self._settings):
            return refusal(
                421, "This studio does not answer to that name; whoever runs it can add it to the setting “hosts”."
            )
        path = path_below_root(scope, self._settings)
        if (address := self._moved(scope, path)) and method in ("GET", "HEAD"):
            return RedirectResponse(address, 308)
        if not is_route(method, path):
            return refusal(404, "There is nothing at this address.")
        changes = method not in ("GET", "HEAD", "OPTIONS")
        if (changes or STREAM.fullmatch(path)) and not is_own(headers, scope["scheme"]):
            return refusal(403, "This comes from a page of another site. Use the studio's own pages, or a program.")
        if method == "OPTIONS":
            return PlainTextResponse("", 204, headers={"Allow": "GET, HEAD, POST"})
        return None

    def _moved(self, scope: Scope, path: str) -> str:
        """Where a page is whose relative links would lead elsewhere: the first at the root and a slash, others without
        one; empty for what is where it should be.
        """
        root, query = self._settings.root_path or "", scope["query_string"].decode("latin-1")
        if root and scope["path"] == root:
            address = f"{root}/"
        elif PAGE.fullmatch(path) and path != "/" and path.endswith("/"):
            address = root + path.rstrip("/")
        else:
            return ""
        return f"{address}?{query}" if query else address


def is_own(headers: Headers, scheme: str) -> bool:
    """Whether no page of another origin asks: by Sec-Fetch-Site, and by Origin, where a browser has sent them."""
    if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
        return False
    return all(_is_own_origin(origin, headers["host"], scheme) for origin in headers.getlist("origin"))


def _is_own_origin(origin: str, host: str, scheme: str) -> bool:
    origin_scheme, _, origin_host = origin.partition("://")
    return (
        origin_scheme in DEFAULT_PORTS
        and (scheme == "http" or origin_scheme == "https")
        and _site(origin_host, origin_scheme) == _site(host, origin_scheme)
    )


def _as_get(scope: Scope, path: str) -> Scope:
    """A HEAD request for a page, or what it is made of, as the GET request whose headers it asks for, most of whose
    routes know no HEAD; the server sends no body."""
    if scope["method"] != "HEAD" or STREAM.fullmatch(path) or SERVED_FILE.fullmatch(path):
        return scope
    return {**scope, "method": "GET"}


def _site(host: str, scheme: str) -> tuple[str, str] | None:
    match = HOST.fullmatch(host)
    if match is None:
        return None
    return match["name"].lower(), match["port"] or DEFAULT_PORTS[scheme]


def path_below_root(scope: Scope, settings: Settings) -> str:
    path = scope["path"].removeprefix(settings.root_path or "")
    return path or "/"


class RateLimiter:
    """Identifies the caller of each request, and applies the limits to visitors. `is_member` says whether a request's
    cookie opens an account; `sessions` has the open pages."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        limits: Limits | None,
        is_member: Callable[[str, Limits, str], Awaitable[bool]],
        sessions: Any,
    ) -> None:
        self._app, self._settings, self._limits = app, settings, limits
        self._is_member, self._sessions = is_member, sessions
        self._delayed = 0
        self._large = {member: asyncio.Semaphore(LARGE_AT_ONCE) for member in (True, False)}
        self._calls, self._drawings, self._pace = CallSpacing(CALLS), CallSpacing(DRAWINGS), ByteRate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = await self._caller(scope)
        scope.setdefault("state", {})["caller"] = caller
        path, method = path_below_root(scope, self._settings), scope["method"]
        try:
            if method == "POST" and caller.limits is not None:
                receive = with_deadline(receive)
            if method == "POST" and UPLOAD.fullmatch(path):
                await self._upload(caller, scope, receive, send)
            elif method == "POST" and CALL.fullmatch(path):
                await self._call(caller, scope, receive, send)
            elif STREAM.fullmatch(path):
                await self._stream(caller, scope, receive, send)
            else:
                if PAGE.fullmatch(path):
                    caller.take("requests")
                await self._app(scope, receive, send)
        except LimitError as error:
            await self._delay_refusal()
            answer = refusal(429, str(error), **{"Retry-After": f"{error.seconds:.0f}"})
            await answer(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        address = rate_limit_key((scope.get("client") or ("", 0))[0])
        if self._limits is None:
            return Caller(address)
        cookies = Headers(scope=scope).get("cookie", "")
        if cookies and await self._is_member(cookies, self._limits, address):
            return Caller(address)
        return Caller(address, self._limits)

    async def _delay_refusal(self) -> None:
        """Delays a refusal, so that repeating the request at once is no faster."""
        if self._delayed < MAX_DELAYED:
            self._delayed += 1
            try:
                await asyncio.sleep(REFUSAL_DELAY)
            finally:
                self._delayed -= 1

    async def _stream(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        if caller.limits is None:
            await self._app(scope, receive, send)
            return
        with caller.limits.during("streams", caller.address):
            await self._app(scope, receive, send)

    async def _upload(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        if caller.limits is None:
            most = self._settings.max_upload * MB + SMALL
            await BodyLimit(self._app, most, f"wanted at most {self._settings.max_upload} MB")(scope, receive, send)
            return
        if not self._sessions.any_of(caller.address):
            answer = refusal(403, "Files come from an open page of the studio. Open one first, or sign in.")
            await answer(scope, receive, send)
            return
        caller.take("requests")
        hint = f"visitors may send {LARGEST['visitor'] // MB} MB at a time; send less, or sign in"

        async def count(part: bytes) -> None:
            caller.take("uploads", len(part) + BYTES_PER_FILE * part.count(FILE_NAME))
            await self._pace.take(len(part))

        counted_receive = count_body(receive, count)
        with caller.limits.during("uploads", caller.address):
            await BodyLimit(self._app, LARGEST["visitor"], hint)(scope, counted_receive, send)

    async def _call(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        caller.take("requests")
        async with AsyncExitStack() as stack:
            try:
                body = await self._body(caller, scope, receive, stack)
            except TooLargeError as error:
                await error.answer(scope, receive, send)
                return
            if body is None:
                return
            if caller.limits is not None:
                stack.enter_context(caller.limits.during("answers", caller.address))
                await self._calls.begin()
            elif self._limits is not None:
                stack.enter_context(activity.serving())
            problem = await self._register_session(caller, scope, body)
            if problem is not None:
                await problem(scope, receive, send)
                return
            await self._app(scope, replay_body(body, receive), send)

    async def _body(self, caller: Caller, scope: Scope, receive: Receive, stack: AsyncExitStack) -> bytes | None:
        """The body; None where the client has disconnected. Raises TooLargeError and LimitError."""
        if declares_more(scope, LARGEST["call"]):
            raise TooLargeError(LARGEST["call"])
        parts: list[bytes] = []
        size, more, is_large = 0, True, False
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > LARGEST["call"]:
                raise TooLargeError(LARGEST["call"])
            if size > SMALL and not is_large:
                is_large = True
                await self._acquire(places := self._large[caller.limits is None])
                stack.callback(places.release)
            if is_large and caller.limits is not None:
                caller.take("large requests", len(parts[-1]))
                await self._pace.take(len(parts[-1]))
        return b"".join(parts)

    async def _acquire(self, places: asyncio.Semaphore) -> None:
        """Acquire a place for a large body. Raises LimitError after PATIENCE seconds."""
        try:
            await asyncio.wait_for(places.acquire(), PATIENCE)
        except TimeoutError as error:
            raise LimitError("Many large requests are under way. Try again in a moment.") from error

    async def _register_session(self, caller: Caller, scope: Scope, body: bytes) -> Response | None:
        """Register the page session of a call; a response where the call is malformed. Raises LimitError."""
        of_mcp = MCP.fullmatch(path_below_root(scope, self._settings)) is not None
        try:
            call = await asyncio.to_thread(json.loads, body) if len(body) > SMALL else json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            if of_mcp and isinstance(error, ValueError):
                return None  # what it says of that is for clients of MCP
            return refusal(400, "The request's body is no JSON.")
        if of_mcp:
            return None
        if not isinstance(call, dict):
            return refusal(
                400, f'The request\'s body is {type(call).__name__}; wanted an object, such as {{"data": []}}.'
            )
        session = call.get("session_hash")
        if session is not None and not (isinstance(session, str) and 0 < len(session) <= 64):
            return refusal(400, "session_hash is no text of 1 to 64 characters.")
        if caller.limits is not None and self._sessions.is_drawing(scope["path"], call):
            caller.take("drawings")
            await self._drawings.begin()
        if session is not None and not self._sessions.has(session):
            caller.take("pages")
        if session is not None:
            self._sessions.opened(session, caller.address, keep=caller.limits is None)
        return None


class ExceptionLog:
    """Logs an exception of the application as one line; the response has been sent by then."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except LimitError:
            raise
        except Exception as error:
            if scope["type"] != "http":
                raise
            message = printable(" ".join(str(error).split()))[:300]
            log.error("%s %s: %s: %s", scope["method"], printable(scope["path"]), type(error).__name__, message)


class SecurityHeaders:
    """Adds the security headers to every response; to a script, style or font that is named after its content, which no
    browser shows as a page, only what keeps it from being read as one."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._always = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"strict-origin-when-cross-origin"),
        ]
        self._ancestors = frame_ancestors(settings)
        if self._ancestors in ("'none'", "'self'"):
            framed = b"DENY" if self._ancestors == "'none'" else b"SAMEORIGIN"
            self._always.append((b"x-frame-options", framed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message.get("headers", [])}
                is_part = message["status"] == 200 and PART.fullmatch(path_below_root(scope, self._settings))
                added = self._always[:1] if is_part else [*self._always]
                if scope["scheme"] == "https":
                    added.append((b"strict-transport-security", b"max-age=31536000"))
                if API in scope["path"]:  # files and answers, which may be deleted or somebody's own
                    added.append((b"cache-control", b"no-store"))
                if b"content-security-policy" not in present and not is_part:
                    added.append((b"content-security-policy", self._policy_of(message).encode()))
                headers = [pair for pair in message.get("headers", []) if not pair[0].lower().startswith(CORS)]
                message["headers"] = headers + [pair for pair in added if pair[0] not in present]
            await send(message)

        scope.setdefault("state", {})["policy"] = self.policy
        await self._app(scope, receive, with_headers)

    def _policy_of(self, message: Message) -> str:
        is_json = dict(message["headers"]).get(b"content-type", b"").startswith(b"application/json")
        return f"default-src 'none'; frame-ancestors {self._ancestors}" if is_json else self.policy()

    def policy(self, scripts: str = "") -> str:
        """The Content-Security-Policy of a page with these inline scripts, as hashes."""
        return f"{POLICY.format(scripts=scripts)}; frame-ancestors {self._ancestors}"


LASTING = re.compile(r"/(assets|svelte)/.+|/(fonts|scripts)/.+")  # files that are named after their content
PART = re.compile(rf"({LASTING.pattern})\.(js|css|woff2)")
CORS = b"access-control-allow-"  # Gradio allows other origins what its rules do not mean for a name that is public
# Gradio makes functions of the texts in `js` and `js_on_load`, which is `unsafe-eval`, and styles of its own; inline
# scripts and handlers in markup, as an injected word would bring them, do not run.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'{scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)


def frame_ancestors(settings: Settings) -> str:
    """The value of the policy's `frame-ancestors`."""
    listed = settings.listed("frame_ancestors")
    return "'none'" if listed == ["none"] else " ".join(["'self'", *(origin for origin in listed if origin != "none")])
