"""The cookie of a login session: name, lifetimes, and the account that it opens.

Knows cookies; which word opens what is known to `annotations.auth.sessions`. The cookie is of no use to scripts and
is not sent along from other sites.
"""

from datetime import timedelta
from typing import Any

from starlette.requests import HTTPConnection, cookie_parser

from annotations.auth import accounts, sessions
from annotations.auth.accounts import Person
from annotations.store.store import Store

COOKIE = "aha-session"
LASTS = timedelta(days=14)
LASTS_FROM_HUB = timedelta(days=1)  # then the Hub is asked again whether somebody is still in their organisation


def new_session(store: Store, person: Person, lasts: timedelta = LASTS) -> str:
    """What the cookie of somebody who has just signed in says."""
    return sessions.begin(store, person.name, lasts)


def person_of(store: Store, session: str) -> Person | None:
    """The active account that a cookie opens; None where it is forged or over."""
    name = sessions.holder(store, session)
    if name is None:
        return None
    person = accounts.person(store, name)
    return person if person.active else None


def is_secure(connection: HTTPConnection) -> bool:
    """Whether cookies of the response are `Secure`: with HTTPS, and where a proxy says so, trusted or not."""
    return getattr(connection.state, "said_https", False) or connection.url.scheme == "https"


def cookie_of(request: Any) -> str:
    """The session that a request brings along, unread; empty where it brings none."""
    headers = getattr(request, "headers", None) or {}
    return cookie_in(headers.get("cookie") or "")


def cookie_in(header: str) -> str:
    """The session in a Cookie header."""
    return cookie_parser(header).get(COOKIE, "")
