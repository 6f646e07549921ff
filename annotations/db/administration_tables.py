"""Tables of accounts' changes, invitations, reports and blocked words: append-only."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from annotations.db.base import Base


class InvitationRow(Base):
    """An invitation to make an account."""

    __tablename__ = "invitations"

    id: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    invitee: Mapped[str | None] = mapped_column(Text)  # for whom it is, in the words of who invites

    __table_args__ = ({"sqlite_autoincrement": True},)


class InvitationEndRow(Base):
    """An invitation was used, or withdrawn."""

    __tablename__ = "invitation_ends"

    invitation_id: Mapped[int] = mapped_column(ForeignKey("invitations.id"), primary_key=True, autoincrement=False)
    used_by: Mapped[str | None] = mapped_column(String(64))  # None: withdrawn
    created_at: Mapped[datetime]


class AccountChangeRow(Base):
    """Somebody changed an account, or invited somebody."""

    __tablename__ = "account_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(String(64))  # whose account; empty for an invitation
    act: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text)
    changed_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)


class ReportRow(Base):
    """Somebody reported a drawing, or an admin dismissed what was reported of it until then."""

    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    trajectory_id: Mapped[str] = mapped_column(ForeignKey("trajectories.id"), index=True)
    act: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text)
    made_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)


class BlockedWordRow(Base):
    """A word was blocked, or is no longer."""

    __tablename__ = "blocked_words"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(Text)
    blocked: Mapped[bool]
    changed_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_autoincrement": True},)
