"""Hides drawings reversibly from every list, link, preview, queue and export until they are shown again.

A hidden drawing has a row of `deletions` that keeps what its items and leases were. A deletion of it afterwards is for
good. Each function is one transaction.
"""

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.orm import Session

from annotations.db.tables import DeletionRow, ItemRow, LeaseRow, TrajectoryImageRow, TrajectoryRow
from annotations.db.visibility import is_visible
from annotations.errors import AnnotationsError, NotFoundError
from annotations.store import items, trajectories
from annotations.store.items import ItemState
from annotations.store.listing import SUMMARY_COLUMNS, TrajectorySummary, summary_of
from annotations.store.store import Store

MOST = 200  # drawings in one call
HIDDEN_LEASE = "hidden"


def withhold(store: Store, ids: Collection[str], *, by: str) -> None:
    """Hide drawings from everybody; those that are hidden or deleted already stay as they are. Raises NotFoundError
    where there is no such drawing, with none hidden.
    """
    with store.database.writing() as session:
        for id in [*dict.fromkeys(ids)][:MOST]:
            if _row(session, id) is None:
                before = _states(session, id)
                trajectories.hide(session, id, by=by, now=store.clock())
                session.execute(_of(update(DeletionRow), id).values(restores=json.dumps(before)))
    store.hidden += 1


def show_again(store: Store, ids: Collection[str]) -> None:
    """Undo `withhold`. Raises NotFoundError for what is not hidden, or deleted for good, with none shown."""
    with store.database.writing() as session:
        for id in [*dict.fromkeys(ids)][:MOST]:
            row = _row(session, id)
            if row is None or row.restores is None:
                raise NotFoundError(f"the drawing {id[:80]!r} is not hidden, or was deleted for good")
            before = json.loads(row.restores)
            session.execute(delete(DeletionRow).where(DeletionRow.id == row.id))
            number = session.scalars(select(TrajectoryRow.number).where(TrajectoryRow.id == id)).one()
            trajectories.publish(session, [number])
            _restore(session, id, before)
    store.hidden += 1


def withheld(store: Store) -> list[TrajectorySummary]:
    """What is hidden and can be shown again, the last hundred, the last hidden first."""
    query = select(*SUMMARY_COLUMNS).join(DeletionRow, DeletionRow.trajectory_id == TrajectoryRow.id)
    query = query.where(DeletionRow.restores.is_not(None)).order_by(DeletionRow.id.desc()).limit(100)
    with store.database.reading() as session:
        return [summary_of(row._asdict()) for row in session.execute(query)]


def withheld_picture(store: Store, sha256: str) -> bytes | None:
    """For moderators, the PNG of a drawing that is hidden like this; None for any other, and for a lost one."""
    link = TrajectoryImageRow
    shown = exists().where(link.sha256 == sha256, link.trajectory_id == DeletionRow.trajectory_id)
    with store.database.reading() as session:
        if not session.scalar(select(DeletionRow.id).where(shown, DeletionRow.restores.is_not(None)).limit(1)):
            return None
    with suppress(AnnotationsError):
        return store.stored_picture(sha256)
    return None


def _row(session: Session, trajectory_id: str) -> DeletionRow | None:
    return session.scalar(_of(select(DeletionRow), trajectory_id))


def _of(statement: Any, trajectory_id: str) -> Any:
    return statement.where(DeletionRow.trajectory_id == trajectory_id)


def _states(session: Session, trajectory_id: str) -> dict[str, Any]:
    """What is to be restored: states of its items, outcomes of their leases."""
    shows_it = or_(ItemRow.trajectory_id == trajectory_id, ItemRow.other_id == trajectory_id)
    states = dict(
        session.execute(select(ItemRow.id, ItemRow.state).where(shows_it, ItemRow.state != ItemState.HIDDEN)).all()
    )
    row = LeaseRow
    leases = session.execute(select(row.item_id, row.annotator, row.outcome).where(row.item_id.in_(states)))
    return {"items": [*states.items()], "leases": [list(lease) for lease in leases]}


def _restore(session: Session, trajectory_id: str, before: dict[str, Any]) -> None:
    """Bring back the items that nothing else hides; of a pair whose other drawing is hidden, that one's row takes over
    what is to be restored."""
    leases: dict[int, list[Sequence[Any]]] = {}
    for lease in before["leases"]:
        leases.setdefault(lease[0], []).append(lease)
    for item_id, state in before["items"]:
        item = session.get(ItemRow, item_id)
        if item is None:
            continue
        other = item.other_id if item.trajectory_id == trajectory_id else item.trajectory_id
        if other is not None and other != trajectory_id and not _is_visible(session, other):
            _hand_over(session, other, [item_id, state], leases.get(item_id, []))
            continue
        item.state = state
        for _, annotator, outcome in leases.get(item_id, []):
            held = LeaseRow.item_id == item_id, LeaseRow.annotator == annotator, LeaseRow.outcome == HIDDEN_LEASE
            session.execute(update(LeaseRow).where(*held).values(outcome=outcome))
        if state == ItemState.OPEN:
            items.move_cursors_back(session, item.project_id, item.priority, item.rank, item_id)


def _is_visible(session: Session, trajectory_id: str) -> bool:
    return bool(
        session.scalar(select(TrajectoryRow.id).where(TrajectoryRow.id == trajectory_id, is_visible(TrajectoryRow.id)))
    )


def _hand_over(session: Session, trajectory_id: str, item: list[Any], leases: list[Sequence[Any]]) -> None:
    row = _row(session, trajectory_id)
    if row is not None and row.restores is not None:
        before = json.loads(row.restores)
        row.restores = json.dumps({"items": [*before["items"], item], "leases": [*before["leases"], *leases]})
