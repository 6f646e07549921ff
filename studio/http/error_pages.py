"""ASGI middleware: errors as HTML pages for browsers; programs, which do not ask for HTML, keep JSON.

Knows HTTP and the message in the body of a refusal; the style sheet is given. Endpoints for programs are left alone.
"""

import json
from html import escape

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.access import API
from studio.http.middleware import path_below_root
from studio.settings import Settings

TITLES = {
    403: "This is not open to you",
    404: "There is nothing here",
    413: "That is too large",
    421: "This is another studio’s name",
    429: "Please wait a moment",
}
ENDED, FAILED = "That did not work", "Something went wrong"
NOT_FOUND = "There is nothing at this address. A drawing may have been deleted, or the address is not whole."
ASK_AGAIN = "Go back, and try again."
REPLACED = (b"content-type", b"content-length")  # headers of the response that a page replaces
MOST = 100_000  # bytes of a refusal that are read for its message
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title} – Aha Studio</title>
<base href="{home}">
<link rel="icon" href="favicon.ico" type="image/svg+xml">
<style>{styles}</style>
</head>
<body>
<header class="masthead"><a href="{home}"><img src="favicon.ico" alt="">Aha Studio</a></header>
<main>
<h1>{title}</h1>
<p>{message}</p>
<p><a class="button" href="{home}">Draw something</a> <a href="gallery">Look at the gallery</a></p>
</main>
</body>
</html>
"""


class ErrorPages:
    """Replaces the JSON or plain text of an error by a page, where a browser asked for a page."""

    def __init__(self, app: ASGIApp, settings: Settings, styles: str) -> None:
        self._app, self._settings, self._styles = app, settings, styles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_for_browser(scope):
            await self._app(scope, receive, send)
            return
        held: Message | None = None
        body = b""

        async def send_page(message: Message) -> None:
            nonlocal held, body
            if message["type"] == "http.response.start" and _is_plain_error(message):
                held = message
                return
            if held is None:
                await send(message)
                return
            body = (body + message.get("body", b""))[:MOST]
            if not message.get("more_body", False):
                await self._send_page(held, body, scope, receive, send)

        await self._app(scope, receive, send_page)

    def _is_for_browser(self, scope: Scope) -> bool:
        asks_for_page = "text/html" in Headers(scope=scope).get("accept", "")
        return asks_for_page and not path_below_root(scope, self._settings).startswith(API)

    async def _send_page(self, start: Message, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        page = error_page(start["status"], _message(body), f"{self._settings.root_path or ''}/", self._styles)
        response = HTMLResponse(page, start["status"])
        kept = [pair for pair in start["headers"] if pair[0].lower() not in REPLACED]
        response.raw_headers += [*kept, (b"vary", b"Accept")]
        await response(scope, receive, send)


def error_page(status: int, message: str, home: str, styles: str) -> str:
    """HTML of a page for a status of 400 or more; `message` may be empty, `home` is the address of the first page."""
    title = TITLES.get(status, FAILED if status >= 500 else ENDED)
    shown = NOT_FOUND if status == 404 else message or ASK_AGAIN
    return PAGE.format(title=title, message=escape(shown), home=escape(home), styles=styles)


def _is_plain_error(start: Message) -> bool:
    kind = Headers(raw=start.get("headers", [])).get("content-type", "")
    return start["status"] >= 400 and kind.partition(";")[0] in ("application/json", "text/plain", "")


def _message(body: bytes) -> str:
    """The text of a refusal, as JSON or plain; empty where it has none for people."""
    text = body.decode("utf-8", "replace")
    try:
        detail = json.loads(text)["detail"]
    except ValueError:
        return text.strip()
    except (KeyError, TypeError):
        return ""
    return detail if isinstance(detail, str) else ""
