"""Accounts of guests, who look and write nothing.

Written by hand and never changed again.
"""

from alembic import op

revision = "0018"
down_revision = "0017"

ROLES = "role IN ('visitor', 'guest', 'annotator', 'reviewer', 'admin')"
NAME = "ck_people_role"


def upgrade() -> None:
    with op.batch_alter_table("people") as table:
        table.drop_constraint(op.f(NAME), type_="check")
        table.create_check_constraint(op.f(NAME), ROLES)
