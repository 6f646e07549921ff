"""A project's line is put into another order, or its overlap changed, beside people at work."""

import dataclasses
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import preloaded
import pytest
from sqlalchemy import select
from test_annotations_claims import TEAM, answer, make, save_one
from thoroughness import few

from annotations.db.tables import ItemRow
from annotations.errors import ProjectError
from annotations.ops.import_benchmark import TimedLock
from annotations.queue.assignment import claim, leave
from annotations.queue.progress import project_counts
from annotations.queue.submission import submit
from annotations.schema.project import Order
from annotations.store import item_ranks, items, reordering
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store

COUNT = 9


@pytest.fixture
def store(tmp_path: Path, url: str | None):
    with open_store(tmp_path / "data", url) as store:
        yield store


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reordering, "STEP", 2)


def line(store: Store) -> list[str]:
    """The trajectories of all items that are open, in the order in which they are given."""
    wanted = select(ItemRow.trajectory_id).where(ItemRow.project_id == "team", ItemRow.state == "open")
    with store.database.reading() as session:
        return list(session.scalars(wanted.order_by(ItemRow.priority, ItemRow.rank, ItemRow.id)))


def between(store: Store, monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]) -> None:
    """Look after every transaction that moves some items, or opens and closes some."""
    for name in ("move_to_generation", "update_states"):
        wrapped = getattr(items, name)

        def then(session: object, *given: object, wrapped: Callable = wrapped) -> None:
            wrapped(session, *given)
            session.commit()
            store.database.write_lock.release()
            look()
            assert store.database.write_lock.acquire(1)
            session.connection()

        monkeypatch.setattr(items, name, then)


def test_the_old_order_holds_until_the_last_step_and_then_the_new_one(store: Store, monkeypatch: pytest.MonkeyPatch):
    ids, given = make(store, COUNT, order=Order.OLDEST, overlap=None), []
    left = list(ids)

    def look() -> None:
        with store.database.reading() as session:
            moved = not items.of_older_generations(session, "team", items.generation_of(session, "team"))
        who = f"annotator {len(given)}"
        turn = claim(store, "team", who)
        given.append((moved, turn.trajectory_id))
        leave(store, who)

    between(store, monkeypatch, look)
    store.change_project(dataclasses.replace(TEAM, order=Order.NEWEST, overlap=None))
    assert given == [(False, left[0])] * (COUNT // 2) + [(True, ids[-1])]
    assert line(store) == ids[::-1]


def test_what_comes_in_and_who_is_half_way_down_meanwhile_find_their_places(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    ids, later = make(store, COUNT, order=Order.OLDEST, overlap=1), []
    for _ in range(2):
        turn = claim(store, "team", "ann")
        submit(store, turn.item, "ann", [answer(turn, "ann")])

    def look() -> None:
        if len(later) < 2:
            later.append(save_one(store, 30 + len(later), segments=dataclasses.replace(first).segments))
            store.add_items("team", [NewItem(later[-1], priority=-len(later))])

    first = store.trajectory(ids[0])
    between(store, monkeypatch, look)
    store.change_project(dataclasses.replace(TEAM, order=Order.NEWEST, overlap=1))
    seen = []
    for name in ("ann", "bob") * COUNT:
        if turn := claim(store, "team", name):
            seen.append(turn.trajectory_id)
            submit(store, turn.item, name, [answer(turn, name)])
    assert seen == [*later[::-1], *ids[:1:-1]]


def test_a_second_change_while_the_first_goes_on_wins(store: Store, monkeypatch: pytest.MonkeyPatch):
    ids, changed = make(store, COUNT, order=Order.OLDEST), []

    def look() -> None:
        if not changed:
            changed.append(Order.OLDEST)
            store.change_project(dataclasses.replace(TEAM, order=Order.OLDEST))

    between(store, monkeypatch, look)
    store.change_project(dataclasses.replace(TEAM, order=Order.NEWEST))
    assert store.project("team").order is Order.OLDEST and line(store) == ids


def test_another_overlap_counts_at_once_and_opens_what_it_has_to(store: Store, monkeypatch: pytest.MonkeyPatch):
    ids, done = make(store, COUNT, overlap=1), []
    for _ in range(5):
        turn = claim(store, "team", "ann")
        submit(store, turn.item, "ann", [answer(turn, "ann")])
    assert (project_counts(store)["team"].done, line(store)) == (5, ids[5:])
    between(store, monkeypatch, lambda: done.append(project_counts(store)["team"].done))
    store.change_project(dataclasses.replace(TEAM, overlap=2))
    assert (done, line(store)) == ([0, 0, 0], ids)
    assert claim(store, "team", "bob").trajectory_id == ids[0]
    leave(store, "bob")
    done.clear()
    store.change_project(dataclasses.replace(TEAM, overlap=1))
    assert (done, line(store)) == ([5, 5, 5], ids[5:])
    assert claim(store, "team", "bob").trajectory_id == ids[5]


def test_to_go_by_disagreement_knows_what_was_said_before(store: Store):
    ids = make(store, 4, order=Order.OLDEST, overlap=None)
    for name, said in (("ann", "yes"), ("bob", "no")):
        for id in ids:
            turn = claim(store, "team", name)
            verdict = said if id == ids[2] else "yes"
            submit(store, turn.item, name, [answer(turn, name, verdict_right=verdict)])
    store.change_project(dataclasses.replace(TEAM, order=Order.DISAGREEMENT, overlap=None))
    assert line(store) == [ids[2], ids[0], ids[1], ids[3]]


def _killed(folder: Path, url: str | None, after: int) -> None:
    """A process that ends without a word after so many steps."""
    reordering.STEP, steps, wrapped = 2, [], item_ranks.by_trajectory

    def rank_of(*given: object) -> float:
        steps.append(1)
        return wrapped(*given) if len(steps) <= 2 * after else os._exit(7)

    item_ranks.by_trajectory = rank_of
    with open_store(folder, url) as store:
        store.change_project(dataclasses.replace(TEAM, order=Order.NEWEST, overlap=1))


@pytest.mark.parametrize(
    ("url", "after"), few(itertools.product(("sqlite", "postgresql"), (0, 1, 3)), 0, 2, 4), indirect=["url"]
)
def test_a_change_that_is_killed_half_way_is_gone_on_with_at_the_next_start(tmp_path, url, after):
    with open_store(tmp_path / "data", url) as store:
        ids = make(store, COUNT, order=Order.OLDEST, overlap=2)
        turn = claim(store, "team", "ann")
        submit(store, turn.item, "ann", [answer(turn, "ann")])
    assert preloaded.call(_killed, tmp_path / "data", url, after) == 7
    with open_store(tmp_path / "data", url) as store:
        assert claim(store, "team", "bob").trajectory_id == ids[1]  # of the old order; the first has its one answer
        leave(store, "bob")
        reordering.recover(store.database)
        assert line(store) == ids[:0:-1]
        assert claim(store, "team", "eve").trajectory_id == ids[-1]


def test_nobody_waits_for_all_items_of_a_project(store: Store, monkeypatch: pytest.MonkeyPatch):
    make(store, COUNT, order=Order.OLDEST, overlap=1)
    turns = TimedLock()
    store.database = dataclasses.replace(store.database, write_lock=turns)
    store.change_project(dataclasses.replace(TEAM, order=Order.NEWEST, overlap=1))
    assert len(turns.seconds) == 1 + (COUNT + 1) // 2


@pytest.mark.parametrize("priority", [-500, 500, 10**9])
def test_a_priority_that_would_leave_its_line_is_refused(store: Store, priority: int):
    [id] = make(store, 1)
    with pytest.raises(ProjectError, match="wanted one from -499 to 499"):
        store.add_items("team", [NewItem(id, priority=priority)])
