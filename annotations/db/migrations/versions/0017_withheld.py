"""A deletion may be one that can be undone: with what its items and leases were before.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("deletions", sa.Column("restores", sa.Text))
