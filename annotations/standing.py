"""How often one annotator agrees with what is known to be right, told so that it gives no item away.

Knows the rows of items and leases. The share moves in steps of ten answers, so that nobody who watches it learns which
item was one of gold.
"""

from dataclasses import dataclass

from sqlalchemy import select

from annotations import gold, projects, revisions
from annotations.leases import Outcome
from annotations.project import Use
from annotations.store import Store
from annotations.tables import ItemRow, LeaseRow

STEP = 10  # answers
MOST = 50  # items that are looked back at


@dataclass(frozen=True)
class Standing:
    """Answers about gold items, and how many of them are right."""

    right: int
    compared: int


def standing(store: Store, annotator: str, project_id: str) -> Standing | None:
    """Of this annotator in this project, so far; None before there are ten answers. Raises NotFoundError."""
    mine = LeaseRow.project_id == project_id, LeaseRow.annotator == annotator
    wanted = select(ItemRow).join(LeaseRow, LeaseRow.item_id == ItemRow.id).where(*mine)
    wanted = wanted.where(LeaseRow.outcome == Outcome.SUBMITTED.value, ItemRow.use == Use.GOLD.value)
    with store.database.reading() as session:
        questions = projects.get(session, project_id).questions
        compared: list[gold.Feedback] = []
        for item in session.scalars(wanted.order_by(LeaseRow.taken_at.desc(), ItemRow.id.desc()).limit(MOST)):
            said = revisions.current(session, item=item.id, annotator=annotator)
            compared += gold.compare(questions, item.gold or (), said)
    known = compared[len(compared) % STEP :]  # the newest few are not told yet
    return Standing(sum(one.right for one in known), len(known)) if known else None
