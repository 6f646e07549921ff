"""Hidden drawings: out of lists, queues and exports until they are shown again; a deletion is for good."""

from dataclasses import replace
from datetime import timedelta

import pytest
from test_annotations_samples import aha

from annotations.errors import NotFoundError
from annotations.moderation.withholding import show_again, withheld, withheld_picture, withhold
from annotations.queue import assignment
from annotations.schema.default_projects import ARENA
from annotations.schema.project import Project
from annotations.schema.questions import QUESTIONS
from annotations.store.items import NewItem
from annotations.store.store import Store

WORK = Project("work", "Work", QUESTIONS, "reflection", overlap=2)


def saved(store: Store, number: int = 0) -> str:
    trajectory, pictures = aha(number)
    return store.save(trajectory, pictures, owner="visitor")


def test_a_hidden_drawing_is_in_no_list_and_its_picture_is_for_moderators_only(store: Store):
    first, second = saved(store), saved(store, 1)
    cover = store.trajectories()[1].cover
    withhold(store, [first], by="ann")
    assert [each.id for each in store.trajectories()] == [second] and [each.id for each in withheld(store)] == [first]
    assert store.picture_or_none(cover) is None and withheld_picture(store, cover) == store.stored_picture(cover)
    with pytest.raises(NotFoundError):
        store.trajectory(first)
    show_again(store, [first])
    assert {each.id for each in store.trajectories()} == {first, second} and withheld(store) == []
    assert store.picture(cover) and withheld_picture(store, cover) is None


def test_what_was_asked_about_a_hidden_drawing_goes_on_where_it_was(store: Store):
    first = saved(store)
    store.create_project(WORK)
    store.add_items("work", [NewItem(first)])
    held = assignment.claim(store, "work", "ada")
    withhold(store, [first], by="ann")
    assert assignment.claim(store, "work", "bob") is None and not assignment.holds(store, held.item, "ada")
    show_again(store, [first])
    assert assignment.holds(store, held.item, "ada")
    assert assignment.claim(store, "work", "bob").item == held.item


def test_a_pair_comes_back_when_both_of_its_drawings_have(store: Store):
    first, second = saved(store), saved(store, 1)
    store.create_project(replace(ARENA, id="pairs", name="Pairs", practice=0))
    store.add_items("pairs", [NewItem(first, second)])
    withhold(store, [first], by="ann")
    withhold(store, [second], by="ann")
    show_again(store, [first])
    assert assignment.claim(store, "pairs", "ada") is None
    show_again(store, [second])
    assert assignment.claim(store, "pairs", "ada") is not None


def test_hidden_is_not_deleted_until_somebody_deletes_it(store: Store):
    first = saved(store)
    withhold(store, [first, first], by="ann")
    assert store.purge(timedelta(seconds=-1)) == 0 and len(withheld(store)) == 1
    store.hide(first, "ann")
    assert withheld(store) == []
    with pytest.raises(NotFoundError, match="for good"):
        show_again(store, [first])
    assert store.purge(timedelta(seconds=-1)) == 1


def test_nothing_is_hidden_or_shown_where_one_of_them_is_unknown(store: Store):
    first = saved(store)
    with pytest.raises(NotFoundError):
        withhold(store, [first, "nothing"], by="ann")
    assert len(store.trajectories()) == 1
    withhold(store, [first], by="ann")
    with pytest.raises(NotFoundError):
        show_again(store, [first, "nothing"])
    assert store.trajectories() == []
