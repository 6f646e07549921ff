"""What the benchmark fills a store with, and that it says what is too slow."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from annotations import benchmark
from annotations.store import Store, open_store
from annotations.tables import ItemRow, TrajectoryRow


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        yield store


def rows(store: Store) -> list[list[tuple]]:
    with store.database.reading() as session:
        return [session.execute(select(*table.__table__.columns)).all() for table in (TrajectoryRow, ItemRow)]


def test_rows_that_are_written_many_at_once_are_those_that_the_store_writes(store, tmp_path):
    benchmark.fill(store, 3)
    benchmark.fill(store, 5, 3)
    with open_store(tmp_path / "other") as other:
        for number in range(5):
            other.save(benchmark.made_up(number), {}, owner="visitor")
        assert rows(store) == rows(other)


def test_times_are_printed_side_by_side_and_what_is_too_slow_is_said(store, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "FEW", 20)
    monkeypatch.setattr(benchmark, "MOST_MS", 0)
    said = benchmark.compare(store, 40, 3)
    assert "it was not so of: next item, submit" in said
    printed = capsys.readouterr().out.splitlines()
    assert [line[:15].strip() for line in printed[1:]] == ["next item", "submit", "how far one is"]
    assert "80" in printed[0] and "160 segments" in printed[0]
