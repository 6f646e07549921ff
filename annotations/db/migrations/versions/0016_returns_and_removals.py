"""Reviewers send answers back with a note; projects are archived and deleted.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    for name in ("archived_at", "deleted_at"):
        op.add_column("projects", sa.Column(name, sa.DateTime(timezone=True)))
    op.create_table(
        "returns",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("item_id", sa.Integer, nullable=False),
        sa.Column("annotator", sa.Text, nullable=False),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("to_others", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_returns"),
        sa.ForeignKeyConstraint(["item_id"], ["project_items.id"], name="fk_returns_item_id_project_items"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_returns_item_id", "returns", ["item_id"])
