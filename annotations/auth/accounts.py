"""Local accounts: roles, and passwords as Argon2id hashes.

Knows the store and roles; no page. An account is never removed, because answers were given in its name.
`password_login` limits attempts to sign in; the command line is `annotations.people`.
"""

import hashlib
import re
import time
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from argon2 import PasswordHasher
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from annotations.auth.changes import COMMAND_LINE, record
from annotations.auth.sessions import end_all
from annotations.db.tables import PersonRow
from annotations.errors import ConflictError, NotFoundError, PersonError
from annotations.schema.names import clean_name, confusable_skeleton, name_key
from annotations.schema.project import Role
from annotations.store.store import Store
from model.reflection_text import is_invisible

SHORTEST, LONGEST = 10, 200  # characters of a password
FEWEST = 4  # different ones that can be seen
HUB = "@huggingface.co"  # suffix of the names of accounts that sign in by the Hub
NONE_CACHED_FOR = 1.0  # seconds for which “there is no account” is remembered
_has_accounts: WeakKeyDictionary[Store, tuple[bool, float]] = WeakKeyDictionary()  # answer, until when a no holds
HASHER = PasswordHasher()  # the library's defaults: RFC 9106, low memory


@dataclass(frozen=True)
class Person:
    """An account, without its password."""

    name: str
    role: Role
    created_at: datetime  # UTC
    deactivated_at: datetime | None = None

    @property
    def active(self) -> bool:
        return self.deactivated_at is None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        moments = {name: getattr(self, name) for name in ("created_at", "deactivated_at")}
        row = {"name": self.name, "role": self.role.value}
        return row | {name: moment and moment.isoformat() for name, moment in moments.items()}


def add(store: Store, name: str, role: Role, password: str | None, *, by: str = COMMAND_LINE) -> Person:
    """Make an account; without a password it is for the Hub's login only. Raises PersonError, ConflictError."""
    hashed = None if password is None else hash_of(password)
    with store.database.writing() as session:
        return add_within(session, store, name, role, hashed, by=by)


def add_within(session: Session, store: Store, name: str, role: Role, hashed: str | None, *, by: str) -> Person:
    """As `add`, within a transaction and with the password already hashed."""
    name = unicodedata.normalize("NFC", name)
    written = "".join(
        c for c in name if unicodedata.category(c)[0] != "M" and not is_invisible(c)
    )  # vowel signs are no \w
    if name != clean_name(name) or name_key(name) == "" or len(name) > 64 or not re.fullmatch(r"[\w.@+-]+", written):
        raise PersonError(
            f"got the name {name[:80]!r}, wanted at most 64 letters, digits and . _ @ + -, without spaces"
        )
    for (taken,) in session.execute(select(PersonRow.name)):
        if confusable_skeleton(taken) == confusable_skeleton(name):
            raise ConflictError(
                f"there is an account “{taken}” already, which looks the same; choose another name, or activate it"
            )
    now = store.clock()
    values = {"name": name, "role": role.value, "password_hash": hashed, "created_at": now}
    session.execute(insert(PersonRow).values(**values))
    record(session, name, "added", by=by, at=now, detail=role.value)
    _has_accounts.pop(store, None)
    return _person(_row(session, name))


def hub_account_name(name: str) -> str:
    """The account name of somebody on the Hub; never that of a local account."""
    return f"{name.lower()}{HUB}"


def hub_account(store: Store, name: str, role: Role, identity: str | None = None) -> Person:
    """The account of somebody who signed in by the Hub, with the role they have there; created where there is none.

    `identity` is the Hub's permanent id: the account is found by it and keeps its first name when the name on the Hub
    changes. Somebody whose name on the Hub belonged to another account gets a distinct name; an account without an
    identity, made by an earlier version, goes to the first login with its name. Raises PersonError where the account
    is deactivated here, or has a password.
    """
    with store.database.writing() as session:
        row = _by_identity(session, identity) if identity else None
        if row is None:
            row = session.get(PersonRow, name)
            if row is not None and identity and row.hub_id not in (None, identity):
                row, name = None, _distinct_name(name, identity)
        if row is not None and not (row.deactivated_at is None and row.password_hash is None):
            raise PersonError(
                f"the account “{row.name}” is deactivated, or opened by a password; an admin can say which"
            )
        if row is not None:
            return _changed(session, row.name, role=role.value, hub_id=identity or row.hub_id)
    add(store, name, role, None, by="the Hub")
    with store.database.writing() as session:
        return _changed(session, name, hub_id=identity)


def _by_identity(session: Session, identity: str) -> PersonRow | None:
    return session.scalar(select(PersonRow).where(PersonRow.hub_id == identity))


def _distinct_name(name: str, identity: str) -> str:
    """A distinct name for somebody whose own name is that of an earlier account."""
    short = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return f"{name.removesuffix(HUB)[: 64 - len(HUB) - 9]}-{short}{HUB}"


def sign_out_from_hub(store: Store) -> None:
    """End the sessions of all who signed in by the Hub: the settings that give them their roles may have changed."""
    with store.database.writing() as session:
        for name in session.scalars(select(PersonRow.name).where(PersonRow.name.endswith(HUB))).all():
            end_all(session, store, name)


def people(store: Store) -> list[Person]:
    """Everybody who has an account, by name."""
    with store.database.reading() as session:
        return sorted(
            map(_person, session.scalars(select(PersonRow))), key=lambda account: (name_key(account.name), account.name)
        )


def has_people(store: Store) -> bool:
    """Whether anybody has an account. Accounts are never removed, so a yes holds for good."""
    has_accounts, until = _has_accounts.get(store, (False, 0.0))
    if not has_accounts and time.monotonic() >= until:
        with store.database.reading() as session:
            has_accounts = session.scalars(select(PersonRow.name).limit(1)).first() is not None
        _has_accounts[store] = (has_accounts, time.monotonic() + NONE_CACHED_FOR)
    return has_accounts


def person(store: Store, name: str) -> Person:
    """Raises NotFoundError when there is no such account."""
    with store.database.reading() as session:
        return _person(_row(session, name))


def set_role(store: Store, name: str, role: Role, *, by: str = COMMAND_LINE) -> Person:
    with store.database.writing() as session:
        record(session, name, "role", by=by, at=store.clock(), detail=role.value)
        return _changed(session, name, role=role.value)


def deactivate(store: Store, name: str, *, by: str = COMMAND_LINE) -> Person:
    """Bar the account from signing in and end its sessions for good; the answers given in its name stay."""
    with store.database.writing() as session:
        end_all(session, store, name)
        record(session, name, "deactivated", by=by, at=store.clock())
        return _changed(session, name, deactivated_at=store.clock())


def activate(store: Store, name: str, *, by: str = COMMAND_LINE) -> Person:
    with store.database.writing() as session:
        record(session, name, "activated", by=by, at=store.clock())
        return _changed(session, name, deactivated_at=None)


def set_password(store: Store, name: str, password: str) -> Person:
    """Another password; whoever has signed in with the old one is signed out."""
    hashed = hash_of(password)
    with store.database.writing() as session:
        end_all(session, store, name)
        record(session, name, "password", by=COMMAND_LINE, at=store.clock())
        return _changed(session, name, password_hash=hashed)


def rehash(store: Store, name: str, password: str) -> Person:
    """The same password, hashed as today's library does."""
    with store.database.writing() as session:
        return _changed(session, name, password_hash=hash_of(password))


def sign_out(store: Store, name: str, *, by: str = COMMAND_LINE) -> Person:
    """End every session of an account, on all machines. Raises NotFoundError."""
    with store.database.writing() as session:
        account = _person(_row(session, name))
        end_all(session, store, name)
        record(session, name, "signed out", by=by, at=store.clock())
        return account


def hash_of(password: str) -> str:
    """Raises PersonError for a password that is too short, too long, or of blanks and a few characters only."""
    normal = normalized(password)
    if not SHORTEST <= len(normal.strip()) <= LONGEST or len(normal) > LONGEST:
        raise PersonError(f"got a password of {len(normal.strip())} characters, wanted {SHORTEST} to {LONGEST}")
    different = {c for c in normal.casefold() if unicodedata.category(c)[0] not in "CZ" and not is_invisible(c)}
    if len(different) < FEWEST:
        raise PersonError(
            f"got a password of {len(different)} different characters, blanks left out; wanted at least {FEWEST}"
        )
    return HASHER.hash(normal)


def normalized(password: str) -> str:
    """The same text, whichever keyboard has typed it (Unicode's NFKC)."""
    return unicodedata.normalize("NFKC", password)


def stored_hash(store: Store, name: str) -> str | None:
    """The hash of an active account's password; None where nobody can sign in under this name."""
    with store.database.reading() as session:
        row = session.get(PersonRow, name)
        return row.password_hash if row is not None and row.deactivated_at is None else None


def _changed(session: Session, name: str, **values: object) -> Person:
    _row(session, name)
    session.execute(update(PersonRow).where(PersonRow.name == name).values(**values))
    session.expire_all()
    return _person(_row(session, name))


def _row(session: Session, name: str) -> PersonRow:
    row = session.get(PersonRow, name)
    if row is None:
        raise NotFoundError(f"there is no account “{name[:80]}”; `python -m annotations.people list` shows all")
    return row


def _person(row: PersonRow) -> Person:
    return Person(row.name, Role(row.role), row.created_at, row.deactivated_at)
