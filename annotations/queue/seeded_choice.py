"""Deterministic pseudo-random choices keyed by the database's salt: is a gold item due, which image is on the left.

The salt is secret, so that a client cannot predict them. Opens no transaction.
"""

import hashlib
import hmac

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotations.db.tables import ItemRow, PropertyRow


def seeded_uniform(session: Session, *names: str) -> float:
    """Deterministic uniform float in [0, 1): HMAC-SHA256(salt, names)."""
    salt = session.scalars(select(PropertyRow.value).where(PropertyRow.name == "salt")).one()
    digest = hmac.digest(salt.encode(), "\0".join(names).encode(), hashlib.sha256)
    return int.from_bytes(digest[:6]) / 2**48


def left_of(session: Session, item: ItemRow, annotator: str) -> str | None:
    """Id of the trajectory of a pair that is shown on the left: a fixed random choice per item and annotator."""
    if item.other_id is None:
        return None
    return item.trajectory_id if seeded_uniform(session, str(item.id), annotator) < 0.5 else item.other_id
