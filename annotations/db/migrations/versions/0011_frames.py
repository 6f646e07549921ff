"""Pictures of a segment are several: its own, and frames of an image without codes.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

KEY = "pk_trajectory_images"


def upgrade() -> None:
    with op.batch_alter_table("trajectory_images") as table:
        table.add_column(sa.Column("frame", sa.Integer, nullable=False, server_default="0"))
        table.drop_constraint(KEY, type_="primary")
        table.create_primary_key(KEY, ["trajectory_id", "segment", "frame"])
