"""Routes of signing in and out, by password and by the Hub.

Knows accounts, sessions and requests. They answer with a cookie and a redirect to a page; what went wrong is a word in
that address, which the Sign in page explains. A form sent from another site is refused.
"""

import logging
from datetime import timedelta
from urllib.parse import parse_qs, urlencode

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from annotations.auth import accounts, sessions
from annotations.auth.invitations import LONGEST_TOKEN, accept
from annotations.auth.password_login import SignIn
from annotations.errors import AnnotationsError, ConflictError, SignInError
from annotations.processes.messages import ProcessMessages
from annotations.schema.names import clean_name
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.auth.hub_login import Hub, HubError, LoginSession, fetch_profile, redirect_to_hub
from studio.auth.session_cookie import COOKIE, LASTS, LASTS_FROM_HUB, cookie_of, is_secure, new_session
from studio.http.addresses import rate_limit_key
from studio.http.middleware import is_own
from studio.page_list import PAGES
from studio.settings import Settings

log = logging.getLogger(__name__)

PAGES_AFTER_LOGIN = tuple(page.path for page in PAGES if page.role is not Role.VISITOR)  # to which signing in leads
MAX_FORM_BYTES = 4096
PASSWORDS_AT_ONCE = 4  # each check takes 64 MiB, and counts as a failed attempt until it has succeeded
FORBIDDEN = Response("This form is of another site, or too long. Sign in on the studio's own page.", status_code=403)


def routes(store: Store, settings: Settings, hub: Hub | None = None) -> list[Route]:
    """The routes; failed attempts are counted for as long as they live. With a Hub those of its login as well."""
    return _password_routes(store) + (_hub_routes(store, settings, hub) if hub is not None else [])


def _password_routes(store: Store) -> list[Route]:
    sign_in, limiter = SignIn(store), CapacityLimiter(PASSWORDS_AT_ONCE)
    ProcessMessages.of(store).share("sign-ins", sign_in.failures_delta, sign_in.merge_remote_failures)

    async def enter(request: Request) -> Response:
        form = await _own_form(request)
        if form is None:
            return FORBIDDEN
        page = _allowed_page(form.get("to"))
        origin = rate_limit_key(request.client.host) if request.client else ""
        credentials = form.get("name", ""), form.get("password", ""), origin
        try:
            session = await to_thread.run_sync(open_session, *credentials, limiter=limiter)
        except SignInError as error:
            return _back_to_form("many" if "too many" in str(error) else "wrong", page)
        return _signed_in(session, LASTS, page or "./", secure=is_secure(request))

    def open_session(name: str, password: str, origin: str) -> str:
        return new_session(store, sign_in(clean_name(name), password, origin=origin))

    async def join(request: Request) -> Response:
        form = await _own_form(request)
        if form is None:
            return FORBIDDEN
        token = form.get("invitation", "")
        try:
            session = await to_thread.run_sync(
                open_account, token, form.get("name", ""), form.get("password", ""), limiter=limiter
            )
        except AnnotationsError as error:
            query = urlencode({"invitation": token[:LONGEST_TOKEN], "said": _why_not(error)})
            return RedirectResponse(f"sign-in?{query}", status_code=303)
        return _signed_in(session, LASTS, "./", secure=is_secure(request))

    def open_account(token: str, name: str, password: str) -> str:
        return new_session(store, accept(store, token, clean_name(name), password))

    async def leave(request: Request) -> Response:
        if await _own_form(request) is None:
            return FORBIDDEN
        await run_in_threadpool(sessions.end, store, cookie_of(request))  # so that a copy of the cookie is void, too
        response = RedirectResponse("./", status_code=303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response

    forms = {"/enter": enter, "/join": join, "/leave": leave}
    return [Route(path, endpoint, methods=["POST"]) for path, endpoint in forms.items()]


def _hub_routes(store: Store, settings: Settings, hub: Hub) -> list[Route]:
    async def login(request: Request) -> Response:
        page = _allowed_page(request.query_params.get("to"))
        request.session["page"] = page
        try:
            return await redirect_to_hub(hub, request)
        except HubError as error:
            log.error("%s", error)
            return _back_to_form("hub", page, "../")

    async def callback(request: Request) -> Response:
        page = _allowed_page(request.session.get("page"))
        try:
            profile = await fetch_profile(hub, request)
            role = settings.role_on_hub(profile.names)
            if role is None:
                return _back_to_form("stranger", page, "../")
            name = accounts.hub_account_name(profile.name)
            person = await run_in_threadpool(accounts.hub_account, store, name, role, profile.subject)
            session = await run_in_threadpool(new_session, store, person, LASTS_FROM_HUB)
        except (HubError, AnnotationsError) as error:
            log.error("%s", error)
            return _back_to_form("hub" if isinstance(error, HubError) else "stranger", page, "../")
        request.session.clear()
        return _signed_in(session, LASTS_FROM_HUB, f"../{page}", secure=is_secure(request) or hub.host is not None)

    middleware = [Middleware(LoginSession, hub=hub)]
    return [
        Route("/login/huggingface", login, middleware=middleware),
        Route("/login/callback", callback, middleware=middleware),
    ]


def _why_not(error: AnnotationsError) -> str:
    """A word of the Sign in page for an account that was not made."""
    if isinstance(error, ConflictError):
        return "taken"
    return "weak" if "password" in str(error) else "name"


def _allowed_page(page: str | None) -> str:
    """A page of the studio, whatever was asked for; empty for the front page."""
    return page if page in PAGES_AFTER_LOGIN else ""


def _back_to_form(reason: str, page: str, up: str = "") -> Response:
    return RedirectResponse(f"{up}sign-in?{urlencode({'said': reason, 'to': page})}", status_code=303)


def _signed_in(session: str, lasts: timedelta, address: str, *, secure: bool) -> Response:
    response = RedirectResponse(address, status_code=303)
    max_age = int(lasts.total_seconds())
    response.set_cookie(COOKIE, session, max_age=max_age, httponly=True, samesite="lax", secure=secure)
    return response


async def _own_form(request: Request) -> dict[str, str] | None:
    """The fields of a form; None for one of another site, and for what is no form or too long for one."""
    if not is_own(request.headers, request.url.scheme):
        return None
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_BYTES:
                return None
    except ClientDisconnect:
        return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}
