"""ASGI middleware for link previews of drawings: meta tags, card, animation.

Knows HTTP; what is drawn and said is `share_card`'s. A drawing that is hidden or deleted has the same answer as one
that never was.
"""

from collections.abc import Callable
from html import escape
from urllib.parse import parse_qs, quote

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotations.errors import AnnotationsError
from annotations.store.store import Store
from model.images import PictureFileError
from studio.access import PAGE
from studio.http.bodies import refusal
from studio.http.compression import accepts_brotli, compress
from studio.http.limits import Caller
from studio.http.middleware import path_below_root
from studio.http.page_cache import GENERAL
from studio.settings import Settings
from studio.sharing import share_card

SHARED = ("/", "/gallery")  # pages that show a drawing by its id
PICTURES: dict[str, tuple[Callable[[Store, str], bytes], str]] = {
    "/card.png": (share_card.card, "image/png"),
    "/animation.webp": (share_card.animation, "image/webp"),
}


class ShareLinks:
    """Before the cache of pages, which are the same for everybody."""

    def __init__(self, app: ASGIApp, settings: Settings, store: Store) -> None:
        self._app, self._settings, self._store = app, settings, store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = path_below_root(scope, self._settings) if scope["type"] == "http" else ""
        run = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("run", [""])[0]
        if path in PICTURES:
            await (await self._picture(scope, path, run))(scope, receive, send)
        elif run and path in SHARED and PAGE.fullmatch(path) and scope["method"] == "GET":
            await self._page(scope, receive, send, run)
        else:
            await self._app(scope, receive, send)

    async def _picture(self, scope: Scope, path: str, run: str) -> Response:
        """Raises LimitError where a visitor asks for too many."""
        Caller.of_scope(scope).take("pages")
        make, media_type = PICTURES[path]
        try:
            content = await to_thread.run_sync(make, self._store, run)
        except (AnnotationsError, PictureFileError):
            return refusal(404, "There is no such drawing.")
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    async def _page(self, scope: Scope, receive: Receive, send: Send, run: str) -> None:
        """The page of a drawing, with its own tags in the place of the studio's."""
        tags = await to_thread.run_sync(self._tags, scope, run)
        if not tags:
            await self._app(scope, receive, send)
            return
        plain = [pair for pair in scope["headers"] if pair[0].lower() != b"accept-encoding"]
        start: Message = {}
        parts: list[bytes] = []

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            body = b"".join(parts).replace(GENERAL.encode(), tags.encode(), 1)
            headers = MutableHeaders(raw=start["headers"])
            if accepts_brotli(scope):
                body = compress(body)
                headers["content-encoding"] = "br"
            headers["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self._app({**scope, "headers": plain}, receive, tagged)

    def _tags(self, scope: Scope, run: str) -> str:
        try:
            trajectory = self._store.trajectory(run)
        except AnnotationsError:
            return ""
        root = f"{scope['scheme']}://{Headers(scope=scope).get('host', '')}{self._settings.root_path or ''}/"
        address = f"?run={quote(run, safe='')}"
        properties = {
            "og:title": f"{share_card.title_of(trajectory)} · Aha Studio",
            "og:description": share_card.description_of(trajectory),
            "og:type": "website",
            "og:url": root + address,
            "og:image": f"{root}card.png{address}",
            "og:image:width": str(share_card.SIZE[0]),
            "og:image:height": str(share_card.SIZE[1]),
        }
        tags = [f'<meta property="{name}" content="{escape(value)}" />' for name, value in properties.items()]
        return "\n\t\t".join([*tags, '<meta name="twitter:card" content="summary_large_image" />'])
