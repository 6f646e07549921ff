"""What is filled in on the Annotate page, as its script sends it, and what the page shows. For tests."""

import json
from typing import Any

from annotations.schema.questions import (
    REASON_CORRECTION,
    REASON_RATING,
    THOUGHT_CORRECTION,
    THOUGHT_RATING,
    VERDICT_RIGHT,
)
from studio.annotate.item_token import ItemToken
from studio.annotate.view import AnnotateView

THOUGHT = 0  # its segment in `aha`


def filled(token: str | None, verdict=None, rating=None, reason=None, plan_rating=None, plan=None) -> str:
    """Answers about the reflection that a token names, and about the thought before it."""
    showing = ItemToken.read(token)
    given = {
        showing.segment if showing else 2: {
            VERDICT_RIGHT: verdict,
            REASON_RATING: rating,
            REASON_CORRECTION: reason,
        }
    }
    if plan_rating is not None or plan is not None:
        given[THOUGHT] = {THOUGHT_RATING: plan_rating, THOUGHT_CORRECTION: plan}
    return json.dumps(given)


def asked(view: AnnotateView) -> dict[str, dict[str, Any]]:
    """The questions on the page, by name."""
    return {question["name"]: question for thing in view.sheet["things"] for question in thing["questions"]}


def answers(view: AnnotateView) -> dict[str, Any]:
    """What the page shows as the answer to each question: a text that nobody has rewritten is the model's own."""
    given = {name: value for said in view.sheet["answers"].values() for name, value in said.items()}
    return {name: given.get(name, question.get("original")) for name, question in asked(view).items()}
