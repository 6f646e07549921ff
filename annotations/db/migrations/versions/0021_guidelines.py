"""Guidelines of reflections in the words in which the form asks: whether the picture fits.

Written by hand and never changed again. Only projects that ask the first question in its shipped words and have the
shipped text unchanged: what somebody wrote stays.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

PROJECTS = sa.table("projects", sa.column("id"), sa.column("guidelines"), sa.column("questions", sa.JSON))
BEFORE = (
    "Look at the picture and the prompt. Say whether the model’s **yes or no** is right, how good its reason is, "
    "and write a better reason where you have one."
)
NOW = (
    "Look at the picture and the prompt, and say whether **the picture fits**. Where the model said the same, say how "
    "good its reason is, and write a better one where you have one. Where it said the opposite, write what it should "
    "have said."
)
ASKED = ("verdict_right", "Is the verdict right?")  # which the form words as “Does the picture fit?”


def upgrade() -> None:
    connection, row = op.get_bind(), PROJECTS.c
    shipped = connection.execute(sa.select(row.id, row.questions).where(row.guidelines == BEFORE)).all()
    for id, questions in shipped:
        if ASKED in {(question["name"], question["title"]) for question in questions}:
            connection.execute(sa.update(PROJECTS).where(row.id == id).values(guidelines=NOW))
