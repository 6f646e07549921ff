"""Projects hide verdicts, offer reasons and show examples in their guidelines; items are flagged with a note.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

ADDED = (("hides_verdict", sa.Boolean, sa.false()), ("reasons", sa.JSON, "[]"), ("examples", sa.JSON, "[]"))
REFERENCES = (
    ("item_id", "project_items"),
    ("trajectory_id", "trajectories"),
    ("project_id", "projects"),
    ("answers_id", "flags"),
)


def upgrade() -> None:
    for name, kind, default in ADDED:
        op.add_column("projects", sa.Column(name, kind, nullable=False, server_default=default))
    op.create_table(
        "flags",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("trajectory_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("answers_id", sa.Integer),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flags"),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=f"fk_flags_{column}_{table}")
            for column, table in REFERENCES
        ),
        sqlite_autoincrement=True,
    )
    for column in ("trajectory_id", "project_id", "answers_id"):
        op.create_index(f"ix_flags_{column}", "flags", [column])
