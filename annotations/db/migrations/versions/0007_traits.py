"""Each trajectory's number in the list, and who has which trait in bitmaps, in place of the index for lists.

Written by hand. Those there are get numbers by the order that lists had until now, and their prompts are split as the
version that upgrades splits words; who changes `search_words` adds a migration.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from annotations.db.search_words import search_words

revision = "0007"
down_revision = "0006"

BLOCK = 4096
AT_ONCE = 1000  # rows


def upgrade() -> None:
    op.add_column("trajectories", sa.Column("number", sa.Integer, nullable=False, server_default="0"))
    traits = op.create_table(
        "traits",
        sa.Column("trait", sa.LargeBinary, nullable=False),
        sa.Column("block", sa.Integer, nullable=False),
        sa.Column("bits", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("trait", "block", name="pk_traits"),
    )
    connection = op.get_bind()
    _number(connection)
    op.create_index("ix_trajectories_number", "trajectories", ["number"], unique=True)
    rows = [
        {"trait": trait, "block": block, "bits": bits.to_bytes((bits.bit_length() + 7) // 8, "little")}
        for (trait, block), bits in sorted(_found(connection).items())
    ]
    for start in range(0, len(rows), AT_ONCE):
        connection.execute(traits.insert(), rows[start : start + AT_ONCE])
    op.drop_index("ix_trajectories_listing", "trajectories")
    op.drop_index("ix_trajectories_checkpoint", "trajectories")


def _number(connection: sa.Connection) -> None:
    ids = [id for (id,) in connection.execute(sa.text("SELECT id FROM trajectories ORDER BY created_at, id"))]
    for start in range(0, len(ids), AT_ONCE):
        numbered = enumerate(ids[start : start + AT_ONCE], start + 1)
        rows = [{"number": number, "id": id} for number, id in numbered]
        connection.execute(sa.text("UPDATE trajectories SET number = :number WHERE id = :id"), rows)


def _found(connection: sa.Connection) -> dict[tuple[bytes, int], int]:
    def ids(table: str) -> set[str]:
        return {id for (id,) in connection.execute(sa.text(f"SELECT DISTINCT trajectory_id FROM {table}"))}

    hidden, annotated = ids("deletions"), ids("annotations")
    columns = "id, number, prompt, checkpoint, category, owner, answers, aha, recorded, parent_id"
    found: dict[tuple[bytes, int], int] = defaultdict(int)
    for row in connection.execute(sa.text(f"SELECT {columns} FROM trajectories")).mappings():
        block, place = divmod(row["number"], BLOCK)
        states = {"visible": row["id"] not in hidden, "annotated": row["id"] in annotated}
        for trait in (*_traits(row), *(state for state, holds in states.items() if holds)):
            found[trait.encode(), block] |= 1 << place
    return found


def _traits(row: Mapping[str, Any]) -> Iterator[str]:
    kinds = {kind: row[kind] for kind in ("checkpoint", "category", "owner")}
    kinds["verdict"] = next(reversed(row["answers"].split()), None)
    yield from (f"{kind} {value}" for kind, value in kinds.items() if value is not None)
    flags = {"aha": row["aha"], "recorded": row["recorded"], "branch": row["parent_id"] is not None}
    yield from (flag for flag, holds in flags.items() if holds)
    for word in search_words(row["prompt"]):
        yield from (f"word {word}", f"begins {word[:1]}", f"begins {word[:2]}")
