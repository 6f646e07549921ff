"""Repair of the trait bitmaps by which lists are filtered, from the rows of trajectories.

Knows the rows of trajectories and of their traits, which are copies; opens no transaction. Used by the doctor.
"""

from collections import defaultdict

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from annotations.db.tables import AnnotationRow, TraitRow, TrajectoryRow
from annotations.store import facets
from annotations.store.facets import traits_of
from annotations.store.visibility import is_visible

Blocks = dict[tuple[bytes, int], bytes]  # who has a trait, by trait and block
AT_ONCE = 1000  # rows


def differing(session: Session) -> list[str]:
    """The traits of which lists know something else than trajectories say."""
    known, wanted = _known(session), _wanted(session)
    keys = {key for key in known.keys() | wanted.keys() if known.get(key) != wanted.get(key)}
    return sorted({trait.decode(errors="replace") for trait, _ in keys})


def relist(session: Session) -> None:
    """Write all of them anew."""
    rows = [{"trait": trait, "block": at, "bits": bits} for (trait, at), bits in _wanted(session).items()]
    session.execute(delete(TraitRow))
    for start in range(0, len(rows), AT_ONCE):
        session.execute(insert(TraitRow), rows[start : start + AT_ONCE])


def _known(session: Session) -> Blocks:
    rows = session.execute(select(TraitRow.trait, TraitRow.block, TraitRow.bits))
    return {(trait, at): bits for trait, at, bits in rows}


def _wanted(session: Session) -> Blocks:
    hidden = set(session.scalars(select(TrajectoryRow.id).where(~is_visible(TrajectoryRow.id))))
    annotated = set(session.scalars(select(AnnotationRow.trajectory_id).distinct()))
    columns = [column for column in TrajectoryRow.__table__.columns if column.name != "body"]
    found: dict[tuple[bytes, int], int] = defaultdict(int)
    for row in session.execute(select(*columns)).mappings():
        at, place = divmod(row["number"], facets.BLOCK)
        states = {facets.VISIBLE: row["id"] not in hidden, facets.ANNOTATED: row["id"] in annotated}
        for trait in traits_of(row) | {state for state, holds in states.items() if holds}:
            found[trait, at] |= 1 << place
    return {key: facets.packed(bits) for key, bits in found.items()}
