"""Invitations: a signed link by which somebody makes an account of their own, once, before it expires.

Append-only: an invitation, its use and its withdrawal are rows. The link is worth nothing without this database's key.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import Select, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from annotations.auth.accounts import Person, add_within, hash_of
from annotations.auth.changes import record
from annotations.db.administration_tables import InvitationEndRow, InvitationRow
from annotations.errors import NotFoundError, PersonError
from annotations.schema.forms.text import is_storable
from annotations.schema.project import Role
from annotations.store.store import Store

LASTS = timedelta(days=7)
MOST_DAYS = 90
LONGEST_INVITEE = 120  # characters
LONGEST_TOKEN = 200  # characters
PURPOSE = "invitations"
NOT_VALID = "this invitation is not valid, was used or withdrawn, or has expired; ask an admin for another"


@dataclass(frozen=True)
class Invitation:
    """One invitation. `ended_at`: when it was used or withdrawn."""

    id: int
    role: Role
    created_by: str
    created_at: datetime  # UTC
    expires_at: datetime  # UTC
    used_by: str | None = None  # the account that was made; None where nobody has used it
    ended_at: datetime | None = None
    invitee: str = ""  # for whom it is, in the words of who invites

    def is_open(self, now: datetime) -> bool:
        return self.ended_at is None and now < self.expires_at


def invite(store: Store, role: Role, *, by: str, lasts: timedelta = LASTS, invitee: str = "") -> str:
    """A new invitation; the token for its link. Raises PersonError for a time that it cannot last, and for words that
    cannot be stored."""
    if not timedelta(0) < lasts <= timedelta(days=MOST_DAYS):
        raise PersonError(f"got an invitation for {lasts.days} days, wanted one for 1 to {MOST_DAYS}")
    invitee = " ".join(invitee.split())
    if len(invitee) > LONGEST_INVITEE or not is_storable(invitee):
        raise PersonError(f"got {len(invitee)} characters for whom it is, wanted at most {LONGEST_INVITEE} plain ones")
    now = store.clock()
    times = {"created_at": now, "expires_at": now + lasts}
    row = insert(InvitationRow).values(role=role.value, created_by=by, invitee=invitee or None, **times)
    with store.database.writing() as session:
        id = session.scalars(row.returning(InvitationRow.id)).one()
        record(session, "", "invited", by=by, at=now, detail=role.value)
    return _serializer(store).dumps(id)


def invitation(store: Store, token: str) -> Invitation:
    """What a link invites to. Raises PersonError for one that is forged, used, withdrawn or expired."""
    with store.database.reading() as session:
        return _open_invitation(session, store, token)


def accept(store: Store, token: str, name: str, password: str) -> Person:
    """Make the account of the invited person. Raises PersonError as `invitation` and `accounts.add`, ConflictError."""
    hashed = hash_of(password)
    try:
        with store.database.writing() as session:
            asked = _open_invitation(session, store, token)
            person = add_within(session, store, name, asked.role, hashed, by=f"invited by {asked.created_by}")
            _end(session, asked.id, store.clock(), used_by=person.name)
            return person
    except IntegrityError as error:
        raise PersonError(NOT_VALID) from error


def withdraw(store: Store, id: int, *, by: str) -> None:
    """End an invitation unused. Raises NotFoundError where there is none that is open."""
    with store.database.writing() as session:
        asked = next((each for each in _all(session, InvitationRow.id == id)), None)
        if asked is None or not asked.is_open(store.clock()):
            raise NotFoundError(f"there is no open invitation {id}; it was used or withdrawn, or has expired")
        _end(session, id, store.clock())
        record(session, "", "withdrew an invitation", by=by, at=store.clock(), detail=asked.role.value)


def open_invitations(store: Store) -> list[Invitation]:
    """The newest first."""
    with store.database.reading() as session:
        return [each for each in _all(session) if each.is_open(store.clock())][::-1]


def _open_invitation(session: Session, store: Store, token: str) -> Invitation:
    try:
        id = _serializer(store).loads(token[: LONGEST_TOKEN + 1])
    except BadData as error:
        raise PersonError(NOT_VALID) from error
    asked = next((each for each in _all(session, InvitationRow.id == id)), None)
    if asked is None or not asked.is_open(store.clock()):
        raise PersonError(NOT_VALID)
    return asked


def _all(session: Session, *where: object) -> list[Invitation]:
    row, end = InvitationRow, InvitationEndRow
    query: Select = select(row, end).outerjoin(end, end.invitation_id == row.id).where(*where).order_by(row.id)
    return [
        Invitation(
            made.id, Role(made.role), made.created_by, made.created_at, made.expires_at,
            ended and ended.used_by, ended and ended.created_at, made.invitee or "",
        )
        for made, ended in session.execute(query)
    ]  # fmt: skip


def _end(session: Session, id: int, at: datetime, used_by: str | None = None) -> None:
    session.execute(insert(InvitationEndRow).values(invitation_id=id, used_by=used_by, created_at=at))


def _serializer(store: Store) -> URLSafeSerializer:
    return URLSafeSerializer(store.secret(PURPOSE), salt=PURPOSE)
