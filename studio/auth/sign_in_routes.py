"""Routes of signing in and out, by password and by the Hub.

Knows accounts, sessions and requests. They answer with a cookie and the way to a page; what went wrong is a word in
that address, for the page to say. A form of another site is refused.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qs, urlencode

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from annotations.auth import accounts, sessions
from annotations.auth.password_login import SignIn
from annotations.errors import AnnotationsError, SignInError
from annotations.schema.names import clean_name
from annotations.store.store import Store
from studio.auth.hub_login import Hub, HubError, LoginState, profile, way_there
from studio.auth.session_cookie import COOKIE, LASTS, LASTS_FROM_HUB, cookie_of, new_session
from studio.http.addresses import limited_as
from studio.http.middleware import is_own
from studio.settings import Settings

log = logging.getLogger(__name__)

# Where somebody may want to go once they have signed in.
INSIDE = ("annotate", "arena", "review", "projects", "project", "datasets")
LONGEST = 4096  # bytes of a form
AT_ONCE = 4  # passwords looked at; each takes 64 MiB, and is counted as wrong until it is known to be right
NOT_HERE = Response("This form is of another site, or too long. Sign in on the studio's own page.", status_code=403)
ERRAND = "aha-errand"  # the cookie of somebody who is at the Hub
AWAY = 600  # seconds that they may be


def routes(store: Store, settings: Settings, hub: Hub | None = None) -> list[Route]:
    """The addresses; wrong tries are counted for as long as these live. With a Hub those to it and back as well."""
    sign_in, turns = SignIn(store), CapacityLimiter(AT_ONCE)

    async def enter(request: Request) -> Response:
        given = await _form(request)
        if given is None:
            return NOT_HERE
        to = _inside(given.get("to"))
        origin = limited_as(request.client.host) if request.client else ""
        try:
            asked = given.get("name", ""), given.get("password", ""), origin
            session = await to_thread.run_sync(_open, *asked, limiter=turns)
        except SignInError as error:
            said = "many" if "too many" in str(error) else "wrong"
            return _said(said, to)
        answer = RedirectResponse(to or "./", status_code=303)
        lasts = int(LASTS.total_seconds())
        answer.set_cookie(COOKIE, session, max_age=lasts, **_kept(request))
        return answer

    def _open(name: str, password: str, origin: str) -> str:
        return new_session(store, sign_in(clean_name(name), password, origin=origin))

    async def leave(request: Request) -> Response:
        if await _form(request) is None:
            return NOT_HERE
        await run_in_threadpool(sessions.end, store, cookie_of(request))  # a copy of the cookie is no use either
        answer = RedirectResponse("./", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    made = [Route("/enter", enter, methods=["POST"]), Route("/leave", leave, methods=["POST"])]
    return made + (_of_hub(store, settings, hub) if hub is not None else [])


def _of_hub(store: Store, settings: Settings, hub: Hub) -> list[Route]:
    """The way to the Hub, and the one that people come back by."""

    async def go(request: Request) -> Response:
        errand, to = LoginState.new(), _inside(request.query_params.get("to"))
        try:
            there = await way_there(hub, errand, hub.way_back(str(request.base_url)))
        except HubError as error:
            log.error("%s", error)
            return _said("hub", to, "../")
        answer = RedirectResponse(there, status_code=303)
        kept = f"{errand.state}.{errand.verifier}.{to}"
        answer.set_cookie(ERRAND, kept, max_age=AWAY, **_kept(request, hub))
        return answer

    async def come_back(request: Request) -> Response:
        state, _, rest = request.cookies.get(ERRAND, "").partition(".")
        verifier, _, to = rest.partition(".")
        to = _inside(to)
        if not state or not verifier:
            return _said("hub", to, "../")
        back = hub.way_back(str(request.base_url))
        try:
            found = await profile(hub, LoginState(state, verifier), back, request.query_params)
            role = settings.role_on_hub(found.names)
            if role is None:
                return _said("stranger", to, "../")
            person = await run_in_threadpool(
                accounts.welcome, store, accounts.name_from_hub(found.name), role, found.identity
            )
            session = await run_in_threadpool(new_session, store, person, LASTS_FROM_HUB)
        except HubError as error:
            log.error("%s", error)
            return _said("hub", to, "../")
        except AnnotationsError as error:
            log.error("%s", error)
            return _said("stranger", to, "../")
        answer = RedirectResponse(f"../{to}", status_code=303)
        answer.delete_cookie(ERRAND, httponly=True, samesite="lax")
        lasts = int(LASTS_FROM_HUB.total_seconds())
        answer.set_cookie(COOKIE, session, max_age=lasts, **_kept(request, hub))
        return answer

    return [Route("/login/huggingface", go), Route("/login/callback", come_back)]


def _inside(to: str | None) -> str:
    """A page of ours, whatever was asked for."""
    return to if to in INSIDE else ""


def _said(word: str, to: str, up: str = "") -> Response:
    return RedirectResponse(f"{up}sign-in?{urlencode({'said': word, 'to': to})}", status_code=303)


def _kept(request: Request, hub: Hub | None = None) -> dict[str, bool | str]:
    """How a cookie is kept: out of reach of scripts and other sites, and over HTTPS only where there is that."""
    said = getattr(request.state, "said_https", False)  # by a proxy, trusted or not: it can only make this stricter
    safe = said or request.url.scheme == "https" or bool(hub and hub.host)
    return {"httponly": True, "samesite": "lax", "secure": safe}


async def _form(request: Request) -> dict[str, str] | None:
    """What was filled in; None for what comes from another site, is no form or too long for one."""
    if not is_own(request.headers, request.url.scheme):
        return None
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LONGEST:
                return None
    except ClientDisconnect:
        return None
    read = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in read.items()}
