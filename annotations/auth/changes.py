"""Changes of accounts: append-only rows of who did what to whose account."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotations.db.administration_tables import AccountChangeRow
from annotations.store.store import Store

COMMAND_LINE = "the command line"


@dataclass(frozen=True)
class AccountChange:
    """One line of the trail."""

    at: datetime  # UTC
    by: str
    person: str  # whose account; empty for an invitation
    act: str
    detail: str  # such as the new role


def record(session: Session, person: str, act: str, *, by: str, at: datetime, detail: str = "") -> None:
    """Within the transaction of the change itself."""
    values = {"person": person, "act": act, "detail": detail, "changed_by": by, "created_at": at}
    session.execute(insert(AccountChangeRow).values(**values))


def account_changes(store: Store) -> list[AccountChange]:
    """The fifty newest, newest first."""
    row = AccountChangeRow
    with store.database.reading() as session:
        rows = session.scalars(select(row).order_by(row.id.desc()).limit(50)).all()
        return [AccountChange(each.created_at, each.changed_by, each.person, each.act, each.detail) for each in rows]
