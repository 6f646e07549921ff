"""How SQLite goes about what an annotator waits for: by an index, however much is stored."""

import dataclasses

import pytest
from sqlalchemy import event
from test_annotations_samples import aha, judged

from annotations.queue.assignment import claim, heartbeat, holds
from annotations.queue.submission import save, skip_item, submit
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.schema.project import ItemPurpose, Order, Skipping
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store

EVERYTHING = dataclasses.replace(
    REFLECTIONS_PROJECT, id="team", name="Team", overlap=2, gold_share=0.5, practice=1, collects=False
)
HARMLESS = ("SCAN projects", "SCAN properties", "SCAN CONSTANT ROW")  # a few rows, or none


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path) as store:
        yield store


def fill(store: Store, project) -> None:
    store.create_project(project)
    for number, use in enumerate([ItemPurpose.WORK] * 6 + [ItemPurpose.GOLD] * 2 + [ItemPurpose.PRACTICE] * 2):
        trajectory, pictures = aha(number, segments=aha(number)[0].segments[:3])
        gold = ({"segment": 2, "answers": {"verdict_right": "yes"}},) if use is not ItemPurpose.WORK else ()
        id = store.save(trajectory, pictures, owner="visitor")
        store.add_items(project.id, [NewItem(id, use=use, gold=gold)])


def look_throughs(store: Store, work) -> set[str]:
    """Steps in which a whole table, or a whole index of it, is read while `work` is done."""
    asked: dict[str, tuple] = {}
    engines = [store.database.read, store.database.write]

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE", "WITH"):
            asked[statement] = parameters

    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    work()
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    assert len(asked) > 3, "nothing was asked"
    with store.database.reading() as session:
        plan = session.connection().exec_driver_sql
        steps = {(row[-1], said) for said, given in asked.items() for row in plan(f"EXPLAIN QUERY PLAN {said}", given)}
    return {f"{step}: {said}" for step, said in steps if step.startswith("SCAN ") and step not in HARMLESS}


def one_turn(store: Store, annotator: str) -> None:
    turn = claim(store, "team", annotator)
    claim(store, "team", annotator, exclude_item=turn.item)
    assert holds(store, turn.item, annotator)
    heartbeat(store, turn.item, annotator)
    said: Annotation = judged(turn.trajectory_id, 2, annotator, verdict_right="yes")
    save(store, turn.item, annotator, [said])
    submit(store, turn.item, annotator, [said])


@pytest.mark.parametrize("order", [Order.OLDEST, Order.DISAGREEMENT])
def test_no_step_of_next_and_submit_looks_through_a_table(store, order):
    fill(store, dataclasses.replace(EVERYTHING, order=order))

    def work() -> None:
        for annotator in ("ann", "bob"):
            for _ in range(4):
                one_turn(store, annotator)

    assert look_throughs(store, work) == set()


@pytest.mark.parametrize("policy", list(Skipping))
def test_no_step_of_a_skip_looks_through_a_table(store, policy):
    fill(store, dataclasses.replace(EVERYTHING, skipping=policy))

    def work() -> None:
        for _ in range(3):
            turn = claim(store, "team", "ann")
            skip_item(store, turn.item, "ann", reason="too dark")

    assert look_throughs(store, work) == set()


def test_a_step_that_does_look_through_a_table_is_found(store):
    fill(store, EVERYTHING)
    assert any("SCAN annotations" in step or "SCAN leases" in step for step in look_throughs(store, store.counts))
