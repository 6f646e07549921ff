"""Whether the books of the queue balance, and that what is wrong in them is found."""

import dataclasses
from datetime import timedelta

import pytest
from sqlalchemy import update
from test_annotations_samples import aha, judged

from annotations.db.tables import ItemRow, LeaseRow, ProjectRow
from annotations.ops import queue_checks
from annotations.queue.assignment import claim, leave
from annotations.queue.submission import submit
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store

TEAM = dataclasses.replace(REFLECTIONS_PROJECT, id="team", name="Team", overlap=2, collects=False)
YES = {"verdict_right": "yes"}


@pytest.fixture
def store(tmp_path, url):
    with open_store(tmp_path, url) as store:
        trajectory, pictures = aha(0, segments=aha()[0].segments[:3])
        store.create_project(TEAM)
        store.add_items("team", [NewItem(store.save(trajectory, pictures, owner="visitor"))])
        yield store


def answered_by(store: Store, *names: str) -> int:
    for name in names:
        turn = claim(store, "team", name)
        said = dataclasses.replace(judged(turn.trajectory_id, 2, name, **YES), key=f"{name}'s")
        submit(store, turn.item, name, [said])
    return turn.item


def change(store: Store, statement) -> None:
    with store.database.writing() as session:
        session.execute(statement)


def test_what_was_done_by_the_rules_balances(store):
    answered_by(store, "ann")
    claim(store, "team", "bob")
    assert (
        queue_checks.beyond_overlap(store, "team"),
        queue_checks.stuck_leases(store),
        queue_checks.held_leases(store),
    ) == ([], 0, 1)
    assert queue_checks.completed_items(store, "team") == 0
    leave(store, "bob")
    answered_by(store, "eve")
    assert (queue_checks.held_leases(store), queue_checks.completed_items(store, "team")) == (0, 1)
    assert queue_checks.missing_submits(store, {"ann's": YES, "eve's": YES}) == []
    assert queue_checks.is_intact(store)


def test_an_answer_or_a_lease_too_many_is_found(store):
    item = answered_by(store, "ann", "bob")
    change(store, update(ProjectRow).where(ProjectRow.id == "team").values(overlap=1))
    assert queue_checks.beyond_overlap(store, "team") == [item]
    change(store, update(ProjectRow).where(ProjectRow.id == "team").values(overlap=3))
    change(store, update(ItemRow).values(state="open"))
    claim(store, "team", "eve")
    assert queue_checks.beyond_overlap(store, "team") == []
    change(store, update(ProjectRow).where(ProjectRow.id == "team").values(overlap=2))
    assert queue_checks.beyond_overlap(store, "team") == [item]


def test_what_was_confirmed_and_is_not_there_or_is_something_else_is_found(store):
    answered_by(store, "ann", "bob")
    confirmed = {"ann's": YES, "bob's": {"verdict_right": "no"}, "eve's": YES}
    assert queue_checks.missing_submits(store, confirmed) == ["bob's", "eve's"]


@pytest.mark.parametrize("ends", [timedelta(0), timedelta(days=1)])
def test_a_lease_that_would_not_end_is_found(store, ends):
    claim(store, "team", "ann")
    assert queue_checks.stuck_leases(store) == 0
    change(store, update(LeaseRow).values(expires_at=store.clock() + ends))
    assert queue_checks.stuck_leases(store) == 1
