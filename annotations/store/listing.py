"""Lists of trajectories, newest first: filters, search, keyset paging.

Reads the index of terms and the columns that summaries show; opens no transaction. Pages use its values `Filter`,
`TrajectorySummary` and `Cursor`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotations.db.tables import TrajectoryRow
from annotations.errors import NotFoundError
from annotations.store import search_index
from annotations.store.search_index import TermRange, exactly, facet, terms_of_search
from model.trajectory import StopReason

MAX_PAGE = 200  # rows


class Cursor(NamedTuple):
    """A place in the list, newest first; `str(cursor)` goes into a URL and `Cursor.parse` reads it."""

    number: int  # of the last trajectory of a page

    def __str__(self) -> str:
        return str(self.number)

    @staticmethod
    def parse(text: str) -> "Cursor":
        """Raises NotFoundError for anything but a number of at most nine digits."""
        if not re.fullmatch("[0-9]{1,9}", text):
            raise NotFoundError(f"{text[:80]!r} is no place in the list; start at its beginning")
        return Cursor(int(text))


@dataclass(frozen=True)
class TrajectorySummary:
    """A trajectory as a list shows it."""

    id: str
    prompt: str
    created_at: datetime  # UTC
    checkpoint: str
    aha: bool
    stop_reason: StopReason | None
    recorded: bool  # shipped with the studio
    cover: str | None  # sha256 of the last image; of a source image where none was drawn
    owner: str
    answers: tuple[str, ...]  # of the reflections, in order
    parent_id: str | None = None  # the trajectory that this one branches from
    number: int = 0  # its place in the list

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.number)


SUMMARY_COLUMNS = [TrajectoryRow.__table__.columns[name] for name in TrajectorySummary.__dataclass_fields__]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which trajectories a list has; a field of None does not restrict it."""

    checkpoint: str | None = None
    category: str | None = None  # of the prompt, as model.world.language names it
    aha: bool | None = None
    recorded: bool | None = None
    owner: str | None = None
    verdict: str | None = None  # the last one: "yes" or "no"
    branch: bool | None = None  # whether it continues another trajectory
    annotated: bool | None = None  # whether it has a revision of any annotation, undone ones too
    search: str | None = None  # words, each of which is a word of the prompt or begins one


EVERYTHING = Filter()


def page(session: Session, *, limit: int, before: Cursor | None, keep: Filter) -> list[TrajectorySummary]:
    """At most `limit` trajectories, and at most MAX_PAGE, newest first; those older than `before`."""
    required, excluded = required_and_excluded(keep)
    older_than = None if before is None else before.number
    numbers = search_index.find(session, required, excluded, before=older_than, limit=min(limit, MAX_PAGE))
    column = TrajectoryRow.number
    rows = session.execute(select(*SUMMARY_COLUMNS).where(column.in_(numbers)).order_by(column.desc()))
    return [summary_of(row._asdict()) for row in rows]


def summary_of(columns: dict[str, Any]) -> TrajectorySummary:
    """From the SUMMARY_COLUMNS of a row."""
    stop_reason = columns["stop_reason"] and StopReason(columns["stop_reason"])
    return TrajectorySummary(**columns | {"answers": tuple(columns["answers"].split()), "stop_reason": stop_reason})


def required_and_excluded(keep: Filter) -> tuple[list[TermRange], list[TermRange]]:
    """The terms that a trajectory must have, and those that it must not have."""
    values = {kind: getattr(keep, kind) for kind in ("checkpoint", "category", "owner", "verdict")}
    required = [exactly(facet(kind, value)) for kind, value in values.items() if value is not None]
    required += terms_of_search(keep.search or "")
    flags = {
        search_index.AHA: keep.aha,
        search_index.RECORDED: keep.recorded,
        search_index.BRANCH: keep.branch,
        search_index.ANNOTATED: keep.annotated,
    }
    required += [exactly(flag) for flag, holds in flags.items() if holds]
    return required, [exactly(flag) for flag, holds in flags.items() if holds is False]
