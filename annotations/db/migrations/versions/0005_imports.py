"""What was made elsewhere, as it was: the records of imports, and what of them is no JSON.

Written by hand and never changed again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("trajectory_id", sa.String(64), nullable=False),
        sa.Column("batch", sa.String(32), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("together", sa.Text),
        sa.Column("record", sa.JSON, nullable=False),
        sa.Column("imported_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
        sa.ForeignKeyConstraint(["trajectory_id"], ["trajectories.id"], name="fk_imports_trajectory_id_trajectories"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_imports_key_part", "imports", ["key", "part"], unique=True)
    for column in ("trajectory_id", "batch", "together"):
        op.create_index(f"ix_imports_{column}", "imports", [column])
    op.create_table(
        "import_files",
        sa.Column("import_id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("import_id", "name", name="pk_import_files"),
        sa.ForeignKeyConstraint(["import_id"], ["imports.id"], name="fk_import_files_import_id_imports"),
    )
