"""What the benchmark fills a store with, and that it says what is too slow."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from annotations import benchmark
from annotations.db.tables import ItemRow, PostingRow, TrajectoryRow
from annotations.ops import export_benchmark, import_benchmark, index_benchmark, synthetic
from annotations.store.listing import Filter
from annotations.store.store import Store, open_store


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        yield store


def rows(store: Store) -> list[list[tuple]]:
    with store.database.reading() as session:
        found = [session.execute(select(*table.__table__.columns)).all() for table in (TrajectoryRow, ItemRow)]
        return [*found, sorted(session.execute(select(*PostingRow.__table__.columns)).all())]


def test_rows_that_are_written_many_at_once_are_those_that_the_store_writes(store, tmp_path):
    benchmark.fill(store, 3)
    benchmark.fill(store, 5, 3)
    with open_store(tmp_path / "other") as other:
        for number in range(5):
            other.save(benchmark.made_up(number), {}, owner="visitor")
        assert rows(store) == rows(other)


def test_times_are_printed_side_by_side_and_what_is_too_slow_is_said(store, capsys):
    said = benchmark.compare(store, replace(benchmark.QUEUE, few=20, most_ms=0), 40, 3)
    assert "it was not so of: next item, submit" in said
    printed = capsys.readouterr().out.splitlines()
    assert [line[:15].strip() for line in printed[1:]] == ["next item", "submit", "how far one is"]
    assert "20" in printed[0] and "40 trajectories" in printed[0]


def test_each_question_of_the_gallery_is_asked_about_what_it_says(store, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "SLOWER", 1e6)  # two times of each say nothing about speed
    few = synthetic.OTHER_CHECKPOINT + 10
    assert benchmark.compare(store, replace(benchmark.GALLERY, few=few, half_ms=1e6, most_ms=1e6), few + 10, 2) is None
    names = [line[:40].strip() for line in capsys.readouterr().out.splitlines()[1:]]
    assert {"the newest", "a word that is nowhere", "a drawing is saved"} < set(names)
    assert len(store.trajectories(keep=Filter(search="fish"))) == 3
    assert store.trajectories(keep=Filter(search="cat")) and store.trajectories(keep=Filter(search="dog"))
    assert store.trajectories(limit=200, keep=Filter(checkpoint="base"))[0].number < few
    for nothing in (Filter(search="cat dog"), Filter(search="zebra"), Filter(category="hard"), Filter(annotated=True)):
        assert store.trajectories(keep=nothing) == []


def test_the_search_index_and_the_databases_own_full_text_index_answer_the_same(tmp_path, url, capsys):
    with open_store(tmp_path / "data", url) as store:
        index_benchmark.measure(store, synthetic.OTHER_CHECKPOINT + 10, 2)
    lines = capsys.readouterr().out.splitlines()
    assert [*synthetic.FILTERS] == [line[:40].strip() for line in lines[1 : 1 + len(synthetic.FILTERS)]]
    assert lines[-1].startswith("510 are published")


def test_an_import_is_timed_and_what_is_too_slow_is_said(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(import_benchmark, "ROWS_PER_SECOND", 1)
    assert import_benchmark.measure(store, tmp_path, 12, 3) is None
    printed = capsys.readouterr().out
    assert len(store.trajectories()) == 12 and "the longest, of processor time" in printed
    assert sum(one.cover is not None for one in store.trajectories()) == 3
    monkeypatch.setattr(import_benchmark, "MAX_TRANSACTION", 0)
    with open_store(tmp_path / "other") as other:
        assert "no transaction of more than 0 ms" in import_benchmark.measure(other, tmp_path, 3, 0)


def test_a_median_that_grew_too_much_is_named_whatever_it_is(store):
    times = iter([{"a": [1.0] * 3, "b": [1.0] * 3}, {"a": [2.5] * 3, "b": [1.9] * 3}])
    part = benchmark.BenchmarkCase(2, 200, 1000, lambda _store, _times: next(times))
    assert benchmark.compare(store, part, 4, 3).endswith("it was not so of: a")


@pytest.mark.thorough
def test_an_export_is_timed_beside_datasets_and_is_the_same_after_a_kill(store, capsys):
    export_benchmark.measure(store, 100)
    printed = capsys.readouterr().out
    assert "100 in 1 files" in printed and "the same bytes" in printed and "from_generator" in printed
