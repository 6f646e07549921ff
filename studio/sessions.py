"""Who has signed in, as a signed cookie: it names an account, and holds until the password changes or two weeks go by.

Knows the store and accounts; no page. The cookie is of no use to scripts and is not sent along from other sites.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256
from typing import Any

from starlette.requests import cookie_parser

from annotations import people
from annotations.errors import NotFoundError
from annotations.people import Person
from annotations.store import Store

COOKIE = "aha-session"
LASTS = timedelta(days=14)
LONGEST = 1000  # characters


def new_session(store: Store, person: Person) -> str:
    """What the cookie of somebody who has just signed in says."""
    stored = people.stored_hash(store, person.name) or ""
    told = json.dumps([person.name, _stamp(stored), int(store.clock().timestamp())])
    body = urlsafe_b64encode(told.encode()).decode()
    return f"{body}.{_signature(store, body)}"


def person_of(store: Store, session: str) -> Person | None:
    """The active account that a cookie names; None where it is forged or over."""
    body, _, signature = session.partition(".")
    if not signature or len(session) > LONGEST:
        return None
    if not hmac.compare_digest(signature.encode(errors="replace"), _signature(store, body).encode()):
        return None
    name, stamp, since = json.loads(urlsafe_b64decode(body))
    if store.clock().timestamp() - since > LASTS.total_seconds():
        return None
    stored = people.stored_hash(store, name)
    if stored is None or not hmac.compare_digest(_stamp(stored), stamp):
        return None
    try:
        return people.person(store, name)
    except NotFoundError:
        return None


def cookie_of(request: Any) -> str:
    """The session that a request brings along, unread; empty where it brings none."""
    headers = getattr(request, "headers", None) or {}
    return cookie_parser(headers.get("cookie") or "").get(COOKIE, "")


def _signature(store: Store, body: str) -> str:
    return hmac.digest(store.secret("session"), body.encode(errors="replace"), "sha256").hex()


def _stamp(stored_hash: str) -> str:
    """Another password makes it another one."""
    return sha256(stored_hash.encode()).hexdigest()[:16]
