"""Inverted index of trajectories: which of them have a word, a checkpoint, a verdict …

A document is a trajectory's number, higher than those of all before it. A term is a facet or a word of the prompt. The
postings of a term are bitmaps of 4,096 numbers each, one row of the table per term and block. A query intersects
bitmaps and reads them from the highest number down, so that it takes as long where little matches as where much does,
and publishing an import changes one row per block. SQLite and PostgreSQL use the same table. The README compares it
with their full-text indexes. Opens no transaction.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from annotations.db.search_words import search_words
from annotations.db.tables import AnnotationRow, PostingRow, TrajectoryRow
from annotations.db.visibility import is_visible
from annotations.schema.names import name_key

BLOCK = 4096  # numbers per row: 512 bytes, which a new trajectory rewrites for each of its terms
TERMS_PER_QUERY = 500
ROWS_PER_INSERT = 1000
PREFIX = 2  # prefixes of up to so many letters are terms of their own, because very many words may begin with them
AFTER_ALL = b"\xff"  # sorts after every byte of UTF-8

VISIBLE = b"visible"
ANNOTATED = b"annotated"
AHA = b"aha"
RECORDED = b"recorded"
BRANCH = b"branch"


class TermRange(NamedTuple):
    """All terms from the first to the last in the order of bytes."""

    first: bytes
    last: bytes


def facet(kind: str, value: str) -> bytes:
    """The term of a checkpoint, a category, a word …"""
    return f"{kind} {value}".encode(errors="replace")


def exactly(term: bytes) -> TermRange:
    return TermRange(term, term)


def starting_with(term: bytes) -> TermRange:
    return TermRange(term, term + AFTER_ALL)


def terms_of(columns: Mapping[Any, Any]) -> set[bytes]:
    """The terms of a trajectory's row; VISIBLE and ANNOTATED, which change, are not among them."""
    facets = {kind: columns[kind] for kind in ("checkpoint", "category", "owner")}
    facets["verdict"] = next(reversed(columns["answers"].split()), None)
    flags = {AHA: columns["aha"], RECORDED: columns["recorded"], BRANCH: columns["parent_id"] is not None}
    terms = {facet(kind, value) for kind, value in facets.items() if value is not None}
    terms |= {flag for flag, holds in flags.items() if holds}
    return terms.union(*map(_terms_of_word, search_words(columns["prompt"])))


@lru_cache(4096)
def _terms_of_word(word: str) -> frozenset[bytes]:
    return frozenset({facet("word", word), *(facet("begins", word[:letters]) for letters in range(1, PREFIX + 1))})


def terms_of_search(text: str) -> list[TermRange]:
    """One range for each word of the text: the word itself and longer words that it begins."""
    asked = sorted(search_words(text))
    short = [exactly(facet("begins", word)) for word in asked if len(word) <= PREFIX]
    return short + [starting_with(facet("word", word)) for word in asked if len(word) > PREFIX]


def find(
    session: Session, required: Iterable[TermRange], excluded: Iterable[TermRange], *, before: int | None, limit: int
) -> list[int]:
    """Numbers below `before` of visible trajectories that have a term of each required range and none of an excluded
    one, the highest first.
    """
    matches = _postings(session, exactly(VISIBLE), before)
    for terms in required:
        postings = _postings(session, terms, before) if matches else {}
        matches = {block: both for block, bits in matches.items() if (both := bits & postings.get(block, 0))}
    for terms in excluded:
        postings = _postings(session, terms, before) if matches else {}
        matches = {block: bits & ~postings.get(block, 0) for block, bits in matches.items()}
    numbers: list[int] = []
    for block in sorted(matches, reverse=True):
        bits = matches[block]
        if before is not None and before // BLOCK == block:
            bits &= (1 << before % BLOCK) - 1
        while bits and len(numbers) < limit:
            bit = bits.bit_length() - 1
            numbers.append(block * BLOCK + bit)
            bits ^= 1 << bit
    return numbers


def count(session: Session, *terms: bytes) -> int:
    """The number of visible trajectories with all of these terms."""
    matches = _postings(session, exactly(VISIBLE), None)
    for term in terms:
        postings = _postings(session, exactly(term), None)
        matches = {block: bits & postings.get(block, 0) for block, bits in matches.items()}
    return sum(bits.bit_count() for bits in matches.values())


def facet_values(session: Session, kind: str) -> list[str]:
    """The values of a facet that visible trajectories have, in alphabetical order."""
    visible, prefix, row = _postings(session, exactly(VISIBLE), None), facet(kind, ""), PostingRow
    query = select(row.trait, row.block, row.bits).where(row.trait.between(*starting_with(prefix)))
    terms = {term for term, block, bits in session.execute(query) if _unpacked(bits) & visible.get(block, 0)}
    return sorted((term[len(prefix) :].decode() for term in terms), key=lambda name: (name_key(name), name))


def add(session: Session, terms: Mapping[int, Iterable[bytes]]) -> None:
    """Add terms to trajectories, by number."""
    _change(session, terms, lambda bits, mask: bits | mask)


def remove(session: Session, terms: Mapping[int, Iterable[bytes]]) -> None:
    """Remove terms from trajectories, by number."""
    _change(session, terms, lambda bits, mask: bits & ~mask)


def _change(
    session: Session, terms_by_number: Mapping[int, Iterable[bytes]], change: Callable[[int, int], int]
) -> None:
    for block, masks in _masks(terms_by_number).items():
        terms = sorted(masks)
        for start in range(0, len(terms), TERMS_PER_QUERY):
            _write(session, block, {term: masks[term] for term in terms[start : start + TERMS_PER_QUERY]}, change)


def _masks(terms_by_number: Mapping[int, Iterable[bytes]]) -> dict[int, dict[bytes, int]]:
    """The bits of each term, by block."""
    masks: dict[int, dict[bytes, int]] = defaultdict(lambda: defaultdict(int))
    for number, terms in terms_by_number.items():
        block, bit = divmod(number, BLOCK)
        for term in terms:
            masks[block][term] |= 1 << bit
    return masks


def _write(session: Session, block: int, masks: Mapping[bytes, int], change: Callable[[int, int], int]) -> None:
    row, table = PostingRow, PostingRow.__table__
    stored = select(row.trait, row.bits).where(row.block == block, row.trait.in_(masks))
    before = {term: _unpacked(bits) for term, bits in session.execute(stored)}
    after = {term: change(before.get(term, 0), mask) for term, mask in masks.items()}
    changed = {term: bits for term, bits in after.items() if bits != before.get(term, 0)}
    if new := [_row(term, block, bits) for term, bits in changed.items() if bits and term not in before]:
        session.execute(insert(table), new)
    if updated := [{"term": term, "new": _packed(bits)} for term, bits in changed.items() if bits and term in before]:
        statement = update(table).where(table.c.block == block, table.c.trait == bindparam("term"))
        session.connection().execute(statement.values(bits=bindparam("new")), updated)
    if empty := [term for term, bits in changed.items() if not bits]:
        session.execute(delete(row).where(row.block == block, row.trait.in_(empty)))


def _postings(session: Session, terms: TermRange, before: int | None) -> dict[int, int]:
    """The union of the bitmaps of all terms of a range, by block, up to the block of the number `before`."""
    row = PostingRow
    query = select(row.block, row.bits).where(row.trait.between(*terms))
    if before is not None:
        query = query.where(row.block <= before // BLOCK)
    union: dict[int, int] = {}
    for block, bits in session.execute(query):
        union[block] = union.get(block, 0) | _unpacked(bits)
    return union


def _row(term: bytes, block: int, bits: int) -> dict[str, Any]:
    return {"trait": term, "block": block, "bits": _packed(bits)}


def _packed(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _unpacked(bits: bytes) -> int:
    return int.from_bytes(bits, "little")


def inconsistent_terms(session: Session) -> list[str]:
    """The terms whose postings differ from what the rows of trajectories say."""
    row = PostingRow
    stored = {(term, block): bits for term, block, bits in session.execute(select(row.trait, row.block, row.bits))}
    expected = {(entry["trait"], entry["block"]): entry["bits"] for entry in _expected_rows(session)}
    keys = {key for key in stored.keys() | expected.keys() if stored.get(key) != expected.get(key)}
    return sorted({term.decode(errors="replace") for term, _ in keys})


def rebuild(session: Session) -> None:
    """Write the whole index again from the rows of trajectories."""
    rows = _expected_rows(session)
    session.execute(delete(PostingRow))
    for start in range(0, len(rows), ROWS_PER_INSERT):
        session.execute(insert(PostingRow), rows[start : start + ROWS_PER_INSERT])


def _expected_rows(session: Session) -> list[dict[str, Any]]:
    hidden = set(session.scalars(select(TrajectoryRow.id).where(~is_visible(TrajectoryRow.id))))
    annotated = set(session.scalars(select(AnnotationRow.trajectory_id).distinct()))
    terms_by_number = {}
    for columns in session.execute(select(*COLUMNS)).mappings():
        states = {VISIBLE: columns["id"] not in hidden, ANNOTATED: columns["id"] in annotated}
        terms_by_number[columns["number"]] = terms_of(columns) | {state for state, holds in states.items() if holds}
    masks = _masks(terms_by_number)
    return [_row(term, block, bits) for block, of_block in masks.items() for term, bits in of_block.items()]


COLUMNS = [column for column in TrajectoryRow.__table__.columns if column.name != "body"]  # what `terms_of` reads
