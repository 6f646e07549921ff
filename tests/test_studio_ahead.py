"""What the Annotate page has fetched ahead: the same as would have come, and never what is no longer so."""

import dataclasses
import re
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from filling import answers, filled
from test_annotations_samples import aha

from annotations.auth import accounts
from annotations.auth.accounts import add
from annotations.ops import queue_checks
from annotations.queue import assignment
from annotations.schema.project import ItemPurpose, Project, Role
from annotations.schema.questions import QUESTIONS
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store
from studio.annotate.handlers import AnnotateHandlers
from studio.annotate.item_token import ItemToken
from studio.annotate.view import AnnotateView
from studio.auth.session_cookie import COOKIE, new_session
from studio.settings import Mode, Settings

ONE_EACH = Project("one-each", "One each", QUESTIONS, "reflection", overlap=1)
SHORT = aha()[0].segments[:3]


def by(store: Store, name: str, page: str = "") -> SimpleNamespace:
    """A request of a page that somebody has open on the project."""
    cookie = f"{COOKIE}={new_session(store, accounts.person(store, name))}"
    query = {"project": "one-each"}
    return SimpleNamespace(query_params=query, session_hash=page or f"page of {name}", headers={"cookie": cookie})


def fill(store: Store, count: int, use: ItemPurpose = ItemPurpose.WORK, **changes) -> list[str]:
    ids = []
    for number in range(count):
        trajectory, pictures = aha(number, f"{number} apples for {use}", **changes)
        ids.append(store.save(trajectory, pictures, owner="visitor"))
    gold = ({"segment": 2, "answers": {"verdict_right": "yes"}},) if use is not ItemPurpose.WORK else ()
    store.add_items("one-each", [NewItem(id, use=use, gold=gold) for id in ids])
    return ids


def prepare(handlers: AnnotateHandlers, view: AnnotateView, request: SimpleNamespace) -> None:
    handlers.prepare("one-each", view.token, request)


def submit(handlers: AnnotateHandlers, view: AnnotateView, request: SimpleNamespace) -> AnnotateView:
    return handlers.submit("one-each", view.token, filled(view.token, "yes", 4), request)


def item_of(view: AnnotateView) -> int:
    return ItemToken.read(view.token).item


@pytest.mark.parametrize("segments", [SHORT, aha()[0].segments], ids=["one reflection", "two"])
def test_what_was_fetched_ahead_is_what_would_have_come(tmp_path, segments):
    seen = []
    for ahead in (False, True):
        with open_store(tmp_path / str(ahead)) as store:
            add(store, "ada", Role.ANNOTATOR, "a long enough one")
            store.create_project(ONE_EACH)
            fill(store, 3, segments=segments)
            seen.append(
                work_through(AnnotateHandlers(store, Settings(mode=Mode.PUBLIC)), by(store, "ada"), ahead=ahead)
            )
    assert seen[0] == seen[1]
    assert len(seen[0]) == 3 * sum(segment.kind == "reflection" for segment in segments)


def work_through(handlers: AnnotateHandlers, request: SimpleNamespace, *, ahead: bool) -> list[AnnotateView]:
    """All that is shown until nothing waits, without the keys and the pace, which are another each time."""
    view, views = handlers.start(request), []
    while view.token:
        if ahead:
            prepare(handlers, view, request)
        view = submit(handlers, view, request)
        shown = view.sheet and view.sheet | {"key": ""}
        token, progress = view.token and ItemToken.read(view.token)[:2], re.sub(r", [^<]+ each", "", view.progress)
        views.append(view._replace(token=token, sheet=shown, progress=progress))
    return views


def test_a_submit_takes_what_was_fetched_and_its_time_begins_then(store, handlers, monkeypatch):
    store.create_project(ONE_EACH)
    fill(store, 3, segments=SHORT)
    ada = by(store, "ada")
    first = handlers.start(ada)
    prepare(handlers, first, ada)
    assert queue_checks.held_leases(store) == 2
    fetched = handlers.ahead[ada.session_hash].loaded
    monkeypatch.setattr(assignment, "claim", None)  # nothing needs to be asked for
    now = time.time()
    second = submit(handlers, first, ada)
    assert second.stage == fetched.view.stage and item_of(second) == fetched.showing.item
    assert ItemToken.read(second.token).shown_at >= round(now, 1) - 0.1
    assert "1 done" in second.progress and "2 waiting" in second.progress


def test_what_became_of_it_meanwhile_is_seen(store, handlers):
    store.create_project(ONE_EACH)
    ids = fill(store, 4, segments=SHORT)
    ada, tab = by(store, "ada"), by(store, "ada", "another tab")
    view = handlers.start(ada)
    prepare(handlers, view, ada)
    store.hide(ids[1], by="bob")  # deleted
    view = submit(handlers, view, ada)
    assert "2 apples" in view.heading
    prepare(handlers, view, ada)
    other = handlers.start(tab)
    token = submit(handlers, other, tab).token
    handlers.save("one-each", token, filled(token, reason="half a reason"), tab)  # written on
    view = submit(handlers, view, ada)
    assert "3 apples" in view.heading and answers(view)["reason_correction"] == "half a reason"


def test_what_lapsed_and_was_taken_by_others_is_not_shown(store, handlers):
    store.create_project(ONE_EACH)
    fill(store, 3, segments=SHORT)
    moment = datetime.now(UTC)
    store.clock = lambda: moment
    ada, bob = by(store, "ada"), by(store, "bob")
    view = handlers.start(ada)
    prepare(handlers, view, ada)
    moment += timedelta(minutes=9)
    handlers.alive("one-each", view.token, ada)  # of both
    moment += timedelta(minutes=9)
    assert all(assignment.holds(store, item, "ada") for item in handlers.open[ada.session_hash][1])
    moment += timedelta(minutes=2)
    taken = [handlers.start(bob).heading, submit(handlers, handlers.start(bob), bob).heading]
    assert ["0 apples" in taken[0], "1 apples" in taken[1]] == [True, True]
    assert "2 apples" in submit(handlers, view, ada).heading


def test_a_closed_page_and_another_project_give_both_back(store, handlers):
    store.create_project(ONE_EACH)
    store.create_project(dataclasses.replace(ONE_EACH, id="empty", name="Empty"))
    fill(store, 3, segments=SHORT)
    ada = by(store, "ada")
    for go in (lambda _: handlers.leave(ada), lambda view: handlers.choose("empty", view.token, ada)):
        view = handlers.start(ada)
        prepare(handlers, view, ada)
        assert queue_checks.held_leases(store) == 2
        go(view)
        assert queue_checks.held_leases(store) == 0
        assert handlers.ahead == {}


def test_what_is_done_is_not_given_back_one_by_one_when_the_page_is_closed(store, handlers):
    store.create_project(ONE_EACH)
    fill(store, 5, segments=SHORT)
    ada = by(store, "ada")
    view = handlers.start(ada)
    for _ in range(3):
        view = submit(handlers, view, ada)
    name, items = handlers.open[ada.session_hash]
    assert (name, [*items]) == ("ada", [item_of(view)])


def test_nobody_practises_more_than_wanted_because_the_next_is_fetched_ahead(store, handlers):
    store.create_project(dataclasses.replace(ONE_EACH, practice=1))
    fill(store, 2, segments=SHORT)
    fill(store, 3, ItemPurpose.PRACTICE, segments=SHORT)
    ada = by(store, "ada")
    view = handlers.start(ada)
    assert "for practice;" in view.learnt
    prepare(handlers, view, ada)
    told = submit(handlers, view, ada)
    assert "1 of 1 right" in told.learnt
    assert "for work" in handlers.submit("one-each", told.token, None, ada).heading


def test_a_page_that_shows_nothing_fetches_nothing(store, handlers):
    store.create_project(ONE_EACH)
    ada = by(store, "ada")
    prepare(handlers, handlers.start(ada), ada)
    handlers.prepare("one-each", None, ada)
    handlers.prepare("one-each", "nonsense", ada)
    assert handlers.ahead == {}
