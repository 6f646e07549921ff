"""Facets and search of trajectories by bitmaps.

A trajectory has a number, higher than those of all before it, and traits: its checkpoint, the words of its prompt,
whether it is an aha moment. A row of the table says which trajectories of 4,096 have a trait. Whatever is asked for
together is a conjunction of rows, as quick where nothing is found as where much is, which no index of a column gives;
and one table serves SQLite and PostgreSQL, whose full-text indices differ and keep no order. Knows these rows only.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.tables import TraitRow
from annotations.schema.names import name_key
from annotations.store.search_words import words

BLOCK = 4096  # numbers of a row: half a kilobyte, which is what a new trajectory writes for each of its traits
AT_ONCE = 500  # traits looked up in one statement
SHORT = 2  # letters
LAST = b"\xff"  # comes after every letter of UTF-8

VISIBLE = b"visible"  # not deleted
ANNOTATED = b"annotated"
AHA = b"aha"
RECORDED = b"recorded"
BRANCH = b"branch"


class Traits(NamedTuple):
    """Those from the first to the last, as bytes are ordered: one, or all that begin alike."""

    first: bytes
    last: bytes


def named(kind: str, value: str) -> bytes:
    """The trait of having a checkpoint, a category, a word …"""
    return f"{kind} {value}".encode(errors="replace")


def exactly(trait: bytes) -> Traits:
    return Traits(trait, trait)


def beginning(trait: bytes) -> Traits:
    return Traits(trait, trait + LAST)


def traits_of(columns: Mapping[str, Any]) -> set[bytes]:
    """Those that a trajectory has for good, by its row."""
    kinds = {kind: columns[kind] for kind in ("checkpoint", "category", "owner")}
    kinds["verdict"] = next(reversed(columns["answers"].split()), None)
    flags = {AHA: columns["aha"], RECORDED: columns["recorded"], BRANCH: columns["parent_id"] is not None}
    found = {named(kind, value) for kind, value in kinds.items() if value is not None}
    found |= {flag for flag, holds in flags.items() if holds}
    return found.union(*map(_of_word, words(columns["prompt"])))


@lru_cache(4096)
def _of_word(word: str) -> frozenset[bytes]:
    """It, and its first letters: there may be very many words that begin with the same one or two."""
    return frozenset({named("word", word), *(named("begins", word[:letters]) for letters in range(1, SHORT + 1))})


def of_search(text: str) -> list[Traits]:
    """What a prompt has that is found: each word of the text is one of its, or begins one."""
    asked = sorted(words(text))
    short = [exactly(named("begins", word)) for word in asked if len(word) <= SHORT]
    return short + [beginning(named("word", word)) for word in asked if len(word) > SHORT]


def having(
    session: Session, wanted: Iterable[Traits], without: Iterable[Traits], *, before: int | None, limit: int
) -> list[int]:
    """The numbers of those that have all that is wanted and nothing of the rest, the highest first."""
    found = _blocks(session, exactly(VISIBLE), before)
    for traits in wanted:
        theirs = _blocks(session, traits, before) if found else {}
        found = {at: both for at in found.keys() & theirs.keys() if (both := found[at] & theirs[at])}
    for traits in without:
        theirs = _blocks(session, traits, before) if found else {}
        found = {at: bits & ~theirs.get(at, 0) for at, bits in found.items()}
    numbers: list[int] = []
    for at in sorted(found, reverse=True):
        bits = found[at]
        if before is not None and before // BLOCK == at:
            bits &= (1 << before % BLOCK) - 1
        while bits and len(numbers) < limit:
            place = bits.bit_length() - 1
            numbers.append(at * BLOCK + place)
            bits ^= 1 << place
    return numbers


def count(session: Session, *wanted: bytes) -> int:
    """How many visible ones have all of these."""
    found = _blocks(session, exactly(VISIBLE), None)
    for trait in wanted:
        theirs = _blocks(session, exactly(trait), None)
        found = {at: bits & theirs.get(at, 0) for at, bits in found.items()}
    return sum(bits.bit_count() for bits in found.values())


def values(session: Session, kind: str) -> list[str]:
    """The names that visible ones have of a kind, in alphabetical order."""
    shown, begin = _blocks(session, exactly(VISIBLE), None), named(kind, "")
    row, traits = TraitRow, beginning(begin)
    every = select(row.trait, row.block, row.bits).where(row.trait.between(*traits))
    found = {trait for trait, at, bits in session.execute(every) if _number(bits) & shown.get(at, 0)}
    return sorted((trait[len(begin) :].decode() for trait in found), key=lambda name: (name_key(name), name))


def add(session: Session, given: Mapping[int, Iterable[bytes]]) -> None:
    """Trajectories have these traits from now on, by number."""
    _change(session, given, lambda bits, mask: bits | mask)


def remove(session: Session, given: Mapping[int, Iterable[bytes]]) -> None:
    _change(session, given, lambda bits, mask: bits & ~mask)


def _change(session: Session, given: Mapping[int, Iterable[bytes]], change: Callable[[int, int], int]) -> None:
    masks: dict[int, dict[bytes, int]] = defaultdict(lambda: defaultdict(int))
    for number, traits in given.items():
        at, place = divmod(number, BLOCK)
        for trait in traits:
            masks[at][trait] |= 1 << place
    for at, theirs in masks.items():
        names = sorted(theirs)
        for start in range(0, len(names), AT_ONCE):
            _write(session, at, {name: theirs[name] for name in names[start : start + AT_ONCE]}, change)


def _write(session: Session, at: int, masks: Mapping[bytes, int], change: Callable[[int, int], int]) -> None:
    row = TraitRow
    known = select(row.trait, row.bits).where(row.block == at, row.trait.in_(masks))
    before = {trait: _number(bits) for trait, bits in session.execute(known)}
    after = {trait: change(before.get(trait, 0), mask) for trait, mask in masks.items()}
    changed = {trait: bits for trait, bits in after.items() if bits != before.get(trait, 0)}
    gone = [trait for trait, bits in changed.items() if not bits]
    rows = [{"block": at, "trait": trait, "bits": packed(bits)} for trait, bits in changed.items() if bits]
    table = row.__table__
    if new := [one for one in rows if one["trait"] not in before]:
        session.execute(insert(table), new)
    if old := [{"of": one["trait"], "now": one["bits"]} for one in rows if one["trait"] in before]:
        mine = table.c.block == at, table.c.trait == bindparam("of")
        session.connection().execute(update(table).where(*mine).values(bits=bindparam("now")), old)
    if gone:
        session.execute(delete(row).where(row.block == at, row.trait.in_(gone)))


def _blocks(session: Session, traits: Traits, before: int | None) -> dict[int, int]:
    """Who has one of the traits, by block, up to that of the number `before`."""
    row = TraitRow
    wanted = select(row.block, row.bits).where(row.trait.between(*traits))
    if before is not None:
        wanted = wanted.where(row.block <= before // BLOCK)
    found: dict[int, int] = {}
    for at, bits in session.execute(wanted):
        found[at] = found.get(at, 0) | _number(bits)
    return found


def _number(bits: bytes) -> int:
    return int.from_bytes(bits, "little")


def packed(bits: int) -> bytes:
    """As a row keeps them."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
