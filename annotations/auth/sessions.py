"""Login sessions: a random token per browser, stored as a hash.

Knows rows of sessions; no page, no password. A session is over when it is signed out, when its account's password
changes, and when it expires; a copy of its token is then worth nothing, on whatever machine.
"""

import secrets
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.tables import SessionRow
from annotations.store.store import Store

LONGEST = 100  # characters of a token
ROW_KEPT = timedelta(days=30)  # after the end of a session


def begin(store: Store, person: str, lasts: timedelta) -> str:
    """Begin a session of an account; the token for the cookie of its browser."""
    token, now = secrets.token_urlsafe(32), store.clock()
    with store.database.writing() as session:
        session.execute(delete(SessionRow).where(SessionRow.expires_at < now - ROW_KEPT))
        values = {"id": _id(token), "person": person, "begun_at": now, "expires_at": now + lasts}
        session.execute(insert(SessionRow).values(**values))
    return token


def holder(store: Store, token: str) -> str | None:
    """The name of the account of a session; None where it is unknown or over."""
    if not token or len(token) > LONGEST:
        return None
    row = SessionRow
    query = select(row.person).where(row.id == _id(token), row.ended_at.is_(None), row.expires_at > store.clock())
    with store.database.reading() as session:
        return session.scalar(query)


def end(store: Store, token: str) -> None:
    """Sign out: end the session. Does nothing where it is unknown or over."""
    if holder(store, token) is None:
        return
    with store.database.writing() as session:
        ended = update(SessionRow).where(SessionRow.id == _id(token), SessionRow.ended_at.is_(None))
        session.execute(ended.values(ended_at=store.clock()))


def end_all(session: Session, store: Store, person: str) -> int:
    """End all sessions of an account, within a transaction; how many there were."""
    row = SessionRow
    ended = update(row).where(row.person == person, row.ended_at.is_(None))
    return session.execute(ended.values(ended_at=store.clock())).rowcount


def _id(token: str) -> str:
    return sha256(token.encode(errors="replace")).hexdigest()
