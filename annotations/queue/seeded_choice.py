"""Seeded pseudo-random choices from the database's salt: is a gold item due, which image stands left.

Drawn from names and the database's salt, so that nobody outside can foretell it; opens no transaction.
"""

import hashlib
import hmac

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotations.db.tables import ItemRow, PropertyRow


def seeded_uniform(session: Session, *names: str) -> float:
    """A number from 0 to 1 that nobody outside this database can foretell."""
    salt = session.scalars(select(PropertyRow.value).where(PropertyRow.name == "salt")).one()
    digest = hmac.digest(salt.encode(), "\0".join(names).encode(), hashlib.sha256)
    return int.from_bytes(digest[:6]) / 2**48


def left_of(session: Session, item: ItemRow, annotator: str) -> str | None:
    """Which of a pair stands on the left: by lot, for each person, and the same whenever they look."""
    if item.other_id is None:
        return None
    return item.trajectory_id if seeded_uniform(session, str(item.id), annotator) < 0.5 else item.other_id
