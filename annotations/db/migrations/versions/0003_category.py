"""The category of a prompt, to narrow a list by, in the index with all else that a list is narrowed by.

Written by hand. Prompts that are none of the embedded world's keep none; the others have what the parser of the version
that upgrades reads in them, as new rows do.
"""

import sqlalchemy as sa
from alembic import op

from model.world.language import category_of, parse

revision = "0003"
down_revision = "0002"

COLUMNS = ["created_at", "id", "prompt", "aha", "answers", "checkpoint", "owner", "recorded", "parent_id", "category"]


def upgrade() -> None:
    op.add_column("trajectories", sa.Column("category", sa.String(24)))
    connection = op.get_bind()
    known = {prompt: category(prompt) for (prompt,) in connection.execute(sa.text("SELECT prompt FROM trajectories"))}
    rows = [{"prompt": prompt, "category": said} for prompt, said in known.items() if said]
    op.create_index("ix_trajectories_prompt", "trajectories", ["prompt"])  # or each prompt reads all rows
    if rows:
        connection.execute(sa.text("UPDATE trajectories SET category = :category WHERE prompt = :prompt"), rows)
    op.drop_index("ix_trajectories_prompt", "trajectories")
    op.drop_index("ix_trajectories_listing", "trajectories")
    op.create_index("ix_trajectories_listing", "trajectories", COLUMNS)


def category(prompt: str) -> str | None:
    try:
        return category_of(parse(prompt))
    except ValueError:  # no prompt of the world's
        return None
