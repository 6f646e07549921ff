"""Flags, practice, lists of one's own items, pace and stock reasons: real rows in SQLite."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_annotations_samples import aha, judged

from annotations.errors import AnswerError, ConflictError, LeaseError, NotFoundError, ProjectError
from annotations.queue import assignment, flags, practice, submission
from annotations.queue.own_items import own_items, pace
from annotations.queue.practice import PracticeResult
from annotations.queue.stock_reasons import USUAL, stock_reasons
from annotations.schema.annotation import REFLECTIONS, Annotation
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.schema.project import GuidelineExample, ItemPurpose
from annotations.store.items import NewItem
from annotations.store.leases import LeaseOutcome
from annotations.store.store import Store, open_store

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        store.clock = lambda: NOW
        for number in range(3):
            store.save(*aha(number, prompt=f"{number} apples"), owner="visitor")
        yield store


def claimed(store: Store, name: str = "ada") -> int:
    turn = assignment.claim(store, REFLECTIONS, name)
    assert turn is not None
    return turn.item


def test_a_flag_is_answered_once_and_those_without_an_answer_come_first(store: Store):
    item = claimed(store)
    first = flags.flag(store, item, "ada", " Is a <pear> an apple? ")
    assert flags.flag(store, item, "ada", "Is a <pear> an apple?") == first
    second = flags.flag(store, item, "ada", "Too dark.")
    flags.answer(store, second, "rae", "Skip it then.")
    with pytest.raises(ConflictError):
        flags.answer(store, second, "bob", "No.")
    known = flags.flags(store, REFLECTIONS)
    assert [(f.id, f.note, f.answer, f.answered_by) for f in known] == [
        (first, "Is a <pear> an apple?", None, None),
        (second, "Too dark.", "Skip it then.", "rae"),
    ]
    assert known[0].prompt == "0 apples" and known[0].created_at == NOW
    assert flags.flags(store, REFLECTIONS, person="bob") == []


def test_a_flag_needs_a_note_and_an_item_that_was_given(store: Store):
    item = claimed(store)
    for note in ("  ", "x" * 1001, "\ud800"):
        with pytest.raises(AnswerError):
            flags.flag(store, item, "ada", note)
    with pytest.raises(LeaseError):
        flags.flag(store, item, "bob", "Let me in.")
    made = flags.flag(store, item, "ada", "A note.")
    for unknown in (made + 1, flags.answer(store, made, "rae", "An answer.")):
        with pytest.raises(NotFoundError):
            flags.answer(store, unknown, "rae", "Another.")


def test_a_flagged_drawing_that_is_deleted_stays_hidden_and_is_not_listed(store: Store):
    item = claimed(store)
    flags.flag(store, item, "ada", "A note.")
    store.hide(assignment.item_location(store, item)[1], by="ada")
    assert flags.flags(store, REFLECTIONS) == []
    store.clock = lambda: NOW + timedelta(days=2)
    assert store.purge() == 0


def test_the_list_of_own_items_has_the_newest_first_and_tells_no_practice(store: Store):
    ids = [listed.id for listed in store.trajectories()]
    store.create_project(replace(REFLECTIONS_PROJECT, id="team", name="Team", collects=False, practice=1))
    known = ({"segment": 2, "answers": {"verdict_right": "yes"}},)
    store.add_items("team", [NewItem(ids[0], use=ItemPurpose.PRACTICE, gold=known), *map(NewItem, ids[1:])])
    for number in range(3):
        store.clock = lambda number=number: NOW + timedelta(minutes=number)
        item = assignment.claim(store, "team", "ada").item
        run = assignment.item_location(store, item)[1]
        if number < 2:
            said = [Annotation(run, at, "ada", {"verdict_right": "yes"}, seconds=4.0 + number) for at in (2, 4)]
            submission.submit(store, item, "ada", said)
    held, done = own_items(store, "ada", "team")
    assert (held.outcome, done.outcome) == (None, LeaseOutcome.SUBMITTED)
    assert own_items(store, "bob", "team") == []
    own = pace(store, "ada", "team")
    assert (own.today, own.seconds) == (2, 9.0)
    store.clock = lambda: NOW + timedelta(days=1)
    assert pace(store, "ada", "team").today == 0


def test_stock_reasons_are_the_projects_own_else_the_usual_and_what_is_written_often(store: Store):
    project = store.project(REFLECTIONS)
    assert stock_reasons(store, project) == USUAL
    for run, reason in zip(store.trajectories(), ("there are  two.", "there are two.", "only once."), strict=True):
        store.annotate(judged(run.id, verdict_right="no", reason_correction=reason))
    assert stock_reasons(store, project) == (*USUAL, "there are two.")
    own = store.change_project(replace(project, reasons=("one is green.",), hides_verdict=True))
    assert stock_reasons(store, own) == ("one is green.",)
    shown = GuidelineExample(store.trajectories()[0].id, 1, "too dark")
    assert store.change_project(replace(own, examples=(shown,))) == store.project(REFLECTIONS)
    assert store.project(REFLECTIONS).examples == (shown,)
    for reasons, examples in ((("",), ()), (("a",) * 10, ()), (("a" * 301,), ()), ((), (shown,) * 25)):
        with pytest.raises(ProjectError):
            store.change_project(replace(own, reasons=reasons, examples=examples))


def test_practice_tells_what_was_right_of_an_answer_and_can_be_done_again(store: Store):
    ids = [listed.id for listed in store.trajectories()]
    store.create_project(replace(REFLECTIONS_PROJECT, id="team", name="Team", collects=False, practice=2))
    known = tuple({"segment": at, "answers": {"verdict_right": "yes"}, "because": "Count."} for at in (2, 4))
    store.add_items("team", [*(NewItem(id, use=ItemPurpose.PRACTICE, gold=known) for id in ids[:2]), NewItem(ids[2])])
    for answers in (("yes", "yes"), ("yes", "no")):
        item = assignment.claim(store, "team", "ada").item
        run = assignment.item_location(store, item)[1]
        for at, verdict in zip((2, 4), answers, strict=True):
            assert submission.submit(
                store, item, "ada", [Annotation(run, at, "ada", {"verdict_right": verdict})]
            ).is_practice
            [told] = practice.feedback(store, item, "ada", [at])
            assert (told.segment, told.name, told.right) == (at, "verdict_right", verdict == "yes")
    assert practice.result(store, "ada", "team") == PracticeResult(right=1, done=2, over=True)
    assert not assignment.claim(store, "team", "ada").practice  # held, as what is fetched ahead
    assert practice.again(store, "ada", "team") == 2
    assert practice.result(store, "ada", "team") == PracticeResult(right=0, done=0, over=False)
    turn = assignment.claim(store, "team", "ada")
    assert turn.practice and {dict(a.answers) == {} for a in store.annotations(item=turn.item)} == {True}
    assert store.counted() == []
