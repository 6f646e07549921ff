"""Benchmark of the search index against the full-text index of the same database (SQLite FTS5, PostgreSQL GIN).

Both are filled with the terms of synthetic trajectories and asked for the newest matches of the same filters in turn.
The full-text index leaves hidden trajectories out, so that publishing adds rows to it. Terms are words of hexadecimal
digits there, which no tokenizer changes.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

from sqlalchemy import text
from sqlalchemy.orm import Session

from annotations.ops.machine_speed import spread
from annotations.ops.synthetic import FILTERS, made_up
from annotations.store import search_index
from annotations.store.listing import required_and_excluded
from annotations.store.search_index import AHA, VISIBLE, TermRange, exactly, terms_of
from annotations.store.store import Store
from annotations.store.trajectory_columns import columns_of

Terms = Mapping[int, Iterable[bytes]]  # by number
PAGE = 25  # numbers
ROWS_PER_WRITE = 2500
PUBLISHED = 20_000  # rows of an import
STATEMENTS = {
    "sqlite": {
        "create": ["CREATE VIRTUAL TABLE full_text USING fts5(terms, content='', detail=none, columnsize=0)"],
        "add": "INSERT INTO full_text(rowid, terms) VALUES (:number, :terms)",
        "find": "SELECT rowid FROM full_text WHERE full_text MATCH :query ORDER BY rowid DESC LIMIT :limit",
        "count": "SELECT count(*) FROM full_text WHERE full_text MATCH :query",
        "settle": "INSERT INTO full_text(full_text) VALUES ('optimize')",
    },
    "postgresql": {
        "create": [
            "CREATE TABLE full_text (number integer PRIMARY KEY, terms tsvector NOT NULL)",
            "CREATE INDEX ix_full_text ON full_text USING gin (terms)",
        ],
        "add": "INSERT INTO full_text VALUES (:number, CAST(:terms AS tsvector))",
        "find": "SELECT number FROM full_text WHERE terms @@ CAST(:query AS tsquery) ORDER BY number DESC LIMIT :limit",
        "count": "SELECT count(*) FROM full_text WHERE terms @@ CAST(:query AS tsquery)",
        "settle": "ANALYZE full_text",
    },
}
SYNTAX = {"sqlite": ('"{}"', '"{}"*', " AND ", " NOT "), "postgresql": ("{}", "{}:*", " & ", " & !")}  # of queries


class FullTextIndex:
    """The full-text index of a database, used like `search_index`."""

    def __init__(self, session: Session) -> None:
        self.dialect = session.get_bind().dialect.name
        self.statements = STATEMENTS[self.dialect]
        for statement in self.statements["create"]:
            session.execute(text(statement))

    def add(self, session: Session, terms: Terms) -> None:
        rows = [{"number": number, "terms": " ".join(term.hex() for term in of)} for number, of in terms.items()]
        session.execute(text(self.statements["add"]), rows)

    def settle(self, session: Session) -> None:
        """What a database does by itself after a while: merge segments, gather statistics."""
        session.execute(text(self.statements["settle"]))

    def find(self, session: Session, required: list[TermRange], excluded: list[TermRange], limit: int) -> list[int]:
        values = {"query": self._query(required, excluded), "limit": limit}
        return list(session.scalars(text(self.statements["find"]), values))

    def count(self, session: Session, term: bytes) -> int:
        return session.scalars(text(self.statements["count"]), {"query": self._query([exactly(term)], [])}).one()

    def _query(self, required: list[TermRange], excluded: list[TermRange]) -> str:
        term, prefix, both, without = SYNTAX[self.dialect]

        def written(terms: TermRange) -> str:
            return (term if terms.first == terms.last else prefix).format(terms.first.hex())

        return without.join([both.join(map(written, required or [exactly(VISIBLE)])), *map(written, excluded)])


def measure(store: Store, count: int, times: int) -> None:
    """Print the milliseconds of each query and change, by the search index and by the full-text index."""
    terms = {number: _terms(number) for number in range(1, count + 1)}
    with store.database.writing() as session:
        full_text = FullTextIndex(session)
    for start in range(1, count + 1, ROWS_PER_WRITE):
        some = {number: terms[number] for number in range(start, min(start + ROWS_PER_WRITE, count + 1))}
        with store.database.writing() as session:
            search_index.add(session, some)
            full_text.add(session, some)
    with store.database.writing() as session:
        full_text.settle(session)
    print(f"{'ms: median, 95 % within':<40}{'search index':>16}{full_text.dialect:>16}   {count:,} trajectories")
    for name, kept in FILTERS.items():
        required, excluded = required_and_excluded(kept)
        _compare(
            name,
            store.database.reading,
            lambda s, r=required, e=excluded: search_index.find(s, r, e, before=None, limit=PAGE),
            lambda s, r=required, e=excluded: full_text.find(s, r, e, PAGE),
            times,
        )
    _compare(
        "count of the aha moments",
        store.database.reading,
        lambda session: search_index.count(session, AHA),
        lambda session: full_text.count(session, AHA),
        times,
    )
    numbers = itertools.count(count + 1)
    _compare(
        "one more",
        store.database.writing,
        lambda session: search_index.add(session, {next(numbers): terms[1]}),
        lambda session: full_text.add(session, {next(numbers): terms[2]}),
        times,
    )
    published = {number + 2 * count: of_number for number, of_number in terms.items() if number <= PUBLISHED}
    with store.database.writing() as session:
        search_index.add(session, {number: of_number - {VISIBLE} for number, of_number in published.items()})
    _compare(
        f"{len(published):,} are published",
        store.database.writing,
        lambda session: search_index.add(session, {number: [VISIBLE] for number in published}),
        lambda session: full_text.add(session, published),
        1,
    )


def _terms(number: int) -> set[bytes]:
    columns = columns_of(made_up(number)) | {"owner": "visitor", "recorded": False}
    return terms_of(columns) | {VISIBLE}


def _compare(
    name: str,
    transaction: Callable[[], AbstractContextManager[Session]],
    by_search_index: Callable[[Session], object],
    by_full_text: Callable[[Session], object],
    times: int,
) -> None:
    """Print how long each took, of transactions that alternate; both have to answer the same."""
    taken: tuple[list[float], list[float]] = [], []
    for _ in range(times):
        answers = []
        for work, milliseconds in zip((by_search_index, by_full_text), taken, strict=True):
            began = time.perf_counter()
            with transaction() as session:
                answers.append(work(session))
            milliseconds.append(1000 * (time.perf_counter() - began))
        assert answers[0] == answers[1], name
    (first, first_most), (second, second_most) = map(spread, taken)
    print(f"{name:<40}{first:8.1f}{first_most:8.1f}{second:8.1f}{second_most:8.1f}   {second / first:.2f} ×")
