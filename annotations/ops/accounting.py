"""Invariants of leases and submits, checked in the database by load tests: overlap, lost answers, stuck leases.

Knows the rows of items, leases and annotations; reads only. For load tests, which know from outside what was confirmed.
"""

from collections.abc import Mapping

from sqlalchemy import func, select

from annotations.db.tables import AnnotationRow, ItemRow, LeaseRow
from annotations.queue.leases import LEASE
from annotations.schema.annotation import Status
from annotations.schema.project import Use
from annotations.store import projects
from annotations.store.store import Store

AT_ONCE = 500  # keys in one query


def beyond_overlap(store: Store, project_id: str) -> list[int]:
    """Items of which more people hold or have submitted something than were wanted."""
    submitted = AnnotationRow.status == Status.SUBMITTED.value, AnnotationRow.project_id == project_id
    said = select(AnnotationRow.item_id, AnnotationRow.annotator).where(*submitted)
    held = LeaseRow.project_id == project_id, LeaseRow.outcome.is_(None)
    holding = select(LeaseRow.item_id, LeaseRow.annotator).where(*held)
    people = said.union(holding).subquery()
    counted = select(people.c.item_id, func.count().label("people")).group_by(people.c.item_id).subquery()
    with store.database.reading() as session:
        wanted = projects.get(session, project_id).overlap
        work = select(ItemRow.id).where(ItemRow.project_id == project_id, ItemRow.use == Use.WORK.value)
        too_many = work.join(counted, counted.c.item_id == ItemRow.id)
        return list(session.scalars(too_many.where(counted.c.people > wanted).order_by(ItemRow.id)))


def missing(store: Store, confirmed: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Keys of submits that are not stored as they were sent; `confirmed` has their answers by key."""
    keys, lost = list(confirmed), []
    with store.database.reading() as session:
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            row = AnnotationRow
            wanted = select(row.idempotency_key, row.answers).where(row.idempotency_key.in_(some))
            stored = dict(session.execute(wanted.where(row.status == Status.SUBMITTED.value)).all())
            lost += [key for key in some if stored.get(key) != confirmed[key]]
    return lost


def stuck(store: Store) -> int:
    """Leases that are held for longer than a lease may be: past their end, or from a time that is not yet."""
    now = store.clock()
    over = (LeaseRow.expires_at <= now) | (LeaseRow.expires_at > now + LEASE) | (LeaseRow.renewed_at > now)
    with store.database.reading() as session:
        return session.scalar(select(func.count()).where(LeaseRow.outcome.is_(None), over)) or 0


def held(store: Store) -> int:
    """Leases that somebody holds."""
    with store.database.reading() as session:
        return session.scalar(select(func.count()).where(LeaseRow.outcome.is_(None))) or 0


def completed(store: Store, project_id: str) -> int:
    """Items that as many people have answered as were wanted."""
    with store.database.reading() as session:
        wanted = projects.get(session, project_id).overlap
        full = ItemRow.project_id == project_id, ItemRow.answers == wanted
        return session.scalar(select(func.count()).select_from(ItemRow).where(*full)) or 0


def is_whole(store: Store) -> bool:
    """Whether SQLite finds its file undamaged; a PostgreSQL server looks after its own."""
    if store.database.server is not None:
        return True
    with store.database.reading() as session:
        return session.connection().exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
