"""Scores of critics: a critic's p_yes of a stored picture; append-only, the newest of a critic and picture counts.

Each function is one transaction.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotations.db.tables import CriticScoreRow
from annotations.db.visibility import is_visible
from annotations.errors import AnswerError
from annotations.store.store import Store

LONGEST_NAME = 200  # characters


class CriticScore(NamedTuple):
    """What a critic says of the picture of a segment."""

    trajectory_id: str
    segment: int  # of the image
    critic: str  # as `--reward` names it: verifier, critic:MODEL, reward_model:FOLDER
    p_yes: float


def add(store: Store, scores: Iterable[CriticScore]) -> None:
    """Store scores, all or none. Raises AnswerError for what is no probability or has no name."""
    now = store.clock()
    rows = [score._asdict() | {"created_at": now} for score in scores]
    for row in rows:
        if not 0 <= row["p_yes"] <= 1 or not 0 < len(row["critic"]) <= LONGEST_NAME:
            raise AnswerError(f"got p_yes {row['p_yes']} of “{row['critic'][:80]}”, wanted one from 0 to 1, and a name")
    if rows:
        with store.database.writing() as session:
            session.execute(insert(CriticScoreRow), rows)


def scores(store: Store) -> list[CriticScore]:
    """Of all visible trajectories: the newest score of each critic and picture."""
    with store.database.reading() as session:
        return latest(session)


def latest(session: Session, trajectory_ids: Sequence[str] | None = None) -> list[CriticScore]:
    """Of these trajectories, or of all visible ones; within the caller's transaction."""
    row = CriticScoreRow
    of = is_visible(row.trajectory_id) if trajectory_ids is None else row.trajectory_id.in_(trajectory_ids)
    query = select(row.trajectory_id, row.segment, row.critic, row.p_yes).where(of).order_by(row.id)
    newest = {(id, segment, critic): p_yes for id, segment, critic, p_yes in session.execute(query)}
    return [CriticScore(*key, p_yes) for key, p_yes in newest.items()]
