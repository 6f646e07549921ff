"""How often one annotator agrees with what is known to be right, told so that it gives no item away.

Knows the rows of items and annotations. What counts is what somebody submitted first of an item of gold: to undo it, to
send another answer or to skip it then changes nothing. The share moves in steps of ten answers, so that nobody who
watches it learns which item was one of gold.
"""

from dataclasses import dataclass

from annotations import gold, projects, revisions
from annotations.annotation import Annotation
from annotations.store import Store
from annotations.tables import ItemRow

STEP = 10  # answers
MOST = 50  # answers that are looked back at


@dataclass(frozen=True)
class Standing:
    """Answers about gold items, and how many of them are right."""

    right: int
    compared: int


def standing(store: Store, annotator: str, project_id: str) -> Standing | None:
    """Of this annotator in this project, so far; None before there are ten answers. Raises NotFoundError."""
    with store.database.reading() as session:
        questions = projects.get(session, project_id).questions
        first: dict[int, dict[int | None, Annotation]] = {}  # by item and segment, in the order of the first answer
        for said in revisions.on_gold(session, annotator, project_id):
            first.setdefault(said.item, {}).setdefault(said.segment, said)
        compared: list[gold.Feedback] = []
        for item, answers in first.items():
            known = session.get_one(ItemRow, item).gold or ()
            told = [one for one in known if one.get("segment") in answers]
            compared += gold.compare(questions, told, list(answers.values()))
    known = compared[: len(compared) // STEP * STEP][-MOST:]  # the newest few are not told yet
    return Standing(sum(one.right for one in known), len(known)) if known else None
