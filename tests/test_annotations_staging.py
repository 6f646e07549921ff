"""An import beside people who work: nobody sees half of it, nobody waits for it, and nothing of a broken one stays."""

import gc
import itertools
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import preloaded
import pytest
from sqlalchemy import func, select
from test_annotations_importing import files_of
from test_annotations_samples import aha, judged, png
from test_annotations_upgrade import old
from thoroughness import ON_SQLITE, few

from annotations.db.engine import BUSY, FILE, WRITE_LOCK_SECONDS
from annotations.db.fair_lock import FairLock
from annotations.db.tables import Base
from annotations.db.upgrade import upgrade
from annotations.errors import BusyError, ImportingError, NotFoundError
from annotations.importing import staging
from annotations.importing.formats.rows import rows
from annotations.importing.importer import Report, bring_in
from annotations.ops.import_benchmark import TimedLock
from annotations.ops.synthetic import made_up, write_rows
from annotations.queue.assignment import claim, progress
from annotations.queue.audit import trail
from annotations.queue.progress import project_counts
from annotations.queue.submission import submit
from annotations.schema.annotation import Status
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.schema.questions import REASON_RATING, VERDICT_RIGHT
from annotations.store import items
from annotations.store.listing import Filter
from annotations.store.search_index import inconsistent_terms
from annotations.store.store import Store, open_store
from annotations.store.trajectory_columns import columns_of
from model.trajectory import Trajectory

ROWS = 60


@pytest.fixture
def store(tmp_path: Path, url: str | None):
    with open_store(tmp_path / "data", url) as store:
        yield store


def table(folder: Path, rows: int = ROWS) -> Path:
    """A folder of pictures with a table of them: every other row has a verdict to annotate."""
    folder.mkdir()
    lines = ["file_name,prompt,verdict,reason"]
    for number in range(rows):
        (folder / f"{number}.png").write_bytes(png(number + 1))
        lines.append(f"{number}.png,import number {number},{'no,there is a dog.' if number % 2 else ','}")
    (folder / "t.csv").write_text("\n".join(lines), "utf-8")
    return folder


def begin(store: Store, source: Path, at: Callable[[int], None], **given: object) -> Report:
    """Import it, and do something after every transaction, of which there are many."""
    return bring_in(
        store,
        source,
        "folder",
        owner="ada",
        on_progress=lambda step, n, _: at(n) if step == "storing" else None,
        **given,
    )


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "MOST", 10)
    monkeypatch.setattr(staging.ImportRun, "size", 10)
    monkeypatch.setattr(staging, "OPENED", 7)
    monkeypatch.setattr(staging, "ERASED", 7)


def rows_of(store: Store) -> dict[str, int]:
    """How many rows each table has."""
    with store.database.reading() as session:
        tables = Base.metadata.tables
        return {name: session.scalar(select(func.count()).select_from(one)) or 0 for name, one in tables.items()}


def seen(store: Store) -> tuple:
    """What people see of trajectories, anywhere."""
    listed = store.trajectories(limit=200)
    kinds = (Filter(search="import"), Filter(verdict="no"), Filter(owner="ada"), Filter(checkpoint="unknown"))
    found = [len(store.trajectories(limit=200, keep=keep)) for keep in kinds]
    return (
        {one.id for one in listed},
        found,
        store.counts(),
        store.checkpoints(),
        store.imports(),
        progress(store, "ann"),
        project_counts(store),
    )


def test_nobody_sees_anything_before_all_of_it_is_there(store: Store, tmp_path: Path):
    mine, pictures = aha(99)
    drawn = store.save(mine, pictures, owner="visitor")
    before, half = seen(store), []

    def look(done: int) -> None:
        assert seen(store) == before
        with store.database.reading() as session:
            assert inconsistent_terms(session) == []
        assert rows_of(store)["staged_trajectories"] == done
        half.append(done)

    report = begin(store, table(tmp_path / "in"), look)
    assert half == list(range(10, ROWS + 1, 10))
    assert (report.records, report.trajectories) == (ROWS, ROWS)
    listed, found, _, _, [batch], waiting, extent = seen(store)
    assert (len(listed), found, batch.records) == (ROWS + 1, [ROWS, ROWS // 2, ROWS, ROWS], ROWS)
    assert (waiting.waiting, extent["reflections"].items) == (ROWS // 2 + 1, ROWS // 2 + 1)
    assert {drawn, *store.imported(report.batch)} == listed
    assert rows_of(store)["staged_trajectories"] == rows_of(store)["import_runs"] == 0
    with store.database.reading() as session:
        assert inconsistent_terms(session) == []


def test_what_is_staged_can_be_neither_opened_nor_deleted_nor_put_into_a_project(store: Store, tmp_path: Path):
    store.create_project(replace(REFLECTIONS_PROJECT, id="team", name="Team", collects=False))
    tried = []

    def touch(_done: int) -> None:
        with store.database.reading() as session:
            id, sha256 = session.execute(select(items.TrajectoryRow.id, items.TrajectoryRow.cover)).first()
        for attempt in (
            lambda: store.trajectory(id),
            lambda: store.picture(sha256),
            lambda: store.hide(id, by="ann"),
            lambda: store.history(id),
            lambda: store.annotate(judged(id, 1, verdict_right="yes")),
            lambda: store.add_items("team", [items.NewItem(id)]),
            lambda: trail(store, id),
        ):
            with pytest.raises(NotFoundError):
                attempt()
        assert store.origins(id) == [] and store.trajectories_by_id([id]) == {}
        assert store.purge(timedelta(seconds=-1)) == 0
        tried.append(id)

    begin(store, table(tmp_path / "in", 20), touch)
    assert len(tried) == 2 and store.trajectory(tried[0])


def test_one_that_is_stopped_leaves_no_row_and_no_file(store: Store, tmp_path: Path):
    shared, _ = aha(99)
    again = png(5)  # the picture of a row is drawn here, too
    drawing = replace(shared, segments=(replace(shared.segments[1], sha256=None),))
    store.save(drawing, {}, owner="visitor")
    kept = Path(store.database.directory / "images")
    before, files = rows_of(store), files_of(store)

    def stop(done: int) -> None:
        under_way = staging.under_way(store)
        assert (under_way.done, under_way.total, under_way.source) == (done, ROWS, "in")
        if done == 40:
            assert staging.cancel(store)

    with pytest.raises(ImportingError, match="was stopped; nothing of it is kept"):
        begin(store, table(tmp_path / "in"), stop)
    assert again and kept.is_dir()
    assert (rows_of(store), files_of(store)) == (before, files)
    assert staging.under_way(store) is None and not staging.cancel(store)
    assert begin(store, tmp_path / "in", lambda _: None).records == ROWS


def test_two_at_a_time_are_refused_in_words(store: Store, tmp_path: Path):
    source, told = table(tmp_path / "in"), []

    def another(_done: int) -> None:
        if not told:
            with pytest.raises(ImportingError) as refused:
                bring_in(store, source, "folder", owner="bob")
            told.append(str(refused.value))

    assert begin(store, source, another).records == ROWS
    assert told == ["another import is under way: “in” of ada, storing, 10 of 60 records; wait for its end, or stop it"]


def _killed_at(folder: Path, url: str | None, source: Path, when: int) -> None:
    """A process that ends without a word after so many transactions, or while it opens items (-1)."""
    staging.ImportRun.size, staging.OPENED = 10, 7
    with open_store(folder, url) as store:
        if when < 0:
            staging.items.open_staged = lambda *_: os._exit(7)
        begin(store, source, lambda done: os._exit(7) if done == when else None)


@pytest.mark.parametrize(
    ("url", "when"), few(itertools.product(("sqlite", "postgresql"), (10, 40, -1)), 1, 5), indirect=["url"]
)
def test_one_that_is_killed_is_removed_or_finished_at_the_next_start(tmp_path, url, when):
    source = table(tmp_path / "in")
    with open_store(tmp_path / "data", url) as store:
        before = rows_of(store)
    assert preloaded.call(_killed_at, tmp_path / "data", url, source, when) == 7
    with open_store(tmp_path / "data", url) as store:
        assert len(store.trajectories(limit=200)) == (ROWS if when < 0 else 0)
        assert staging.recover(store) == 1  # at once: its lock has ended with it
        assert rows_of(store)["staged_trajectories"] == rows_of(store)["import_runs"] == 0
        if when < 0:
            assert progress(store, "ann").waiting == ROWS // 2
        else:
            assert (rows_of(store), files_of(store)) == (before, set())
            assert store.interrupted_imports == [source.name]
            assert begin(store, source, lambda _: None).records == ROWS and store.interrupted_imports == []


def test_one_that_may_still_live_elsewhere_is_left_alone_until_it_was_silent_for_long(store: Store, tmp_path: Path):
    checked = []

    def later(_done: int) -> None:
        assert staging.recover(store) == 0
        checked.append(staging.under_way(store))

    begin(store, table(tmp_path / "in", 10), later)
    assert checked[0].source == "in"
    run = staging.ImportRun(store, staging.BatchName("b", "dead.csv", "folder"), owner="ada", now=store.clock())
    run.__enter__()
    now = store.clock()
    store.clock = lambda: now + 2 * staging.SILENT
    assert staging.under_way(store) is None and staging.recover(store) == 1


@ON_SQLITE
def test_who_draws_and_annotates_meanwhile_hardly_waits(store: Store, tmp_path: Path, request):
    for number in range(6):
        trajectory, pictures = aha(number, segments=aha(number)[0].segments[:3])
        store.save(trajectory, pictures, owner="visitor")
    turns, over, done = TimedLock(), threading.Event(), []
    store.database = replace(store.database, write_lock=turns)

    def work(number: int) -> None:
        while not over.is_set():
            trajectory, pictures = aha(1000 + number)
            done.append(store.save(trajectory, pictures, owner="visitor"))
            time.sleep(0.01)

    def annotate() -> None:
        for _ in range(6):
            turn = claim(store, "reflections", "ann")
            said = judged(turn.trajectory_id, 2, "ann", **{VERDICT_RIGHT: "yes", REASON_RATING: 3})
            submit(store, turn.item, "ann", [replace(said, status=Status.SUBMITTED)])
            done.append(turn.item)

    people = [threading.Thread(target=work, args=(n,)) for n in range(3)] + [threading.Thread(target=annotate)]
    gc.collect()
    gc.freeze()  # as the studio does
    request.addfinalizer(gc.unfreeze)
    for one in people:
        one.start()
    report = begin(store, table(tmp_path / "in", 300), lambda _: None)
    over.set()
    for one in people:
        one.join()
    assert report.records == 300 and len(done) > 10
    # they come in turn, so that each waits for one transaction of the import at most, however busy the machine is
    assert max(turns.processor) < staging.LONGEST


def test_a_transaction_of_an_import_that_took_too_long_is_followed_by_smaller_ones(store: Store, monkeypatch):
    monkeypatch.undo()
    run = staging.ImportRun(store, staging.BatchName("b", "x.csv", "folder"), owner="ada", now=store.clock())
    sizes = []
    for took in (0.01, 0.01, 0.1, 0.2, 0.2, *[9.0] * 9, *[0.01] * 9):
        run._adapt(took)
        sizes.append(run.size)
    assert sizes[:5] == [100, 200, 200, 100, 50]
    assert min(sizes) == staging.FEWEST and sizes[-1] == staging.MOST


def test_writers_take_turns_in_the_order_in_which_they_came():
    turns, order = FairLock(), []
    assert turns.acquire(0)

    def wait(number: int) -> None:
        assert turns.acquire(10)
        order.append(number)
        turns.release()

    waiting = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for one in waiting:
        one.start()
        time.sleep(0.02)
    assert not turns.acquire(0.01)  # gives up, and is not waited for
    turns.release()
    for one in waiting:
        one.join()
    assert order == [0, 1, 2, 3, 4] and turns.acquire(0)


def test_a_database_that_is_busy_for_too_long_says_so_and_names_no_pool(store: Store, monkeypatch: pytest.MonkeyPatch):
    assert WRITE_LOCK_SECONDS >= 10
    monkeypatch.setattr("annotations.db.engine.WRITE_LOCK_SECONDS", 0.05)
    trajectory, pictures = aha(1)
    with store.database.writing():
        told = []

        def save() -> None:
            with pytest.raises(BusyError) as error:
                store.save(trajectory, pictures, owner="visitor")
            told.append(str(error.value))

        thread = threading.Thread(target=save)
        thread.start()
        thread.join()
    assert told == [BUSY] and "try again" in BUSY
    assert store.save(trajectory, pictures, owner="visitor")


def test_an_older_database_keeps_what_was_imported(tmp_path: Path):
    file = tmp_path / FILE
    upgrade(file, old(tmp_path, "0007"))
    trajectory = replace(aha(1)[0], id="before", segments=())
    columns = columns_of(trajectory) | {"id": "before", "owner": "ada", "recorded": False, "number": 1}
    brought = {"id": 1, "trajectory_id": "before", "batch": "b", "source": "x.csv", "format": "folder", "key": "k"}
    brought |= {"part": 0, "row": 1, "record": '{"x": "1"}', "imported_by": "ada", "created_at": "2026-01-01"}
    with sqlite3.connect(file) as connection:
        for name, row in (
            ("trajectories", columns | {"body": json.dumps(trajectory.to_dict()), "created_at": "2026-01-01"}),
            ("imports", brought),
            ("traits", {"trait": b"visible", "block": 0, "bits": b"\x02"}),
        ):
            connection.execute(
                f"INSERT INTO {name} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
            )
    connection.close()
    with open_store(tmp_path) as store:
        [batch] = store.imports()
        assert (batch.source, batch.records, store.imported("b")) == ("x.csv", 1, ["before"])
        assert [origin.record for origin in store.origins("before")] == [{"x": "1"}]
        report = bring_in(store, table(tmp_path / "in", 4), "folder", owner="ada")
        assert (report.records, len(store.imports())) == (4, 2)


def test_a_row_of_the_studios_own_is_read_once_and_written_once(store: Store, tmp_path: Path, monkeypatch):
    calls = {"to_dict": 0, "from_dict": 0}

    def counted(name: str) -> Callable:
        wrapped = getattr(Trajectory, name)

        def call(given: Trajectory | dict) -> dict | Trajectory:
            calls[name] += 1
            return wrapped(given)

        return call

    write_rows(tmp_path / "r.jsonl", 40, 4)
    for name in calls:
        monkeypatch.setattr(Trajectory, name, counted(name) if name == "to_dict" else staticmethod(counted(name)))
    report = bring_in(store, tmp_path / "r.jsonl", "ours", owner="ada")
    assert (report.records, calls) == (40, {"to_dict": 40, "from_dict": 40})
    monkeypatch.undo()
    for number, row in enumerate(rows(tmp_path / "r.jsonl")):
        stored = store.trajectory(made_up(number).id)
        assert stored.to_dict() == (row[1].get("trajectory") or row[1]) and stored.created_at
