"""Where the form of the sign-in page is sent, and the button that signs out: two addresses beside Gradio's.

Knows accounts, sessions and requests. They answer with a cookie and the way to a page; what went wrong is a word in
that address, for `pages.sign_in` to say. A form of another site is refused.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from annotations.errors import SignInError
from annotations.signing_in import SignIn
from annotations.store import Store
from studio.sessions import COOKIE, LASTS, new_session

INSIDE = ("annotate", "datasets")  # where somebody may want to go once they have signed in
LONGEST = 4096  # bytes of a form
AT_ONCE = 4  # passwords looked at; each takes 64 MiB, and is counted as wrong until it is known to be right
NOT_HERE = Response("This form is of another site, or too long. Sign in on the studio's own page.", status_code=403)


def routes(store: Store) -> list[Route]:
    """The two addresses; wrong tries are counted for as long as these live."""
    sign_in, turns = SignIn(store), CapacityLimiter(AT_ONCE)

    async def enter(request: Request) -> Response:
        given = await _form(request)
        if given is None:
            return NOT_HERE
        to = given.get("to") if given.get("to") in INSIDE else ""
        origin = request.client.host if request.client else ""
        try:
            asked = given.get("name", ""), given.get("password", ""), origin
            session = await to_thread.run_sync(_open, *asked, limiter=turns)
        except SignInError as error:
            said = "many" if "too many" in str(error) else "wrong"
            return RedirectResponse("sign-in?" + urlencode({"said": said, "to": to}), status_code=303)
        answer = RedirectResponse(to or "./", status_code=303)
        safe = request.url.scheme == "https"
        lasts = int(LASTS.total_seconds())
        answer.set_cookie(COOKIE, session, max_age=lasts, httponly=True, samesite="lax", secure=safe)
        return answer

    def _open(name: str, password: str, origin: str) -> str:
        return new_session(store, sign_in(name.strip(), password, origin=origin))

    async def leave(request: Request) -> Response:
        if await _form(request) is None:
            return NOT_HERE
        answer = RedirectResponse("./", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    return [Route("/enter", enter, methods=["POST"]), Route("/leave", leave, methods=["POST"])]


async def _form(request: Request) -> dict[str, str] | None:
    """What was filled in; None for what comes from another site, is no form or too long for one."""
    sent = request.headers
    near = sent.get("sec-fetch-site") or (
        "none" if urlsplit(sent.get("origin", "")).netloc in ("", sent["host"]) else ""
    )
    if near not in ("same-origin", "none"):
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
