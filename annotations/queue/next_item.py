"""SQL queries that select the next item: held and left ones, the first with room in the project's order, postponed
ones.

Each annotator has a cursor into the project's order (`QueueCursorRow`): everything before it is done or not available
to them, so that finding the next item stays O(log n). `items.move_cursors_back` moves it where an item is added or
reopened before it. Opens no transaction.
"""

from sqlalchemy import ColumnElement, Select, exists, func, insert, select, tuple_
from sqlalchemy.orm import Session

from annotations.db.tables import ItemRow, LeaseRow, QueueCursorRow
from annotations.schema.project import ItemPurpose, Project
from annotations.store.items import ItemState
from annotations.store.leases import LeaseOutcome

POSITION = (ItemRow.priority, ItemRow.rank, ItemRow.id)
TAKEN_UP = (LeaseOutcome.LEFT, LeaseOutcome.LAPSED)


def first(
    session: Session, project: Project, annotator: str, use: ItemPurpose, *, exclude_item: int | None = None
) -> int | None:
    """The item that is next for this person, None where nothing is left."""
    query = _line(project, use).where(~_had(annotator))
    if use is not ItemPurpose.WORK:
        return _id(session, query.where(ItemRow.id != exclude_item) if exclude_item is not None else query)
    cursor = session.get(QueueCursorRow, (project.id, annotator))
    if cursor is not None:
        query = query.where(tuple_(*POSITION) >= tuple_(cursor.priority, cursor.rank, cursor.item_id))
    top = session.execute(query.limit(1)).first()
    if top is None:
        return None
    if exclude_item is not None:
        query = query.where(ItemRow.id != exclude_item)
    return _id(session, query.where(tuple_(*POSITION) >= tuple_(*top), _has_room(project)))


def save_cursor(session: Session, project: Project, annotator: str) -> None:
    """Move this annotator's cursor to the first item of the order that they have not had."""
    cursor = session.get(QueueCursorRow, (project.id, annotator))
    query = _line(project, ItemPurpose.WORK).where(~_had(annotator)).limit(1)
    if cursor is not None:
        query = query.where(tuple_(*POSITION) >= tuple_(cursor.priority, cursor.rank, cursor.item_id))
    top = session.execute(query).first()
    if top is None:
        return
    values = dict(zip(("priority", "rank", "item_id"), top, strict=True))
    if cursor is None:
        session.execute(insert(QueueCursorRow).values(project_id=project.id, annotator=annotator, **values))
    elif (cursor.priority, cursor.rank, cursor.item_id) != tuple(top):
        cursor.priority, cursor.rank, cursor.item_id = top
        session.flush()


def begun(session: Session, project: Project, annotator: str, *, exclude_item: int | None = None) -> list[ItemRow]:
    """What this person holds, left or lost, the first taken first; of what is open. A page that was closed while it
    fetched ahead leaves the item it showed and holds the other: that one does not come first."""
    query = _mine(project, annotator).add_columns(LeaseRow.taken_at)
    outcomes = LeaseRow.outcome.is_(None), LeaseRow.outcome.in_([outcome.value for outcome in TAKEN_UP])
    rows = [(taken_at, item.id, item) for each in outcomes for item, taken_at in session.execute(query.where(each))]
    return [item for *_, item in sorted(rows, key=lambda row: row[:2]) if item.id != exclude_item]


def postponed(session: Session, project: Project, annotator: str, *, exclude_item: int | None = None) -> list[ItemRow]:
    """What this person skipped for later, the longest ago first."""
    query = _mine(project, annotator).where(LeaseRow.outcome == LeaseOutcome.POSTPONED.value)
    items = session.scalars(query.order_by(LeaseRow.renewed_at, ItemRow.id))
    return [item for item in items if item.id != exclude_item]


def _mine(project: Project, annotator: str) -> Select:
    """Open items that this person has a lease of; with its outcome named, found in the index alone."""
    query = select(ItemRow).join(LeaseRow, LeaseRow.item_id == ItemRow.id)
    query = query.where(LeaseRow.project_id == project.id, LeaseRow.annotator == annotator)
    return query.where(ItemRow.state == ItemState.OPEN.value)


def _line(project: Project, use: ItemPurpose) -> Select:
    open_ = ItemRow.project_id == project.id, ItemRow.use == use.value, ItemRow.state == ItemState.OPEN.value
    return select(*POSITION).where(*open_).order_by(*POSITION)


def _had(annotator: str) -> ColumnElement[bool]:
    return exists().where(LeaseRow.item_id == ItemRow.id, LeaseRow.annotator == annotator)


def _has_room(project: Project) -> ColumnElement[bool]:
    held = select(func.count()).where(LeaseRow.item_id == ItemRow.id, LeaseRow.outcome.is_(None)).scalar_subquery()
    return ItemRow.answers + held < project.overlap if project.overlap is not None else ItemRow.id.is_not(None)


def _id(session: Session, query: Select) -> int | None:
    row = session.execute(query.limit(1)).first()
    return row and row.id
