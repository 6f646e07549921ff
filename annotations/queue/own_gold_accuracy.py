"""An annotator's accuracy on gold, reported in steps that reveal no item.

Knows the rows of items and annotations. What counts is what somebody submitted first of an item of gold: to undo it, to
send another answer or to skip it then changes nothing. The share moves in steps of ten answers, so that nobody who
watches it learns which item was one of gold.
"""

from dataclasses import dataclass

from annotations.db.tables import ItemRow
from annotations.metrics import gold_answers
from annotations.schema.annotation import Annotation
from annotations.store import projects, revisions
from annotations.store.store import Store

STEP = 10  # answers
MOST = 50  # answers that are looked back at


@dataclass(frozen=True)
class GoldRecord:
    """Answers about gold items, and how many of them are right."""

    right: int
    compared: int


def gold_accuracy_of(store: Store, annotator: str, project_id: str) -> GoldRecord | None:
    """Of this annotator in this project, so far; None before there are ten answers. Raises NotFoundError."""
    with store.database.reading() as session:
        questions = projects.get(session, project_id).questions
        first: dict[int, dict[int | None, Annotation]] = {}  # by item and segment, in the order of the first answer
        for annotation in revisions.on_gold(session, annotator, project_id):
            first.setdefault(annotation.item, {}).setdefault(annotation.segment, annotation)
        compared: list[gold_answers.Feedback] = []
        for item, answers in first.items():
            known = session.get_one(ItemRow, item).gold or ()
            answers_known = [answer for answer in known if answer.get("segment") in answers]
            compared += gold_answers.compare(questions, answers_known, list(answers.values()))
    known = compared[: len(compared) // STEP * STEP][-MOST:]  # the newest few are not told yet
    return GoldRecord(sum(answer.right for answer in known), len(known)) if known else None
