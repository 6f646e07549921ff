"""Invitations know for whom they are: a name or an address, in the words of who invites.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("invitations", sa.Column("invitee", sa.Text))
