"""Who has brought a revision back in its annotator's name; and what people of the Hub are known by when names change.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "restorations",
        sa.Column("revision_id", sa.Integer, nullable=False),
        sa.Column("restored_id", sa.Integer, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("revision_id", name="pk_restorations"),
        sa.ForeignKeyConstraint(["revision_id"], ["annotations.id"], name="fk_restorations_revision_id_annotations"),
        sa.ForeignKeyConstraint(["restored_id"], ["annotations.id"], name="fk_restorations_restored_id_annotations"),
    )
    op.add_column("people", sa.Column("hub_id", sa.String(64)))
    op.create_index("ix_people_hub_id", "people", ["hub_id"], unique=True)
