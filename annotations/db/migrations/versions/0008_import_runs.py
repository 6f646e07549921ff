"""Imports in short steps: which are under way, and which trajectories nobody sees before theirs is published.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "import_runs",
        sa.Column("batch", sa.String(32), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("batch", name="pk_import_runs"),
        sa.CheckConstraint(
            "state IN ('checking', 'storing', 'cancelled', 'published')", name=op.f("ck_import_runs_state")
        ),
    )
    op.create_table(
        "staged_trajectories",
        sa.Column("trajectory_id", sa.String(64), nullable=False),
        sa.Column("batch", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("trajectory_id", name="pk_staged_trajectories"),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectories.id"], name="fk_staged_trajectories_trajectory_id_trajectories"
        ),
        sa.ForeignKeyConstraint(["batch"], ["import_runs.batch"], name="fk_staged_trajectories_batch_import_runs"),
    )
    op.create_index("ix_staged_trajectories_batch", "staged_trajectories", ["batch"])
