"""Login sessions: a random token per browser, stored as a hash.

Knows rows of sessions; no page, no password. A session is over when it is signed out, when its account's password
changes, and when its time is up; a copy of its word is then worth nothing, on whatever machine.
"""

import secrets
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.tables import SessionRow
from annotations.store.store import Store

LONGEST = 100  # characters of a word
FORGOTTEN = timedelta(days=30)  # how long after its end a session's row is kept


def begin(store: Store, person: str, lasts: timedelta) -> str:
    """A new session of an account; the word that its browser is to keep."""
    word, now = secrets.token_urlsafe(32), store.clock()
    with store.database.writing() as session:
        session.execute(delete(SessionRow).where(SessionRow.expires_at < now - FORGOTTEN))
        values = {"id": _id(word), "person": person, "begun_at": now, "expires_at": now + lasts}
        session.execute(insert(SessionRow).values(**values))
    return word


def holder(store: Store, word: str) -> str | None:
    """The name of the account that a word opens; None where it is made up or over."""
    if not word or len(word) > LONGEST:
        return None
    row = SessionRow
    wanted = select(row.person).where(row.id == _id(word), row.ended_at.is_(None), row.expires_at > store.clock())
    with store.database.reading() as session:
        return session.scalar(wanted)


def end(store: Store, word: str) -> None:
    """Sign out: the word opens nothing any more. One that opens nothing already is fine, and writes nothing."""
    if holder(store, word) is None:
        return
    with store.database.writing() as session:
        over = update(SessionRow).where(SessionRow.id == _id(word), SessionRow.ended_at.is_(None))
        session.execute(over.values(ended_at=store.clock()))


def end_all(session: Session, store: Store, person: str) -> int:
    """Sign an account out everywhere and for good, within a transaction; how many sessions that were."""
    row = SessionRow
    over = update(row).where(row.person == person, row.ended_at.is_(None))
    return session.execute(over.values(ended_at=store.clock())).rowcount


def _id(word: str) -> str:
    return sha256(word.encode(errors="replace")).hexdigest()
