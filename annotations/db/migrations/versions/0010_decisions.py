"""A reviewer's decision is said in its own row, no longer by the lease of whoever wrote it.

Written by hand and never changed again. Decisions were what is submitted by somebody whose lease of the item ended as
“extra”. Each gets its kind by what others had submitted of the same thing by then: accepted where it repeats somebody's
answers, rejected where it answers a compared question as nobody did, else rewritten.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

COMPARED = ("choice", "rating", "best", "preference")

ANNOTATIONS = sa.table(
    "annotations",
    *map(sa.column, ("id", "item_id", "segment", "annotator", "status", "project_id", "decision")),
    sa.column("answers", sa.JSON),
)
LEASES = sa.table("leases", *map(sa.column, ("item_id", "annotator", "outcome")))
PROJECTS = sa.table("projects", sa.column("id"), sa.column("questions", sa.JSON))


def upgrade() -> None:
    op.add_column("annotations", sa.Column("decision", sa.String(16)))
    connection, row = op.get_bind(), ANNOTATIONS.c
    asked = connection.execute(sa.select(PROJECTS.c.id, PROJECTS.c.questions)).all()
    compared = {id: {q["name"] for q in questions if q["form"] in COMPARED} for id, questions in asked}
    theirs = (LEASES.c.item_id == row.item_id) & (LEASES.c.annotator == row.annotator)
    decisions = sa.select(ANNOTATIONS).join(LEASES, theirs)
    decisions = decisions.where(LEASES.c.outcome == "extra", row.status == "submitted").order_by(row.id)
    found = connection.execute(decisions).all()
    reviewers = {(decision.item_id, decision.annotator) for decision in found}
    for decision in found:
        about = sa.select(ANNOTATIONS).where(row.item_id == decision.item_id, row.id < decision.id).order_by(row.id)
        about = about.where(row.segment.is_(None) if decision.segment is None else row.segment == decision.segment)
        last = {one.annotator: one for one in connection.execute(about)}
        given = [
            one.answers
            for one in last.values()
            if one.status == "submitted" and (one.item_id, one.annotator) not in reviewers
        ]
        kind = _kind(decision.answers, given, compared.get(decision.project_id, set()))
        connection.execute(sa.update(ANNOTATIONS).where(row.id == decision.id).values(decision=kind))


def _kind(decided: dict[str, Any], given: list[dict[str, Any]], compared: set[str]) -> str:
    wanted = {name: _comparable(value) for name, value in decided.items()}
    known = [{name: _comparable(value) for name, value in answers.items()} for answers in given]
    if any(wanted.items() <= answers.items() for answers in known):
        return "accepted"
    for name in wanted.keys() & compared:
        values = {answers[name] for answers in known if name in answers}
        if values and wanted[name] not in values:
            return "rejected"
    return "rewritten"


def _comparable(value: Any) -> str:
    """Equal for answers that say the same: of a preference, whoever stood on the left; of a list, in any order."""
    if isinstance(value, dict) and "choice" in value:
        return json.dumps(value.get(value["choice"], value["choice"]))
    return json.dumps(sorted(map(json.dumps, value)) if isinstance(value, list) else value)
