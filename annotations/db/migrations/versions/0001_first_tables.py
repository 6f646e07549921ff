"""The first tables: trajectories, their images, annotations, deletions, and the salt of the pseudonyms.

Written by hand and never changed again: a later revision builds on it. Knows nothing of `annotations.db.tables`,
which moves on; a test says that the two agree as long as this is the newest revision.
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_trajectories()
    _create_images()
    _create_annotations()
    _create_deletions()
    properties = op.create_table(
        "properties",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_properties"),
    )
    op.bulk_insert(properties, [{"name": "salt", "value": secrets.token_hex(16)}])


def _create_trajectories() -> None:
    op.create_table(
        "trajectories",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("seed", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("recorded", sa.Boolean, nullable=False),
        sa.Column("stop_reason", sa.String(16)),
        sa.Column("aha", sa.Boolean, nullable=False),
        sa.Column("answers", sa.Text, nullable=False),
        sa.Column("num_reflections", sa.Integer, nullable=False),
        sa.Column("cover", sa.String(64)),
        sa.Column("parent_id", sa.String(64)),
        sa.Column("parent_segment", sa.Integer),
        sa.Column("parent_token", sa.Integer),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trajectories"),
    )
    op.create_index("ix_trajectories_created_at_id", "trajectories", ["created_at", "id"])
    op.create_index("ix_trajectories_checkpoint", "trajectories", ["checkpoint"])
    op.create_index("ix_trajectories_parent_id", "trajectories", ["parent_id"])


def _create_images() -> None:
    op.create_table(
        "images",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("mime", sa.String(32), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_images"),
    )
    op.create_table(
        "trajectory_images",
        sa.Column("trajectory_id", sa.String(64), nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("trajectory_id", "segment", name="pk_trajectory_images"),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectories.id"], name="fk_trajectory_images_trajectory_id_trajectories"
        ),
        sa.ForeignKeyConstraint(["sha256"], ["images.sha256"], name="fk_trajectory_images_sha256_images"),
    )
    op.create_index("ix_trajectory_images_sha256", "trajectory_images", ["sha256"])


def _create_annotations() -> None:
    op.create_table(
        "annotations",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("trajectory_id", sa.String(64), nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("annotator", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("answers", sa.JSON, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("idempotency_key", sa.String(64), nullable=False),
        sa.Column("undoes", sa.Integer),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
        sa.CheckConstraint("status IN ('unfinished', 'submitted', 'discarded')", name=op.f("ck_annotations_status")),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectories.id"], name="fk_annotations_trajectory_id_trajectories"
        ),
        sa.ForeignKeyConstraint(["undoes"], ["annotations.id"], name="fk_annotations_undoes_annotations"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_annotations_idempotency_key", "annotations", ["idempotency_key"], unique=True)
    segment = ["trajectory_id", "segment", "annotator", "id"]
    op.create_index("ix_annotations_trajectory_id_segment_annotator_id", "annotations", segment)
    op.create_index("ix_annotations_annotator_trajectory_id", "annotations", ["annotator", "trajectory_id"])


def _create_deletions() -> None:
    op.create_table(
        "deletions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("trajectory_id", sa.String(64), nullable=False),
        sa.Column("deleted_by", sa.Text, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deletions"),
        sa.ForeignKeyConstraint(["trajectory_id"], ["trajectories.id"], name="fk_deletions_trajectory_id_trajectories"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deletions_trajectory_id", "deletions", ["trajectory_id"])
