"""An index with all that a list is narrowed by, so that a search reads no trajectory's body.

Written by hand and never changed again.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

COLUMNS = ["created_at", "id", "prompt", "aha", "answers", "checkpoint", "owner", "recorded", "parent_id"]


def upgrade() -> None:
    op.create_index("ix_trajectories_listing", "trajectories", COLUMNS)
    op.drop_index("ix_trajectories_created_at_id", "trajectories")
