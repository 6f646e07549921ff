"""Categories of prompts as the parser reads them since it understands politeness and synonyms.

Written by hand. As 0003: prompts have what the parser of the version that upgrades reads in them, as new rows do. Who
changes which category `model.world.language` gives a prompt adds a migration.
"""

from collections import defaultdict

import sqlalchemy as sa
from alembic import op

from model.world.language import category_of, parse

revision = "0020"
down_revision = "0019"

BLOCK = 4096
TRAJECTORIES = sa.table("trajectories", *map(sa.column, ("id", "number", "prompt", "category")))
TRAITS = sa.table("traits", sa.column("trait", sa.LargeBinary), sa.column("block"), sa.column("bits", sa.LargeBinary))


def upgrade() -> None:
    connection, row = op.get_bind(), TRAJECTORIES.c
    stored = connection.execute(sa.select(row.prompt, row.category).distinct()).all()
    changed = {prompt: now for prompt, before in stored if (now := category(prompt)) != before}
    if not changed:
        return
    rows = connection.execute(sa.select(row.id, row.number, row.prompt, row.category))
    moved = [each for each in rows if each.prompt in changed and changed[each.prompt] != each.category]
    change = sa.update(TRAJECTORIES).where(row.id == sa.bindparam("of")).values(category=sa.bindparam("now"))
    connection.execute(change, [{"of": each.id, "now": changed[each.prompt]} for each in moved])
    added: dict[tuple[bytes, int], int] = defaultdict(int)
    removed: dict[tuple[bytes, int], int] = defaultdict(int)
    for each in moved:
        block, bit = divmod(each.number, BLOCK)
        for masks, name in ((added, changed[each.prompt]), (removed, each.category)):
            if name is not None:
                masks[f"category {name}".encode(), block] |= 1 << bit
    for trait, block in sorted(added.keys() | removed.keys()):
        _write(connection, trait, block, added[trait, block], removed[trait, block])


def _write(connection: sa.Connection, trait: bytes, block: int, added: int, removed: int) -> None:
    """The postings of a category in a block, with and without these bits; an empty one has no row."""
    here = (TRAITS.c.trait == trait) & (TRAITS.c.block == block)
    stored = connection.scalar(sa.select(TRAITS.c.bits).where(here))
    bits = (int.from_bytes(stored or b"", "little") | added) & ~removed
    connection.execute(sa.delete(TRAITS).where(here))
    if bits:
        packed = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
        connection.execute(sa.insert(TRAITS).values(trait=trait, block=block, bits=packed))


def category(prompt: str) -> str | None:
    try:
        return category_of(parse(prompt))
    except ValueError:  # no prompt of the world's
        return None
