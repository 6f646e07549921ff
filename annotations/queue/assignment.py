"""Assignment of items: the next one of an annotator, prefetch, heartbeat, release.

Order of precedence: an item that the annotator holds or left; practice items for a newcomer; at the project's rate, an
undisclosed gold item; the next open item in the project's order whose answers and leases are fewer than the overlap;
items postponed by a skip. A claim is a lease of ten minutes, renewed by every heartbeat. A pair of two identical
pictures is closed instead of assigned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from annotations.db.tables import ItemRow, LeaseRow
from annotations.errors import AnswerError, LeaseError, ProjectError
from annotations.queue import next_item
from annotations.queue.seeded_choice import left_of, seeded_uniform
from annotations.schema.annotation import REFLECTIONS
from annotations.schema.project import ItemPurpose, Project
from annotations.store import items, leases, projects
from annotations.store.items import ItemState
from annotations.store.leases import COMPLETED, LeaseOutcome
from annotations.store.store import Store

MOST_HELD = 50  # items that one person holds at a time


@dataclass(frozen=True)
class Assignment:
    """An item claimed by one annotator. It does not reveal whether the item is gold; `practice` is disclosed."""

    item: int
    project: str
    trajectory_id: str
    other_id: str | None  # the second of a pair
    left: str | None  # of a pair: the id of what stands on the left, for this person
    expires_at: datetime  # UTC; a heartbeat moves it
    practice: bool
    begun: bool  # whether this person had it before


@dataclass(frozen=True)
class AnnotatorProgress:
    """How far one annotator is, in items."""

    done: int  # submitted, and counted
    waiting: int
    skipped: int = 0  # not to come back

    @property
    def items(self) -> int:
        return self.done + self.waiting + self.skipped

    def further(self, more: int) -> "AnnotatorProgress":
        """After so many more are done."""
        return replace(self, done=self.done + more, waiting=max(0, self.waiting - more))


def claim(store: Store, project_id: str, annotator: str, *, exclude_item: int | None = None) -> Assignment | None:
    """The next item for this person, held for them from now on; None when nothing waits. The same one again, until it
    is completed or left. `exclude_item` leaves out the one that they are at, so that the next can be fetched ahead.

    Raises NotFoundError, and ProjectError where the project is closed.
    """
    check_name(annotator)
    with store.database.writing() as session:
        now = store.clock()
        project = _open_project(session, project_id)
        leases.expire(session, now)
        item = _next_item(session, project, annotator, exclude_item)
        if item is not None and items.is_identical_pair(session, item):
            items.close_identical_pairs(session, project)
            item = _next_item(session, project, annotator, exclude_item)
        if item is None:
            return None
        begun = leases.get(session, item, annotator) is not None
        if not begun and leases.held_by(session, annotator) >= MOST_HELD:
            raise ProjectError(f"you hold {MOST_HELD} items already; submit or skip what is open in your other tabs")
        lease = leases.hold(session, item, annotator, now)
        next_item.save_cursor(session, project, annotator)
        return _to_assignment(session, item, lease, begun=begun)


def claim_specific(store: Store, project_id: str, trajectory_id: str, annotator: str) -> Assignment | None:
    """One item out of its turn, held for this person; None where it is not there, completed by them, or full.

    Raises NotFoundError, and ProjectError where the project is closed.
    """
    check_name(annotator)
    with store.database.writing() as session:
        now = store.clock()
        project = _open_project(session, project_id)
        leases.expire(session, now)
        item = items.find(session, project_id, trajectory_id)
        if item is None or item.state != ItemState.OPEN or item.use == ItemPurpose.PRACTICE:
            return None
        before = leases.get(session, item, annotator)
        ended = before is not None and before.outcome in (*COMPLETED, LeaseOutcome.OVER_QUOTA)
        if not leases.is_held(before) and leases.held_by(session, annotator) >= MOST_HELD:
            raise ProjectError(f"you hold {MOST_HELD} items already; submit or skip what is open in your other tabs")
        if ended or not leases.has_room(session, project, item, annotator):
            return None
        return _to_assignment(session, item, leases.hold(session, item, annotator, now), begun=before is not None)


def item_location(store: Store, item_id: int) -> tuple[str, str]:
    """The project that an item belongs to, and its trajectory. Raises NotFoundError."""
    with store.database.reading() as session:
        item = items.get(session, item_id)
        return item.project_id, item.trajectory_id


def assigned_trajectory(store: Store, item_id: int, annotator: str, project_id: str) -> str:
    """The trajectory of an item that was assigned to this annotator in this project, whether the lease is held or not.

    Every handler that takes an item id from a browser calls this first, so that nobody reads or answers arbitrary
    items. Raises NotFoundError, ProjectError for an item of another project, LeaseError for one that was never assigned
    to them."""
    project, trajectory_id = item_location(store, item_id)
    if project != project_id:
        raise ProjectError("what this page shows belongs to another project; load the page again")
    with store.database.reading() as session:
        if session.get(LeaseRow, (item_id, annotator)) is None:
            raise LeaseError("this was not given to you; load the page again, and answer what it shows")
    return trajectory_id


def sides_of(store: Store, item_id: int, annotator: str) -> tuple[str, str] | None:
    """Of a pair: the second trajectory, and which of both stands on the left for this person. Raises NotFoundError."""
    with store.database.reading() as session:
        item = items.get(session, item_id)
        left = left_of(session, item, annotator)
        return None if item.other_id is None or left is None else (item.other_id, left)


def _next_item(session: Session, project: Project, annotator: str, exclude_item: int | None) -> ItemRow | None:
    for item in next_item.begun(session, project, annotator, exclude_item=exclude_item):
        if leases.is_held(leases.get(session, item, annotator)) or leases.has_room(session, project, item, annotator):
            return item
    chosen = None
    if _practised(session, project, annotator) < project.practice:
        chosen = next_item.first(session, project, annotator, ItemPurpose.PRACTICE, exclude_item=exclude_item)
    if chosen is None and _should_serve_gold(session, project, annotator):
        chosen = next_item.first(session, project, annotator, ItemPurpose.GOLD, exclude_item=exclude_item)
    if chosen is None:
        chosen = next_item.first(session, project, annotator, ItemPurpose.WORK, exclude_item=exclude_item)
    if chosen is not None:
        return session.get_one(ItemRow, chosen)
    later = next_item.postponed(session, project, annotator, exclude_item=exclude_item)
    return next((item for item in later if leases.has_room(session, project, item, annotator)), None)


def _practised(session: Session, project: Project, annotator: str) -> int:
    """Items of practice that this person has completed or is at."""
    if not project.practice:
        return 0
    practice = ItemRow.project_id == project.id, ItemRow.use == ItemPurpose.PRACTICE.value
    mine = LeaseRow.item_id == ItemRow.id, LeaseRow.annotator == annotator
    had = exists().where(*mine, LeaseRow.outcome.is_(None) | LeaseRow.outcome.in_(COMPLETED))
    return session.scalar(select(func.count()).select_from(ItemRow).where(*practice, had)) or 0


def _should_serve_gold(session: Session, project: Project, annotator: str) -> bool:
    """Drawn by lot, and the same lot for the same question: a claim that is repeated tells nothing."""
    if not project.gold_share:
        return False
    mine = LeaseRow.project_id == project.id, LeaseRow.annotator == annotator
    had = session.scalar(select(func.count()).select_from(LeaseRow).where(*mine))
    return seeded_uniform(session, project.id, annotator, str(had)) < project.gold_share


def _to_assignment(session: Session, item: ItemRow, lease: LeaseRow, *, begun: bool) -> Assignment:
    return Assignment(
        item=item.id,
        project=item.project_id,
        trajectory_id=item.trajectory_id,
        other_id=item.other_id,
        left=left_of(session, item, lease.annotator),
        expires_at=lease.expires_at,
        practice=item.use == ItemPurpose.PRACTICE,
        begun=begun,
    )


def heartbeat(store: Store, item_id: int, annotator: str) -> datetime:
    """A sign of life: until when the item is held now. Raises LeaseError where others have taken it meanwhile."""
    with store.database.writing() as session:
        now = store.clock()
        leases.expire(session, now)
        item = items.get(session, item_id)
        project = projects.get(session, item.project_id)
        lease = leases.get(session, item, annotator)
        if lease is None or lease.outcome in COMPLETED:
            raise LeaseError("this is not yours to hold: you have not opened it, or have completed it; take the next")
        if not leases.is_held(lease) and not leases.has_room(session, project, item, annotator):
            raise LeaseError("your time on this ran out and others have taken it; what you submit is kept, as an extra")
        return leases.hold(session, item, annotator, now).expires_at


def holds(store: Store, item_id: int, annotator: str) -> bool:
    """Whether an item is held for this person at this moment."""
    with store.database.reading() as session:
        lease = session.get(LeaseRow, (item_id, annotator))
        return leases.is_held(lease) and store.clock() < lease.expires_at


def leave(
    store: Store,
    annotator: str,
    item_id: int | None = None,
    *,
    unless_renewed_after: Mapping[int, datetime] | None = None,
) -> int:
    """The page went away: others may have what this person holds: one item, everything, or what `unless_renewed_after`
    names, but for leases that a later page of theirs has renewed since. All at once, so that a page opened meanwhile
    gets the same item again and not the one that was fetched ahead. How many were ended."""
    with store.database.writing() as session:
        held = select(LeaseRow).where(LeaseRow.outcome.is_(None), LeaseRow.annotator == annotator)
        if item_id is not None:
            held = held.where(LeaseRow.item_id == item_id)
        mine = list(session.scalars(held))
        if unless_renewed_after is not None:
            moments = unless_renewed_after
            mine = [lease for lease in mine if lease.item_id in moments and lease.renewed_at <= moments[lease.item_id]]
        for lease in mine:
            leases.end(session, lease, LeaseOutcome.LEFT)
        return len(mine)


def recover(store: Store) -> int:
    """At the start: end the leases whose time went by while nothing ran. How many those were."""
    with store.database.writing() as session:
        return leases.expire(session, store.clock())


def progress(store: Store, annotator: str, project_id: str = REFLECTIONS) -> AnnotatorProgress:
    """Items that this annotator has submitted and skipped, and those still waiting for them; items of gold are counted
    like others, so that no number tells them apart. Nothing waits where only gold is left.
    """
    mine = LeaseRow.project_id == project_id, LeaseRow.annotator == annotator
    had = select(func.count()).select_from(LeaseRow).where(*mine)
    ended = had.where(LeaseRow.outcome.in_((*COMPLETED, LeaseOutcome.OVER_QUOTA)))
    open_ = ItemRow.project_id == project_id, ItemRow.state == ItemState.OPEN.value

    def left(*uses: ItemPurpose) -> int:
        of = *open_, ItemRow.use.in_(uses)
        there = session.scalar(select(func.count()).select_from(ItemRow).where(*of)) or 0
        return there - (session.scalar(ended.join(ItemRow, ItemRow.id == LeaseRow.item_id).where(*of)) or 0)

    with store.database.reading() as session:
        waiting = (
            left(ItemPurpose.WORK, ItemPurpose.GOLD)
            if projects.get(session, project_id).gold_share
            else left(ItemPurpose.WORK)
        )
        waiting = waiting if left(ItemPurpose.WORK) > 0 else 0
        done, skipped = (session.scalar(had.where(LeaseRow.outcome == outcome)) or 0 for outcome in COMPLETED)
        return AnnotatorProgress(done, max(0, waiting), skipped)


def _open_project(session: Session, project_id: str) -> Project:
    project = projects.get(session, project_id)
    if project.closed_at is not None:
        raise ProjectError(f"“{project.name}” is closed; choose another project")
    return project


def check_name(annotator: str) -> None:
    if not annotator.strip() or len(annotator) > 200:
        raise AnswerError("got no name of an annotator, or one of more than 200 characters; sign in, or give a name")
