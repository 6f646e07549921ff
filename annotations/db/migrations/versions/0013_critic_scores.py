"""What critics say of pictures, beside what people do.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "critic_scores",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("trajectory_id", sa.String(64), nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("critic", sa.Text, nullable=False),
        sa.Column("p_yes", sa.Float, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_critic_scores"),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectories.id"], name="fk_critic_scores_trajectory_id_trajectories"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_critic_scores_trajectory_id", "critic_scores", ["trajectory_id"])
