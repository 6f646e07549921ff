"""Reports of drawings by whoever sees them, and how an admin dealt with them: append-only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select

from annotations.db.administration_tables import ReportRow
from annotations.db.tables import TrajectoryRow
from annotations.db.visibility import is_visible
from annotations.errors import NotFoundError
from annotations.schema.names import clean_name
from annotations.store.store import Store

LONGEST_NOTE = 300  # characters
MOST_OPEN = 20  # reports of one drawing that are kept until an admin has looked
REPORTED, DISMISSED = "reported", "dismissed"


@dataclass(frozen=True)
class Reported:
    """A drawing that was reported since an admin last looked at it."""

    trajectory_id: str
    prompt: str
    cover: str | None  # sha256 of its last picture
    times: int
    notes: tuple[str, ...]
    at: datetime  # of the last report, UTC
    last: int  # number of that report


def report(store: Store, trajectory_id: str, *, by: str, note: str = "") -> None:
    """Raises NotFoundError where there is no such drawing; of many reports of one the last are left out."""
    with store.database.writing() as session:
        if not session.scalar(
            select(TrajectoryRow.id).where(TrajectoryRow.id == trajectory_id, is_visible(TrajectoryRow.id))
        ):
            raise NotFoundError("there is no such drawing any more")
        row = ReportRow
        since = select(func.coalesce(func.max(row.id), 0)).where(
            row.trajectory_id == trajectory_id, row.act == DISMISSED
        )
        opened = select(func.count()).where(row.trajectory_id == trajectory_id, row.id > since.scalar_subquery())
        if (session.scalar(opened) or 0) < MOST_OPEN:
            values = {"trajectory_id": trajectory_id, "act": REPORTED, "note": clean_name(note)[:LONGEST_NOTE]}
            session.execute(insert(row).values(**values, made_by=by, created_at=store.clock()))


def dismiss(store: Store, seen: Mapping[str, int], *, by: str) -> list[str]:
    """An admin has looked at these drawings, at each up to the report of this number: they are no longer listed. The
    ids of those that were reported again since, which stay."""
    again = {each.trajectory_id for each in open_reports(store) if each.last > seen.get(each.trajectory_id, each.last)}
    rows = [
        {"trajectory_id": id, "act": DISMISSED, "note": "", "made_by": by, "created_at": store.clock()}
        for id in store.visible([*seen]) - again
    ]
    if rows:
        with store.database.writing() as session:
            session.execute(insert(ReportRow), rows)
    return sorted(again)


def open_reports(store: Store) -> list[Reported]:
    """At most a hundred visible drawings, the last reported first."""
    row, drawing = ReportRow, TrajectoryRow
    query = select(row, drawing.prompt, drawing.cover).join(drawing, drawing.id == row.trajectory_id)
    with store.database.reading() as session:
        listed: dict[str, Reported] = {}
        for each, prompt, cover in session.execute(query.where(is_visible(row.trajectory_id)).order_by(row.id)):
            before = listed.pop(each.trajectory_id, None)
            if each.act == REPORTED:
                notes = (*(before.notes if before else ()), *([each.note] if each.note else []))
                times = 1 + (before.times if before else 0)
                listed[each.trajectory_id] = Reported(
                    each.trajectory_id, prompt, cover, times, notes, each.created_at, each.id
                )
    return [*listed.values()][::-1][:100]
