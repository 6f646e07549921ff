"""Invariants of leases and submits, checked in the database by load tests: overlap, lost answers, stuck leases.

Knows the rows of items, leases and annotations; reads only. For load tests, which know from outside what was confirmed.
"""

from collections.abc import Mapping

from sqlalchemy import func, select

from annotations.db.tables import AnnotationRow, ItemRow, LeaseRow
from annotations.schema.annotation import Status
from annotations.schema.project import ItemPurpose
from annotations.store import projects
from annotations.store.leases import LEASE
from annotations.store.store import Store

PAGE_SIZE = 500  # keys in one query


def beyond_overlap(store: Store, project_id: str) -> list[int]:
    """Ids of items that more people hold or have answered than the project's overlap."""
    submitted = AnnotationRow.status == Status.SUBMITTED.value, AnnotationRow.project_id == project_id
    answering = select(AnnotationRow.item_id, AnnotationRow.annotator).where(*submitted)
    is_held = LeaseRow.project_id == project_id, LeaseRow.outcome.is_(None)
    holding = select(LeaseRow.item_id, LeaseRow.annotator).where(*is_held)
    people = answering.union(holding).subquery()
    counted = select(people.c.item_id, func.count().label("people")).group_by(people.c.item_id).subquery()
    with store.database.reading() as session:
        overlap = projects.get(session, project_id).overlap
        work = select(ItemRow.id).where(ItemRow.project_id == project_id, ItemRow.use == ItemPurpose.WORK.value)
        too_many = work.join(counted, counted.c.item_id == ItemRow.id)
        return list(session.scalars(too_many.where(counted.c.people > overlap).order_by(ItemRow.id)))


def missing_submits(store: Store, confirmed: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Keys of submits that are not stored as they were sent; `confirmed` maps keys to answers."""
    keys, lost = list(confirmed), []
    with store.database.reading() as session:
        for start in range(0, len(keys), PAGE_SIZE):
            page = keys[start : start + PAGE_SIZE]
            row = AnnotationRow
            query = select(row.idempotency_key, row.answers).where(row.idempotency_key.in_(page))
            stored = dict(session.execute(query.where(row.status == Status.SUBMITTED.value)).all())
            lost += [key for key in page if stored.get(key) != confirmed[key]]
    return lost


def stuck_leases(store: Store) -> int:
    """How many leases are held past their end, or begin in the future."""
    now = store.clock()
    over = (LeaseRow.expires_at <= now) | (LeaseRow.expires_at > now + LEASE) | (LeaseRow.renewed_at > now)
    with store.database.reading() as session:
        return session.scalar(select(func.count()).where(LeaseRow.outcome.is_(None), over)) or 0


def held_leases(store: Store) -> int:
    """How many leases are held."""
    with store.database.reading() as session:
        return session.scalar(select(func.count()).where(LeaseRow.outcome.is_(None))) or 0


def completed_items(store: Store, project_id: str) -> int:
    """How many items have as many answers as the project's overlap."""
    with store.database.reading() as session:
        overlap = projects.get(session, project_id).overlap
        is_full = ItemRow.project_id == project_id, ItemRow.answers == overlap
        return session.scalar(select(func.count()).select_from(ItemRow).where(*is_full)) or 0


def is_intact(store: Store) -> bool:
    """Whether SQLite finds its file undamaged; a PostgreSQL server looks after its own."""
    if store.database.server is not None:
        return True
    with store.database.reading() as session:
        return session.connection().exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
