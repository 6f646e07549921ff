"""Makes an item gold, practice or work; right answers are a reviewer's decision, else unanimous answers.

Knows the store and the queue's rows; each call is one transaction. An answer given to the
item as work stays, whatever the item is used for later.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from annotations.db.tables import ItemRow
from annotations.errors import ProjectError
from annotations.schema.annotation import Annotation, Answers, Status
from annotations.schema.project import ItemPurpose
from annotations.schema.questions import Question
from annotations.store import completion, items, projects, revisions
from annotations.store.items import ItemState
from annotations.store.store import Store

LONGEST_WHY = 500  # characters


def set_use(store: Store, item_id: int, use: ItemPurpose, *, because: str = "") -> int:
    """Use an item as gold, for practice, or for work again; returns how many right answers it has. `because` is shown
    to those who practise.

    Raises NotFoundError, and ProjectError where nothing is known of it, or where it was for practice so far.
    """
    if len(because) > LONGEST_WHY:
        raise ProjectError(f"got {len(because)} characters of why it is so, wanted at most {LONGEST_WHY}; shorten it")
    with store.database.writing() as session:
        item = items.get(session, item_id)
        project = projects.get(session, item.project_id)
        if item.use == ItemPurpose.PRACTICE and use is not ItemPurpose.PRACTICE:
            raise ProjectError("people have learnt by this one, and what they said does not count; it stays so")
        known = [] if use is ItemPurpose.WORK else _known(session, project.questions, item)
        if use is not ItemPurpose.WORK and not known:
            raise ProjectError("nobody has decided this, and people differ on all of it; decide it first, then use it")
        for entry in known:
            if because.strip():
                entry["because"] = because.strip()
            if use is ItemPurpose.PRACTICE:
                entry["after"] = revisions.last_before_practice(item) or revisions.newest(session)
        item.use, item.gold = use.value, known or None
        item.state = completion.state_of(session, project, item).value
        session.flush()
        if item.state == ItemState.OPEN:
            items.move_cursors_back(session, project.id, item.priority, item.rank, item.id)
        return sum(len(entry["answers"]) for entry in known)


def _known(session: Session, questions: Sequence[Question], item: ItemRow) -> list[dict[str, Any]]:
    """What is right: what was decided, or else what all say."""
    submitted = revisions.current(session, item=item.id, status=Status.SUBMITTED)
    worked = [a for a in submitted if item.use != ItemPurpose.PRACTICE or a.id <= revisions.last_before_practice(item)]
    return right_answers(questions, [a for a in submitted if a.decision is not None] or worked)


def right_answers(questions: Sequence[Question], submitted: Sequence[Annotation]) -> list[dict[str, Any]]:
    """[{segment, answers}, …]: whatever all who answered a question say alike. Texts are nobody's right answers."""
    answers_by_question: dict[tuple[int | None, str], list[Any]] = defaultdict(list)
    for annotation in submitted:
        for name, value in annotation.answers.items():
            answers_by_question[annotation.segment, name].append(value)
    compared = {question.name: question for question in questions if question.form.has_gold}
    right: dict[int | None, dict[str, Any]] = defaultdict(dict)
    for (segment, name), values in answers_by_question.items():
        if name in compared and len(set(map(compared[name].form.comparable, values))) == 1:
            right[segment][name] = values[0]
    return [{"segment": segment, "answers": Answers(answers).to_dict()} for segment, answers in right.items()]
