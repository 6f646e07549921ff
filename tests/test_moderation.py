"""Moderation: reports, drawings hidden many at once, words that are not drawn, whichever letters they have."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from test_annotations_samples import aha

from annotations.auth import accounts
from annotations.db.administration_tables import BlockedWordRow
from annotations.errors import NotFoundError, PromptBlockedError
from annotations.moderation.blocked_words import block, blocked_words, check_blocked_words
from annotations.moderation.reports import MOST_OPEN, dismiss, open_reports, report
from annotations.schema.project import Role
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio.auth.session_cookie import COOKIE, new_session
from studio.gallery.page import reported
from studio.inference.generator import Generator
from studio.moderation.page import ModerationHandlers
from studio.settings import Mode, Settings

HOSTILE = "<img src=q onerror=x>"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        yield store


@pytest.fixture
def page(store: Store) -> ModerationHandlers:
    for name, role in (("ada", Role.ADMIN), ("bob", Role.REVIEWER)):
        accounts.add(store, name, role, "a long enough one")
    return ModerationHandlers(store, Settings(mode=Mode.PUBLIC))


def asked_by(store: Store, name: str) -> SimpleNamespace:
    return SimpleNamespace(headers={"cookie": f"{COOKIE}={new_session(store, accounts.person(store, name))}"})


def test_a_report_is_listed_until_an_admin_has_looked(store: Store) -> None:
    ids = [store.save(*aha(number), owner="visitor") for number in range(3)]
    report(store, ids[0], by="visitor", note="blood")
    report(store, ids[1], by="visitor")
    report(store, ids[0], by="visitor")
    assert [(each.trajectory_id, each.times, each.notes) for each in open_reports(store)] == [
        (ids[0], 2, ("blood",)),
        (ids[1], 1, ()),
    ]
    seen = {each.trajectory_id: each.last for each in open_reports(store)}
    report(store, ids[0], by="visitor", note="more blood")
    assert dismiss(store, {ids[0]: seen[ids[0]]}, by="ada") == [ids[0]] and open_reports(store)[0].times == 3
    dismiss(store, {ids[0]: open_reports(store)[0].last}, by="ada")
    store.hide(ids[1], "ada")
    assert open_reports(store) == []
    for _ in range(MOST_OPEN + 3):
        report(store, ids[0], by="visitor")
    assert open_reports(store)[0].times == MOST_OPEN
    with pytest.raises(NotFoundError):
        report(store, ids[1], by="visitor")
    assert 'class="wrong"' in reported(store, "no such", "", "visitor")


@pytest.mark.parametrize("prompt", ["a BLOODY cat", "a ｂｌｏｏｄｙ cat", "bl\u200boody", "a blооdy cat", "(bloody)"])
def test_a_blocked_word_is_found_however_it_is_written(store: Store, prompt: str) -> None:
    block(store, ["bloody", "two words"], by="ada")
    with pytest.raises(PromptBlockedError, match="bloody"):
        check_blocked_words(store, prompt)


def test_other_words_are_drawn_and_what_is_unblocked_too(store: Store) -> None:
    block(store, ["cat", "two words"], by="ada")
    check_blocked_words(store, "a caterpillar, two big words")
    with pytest.raises(PromptBlockedError):
        check_blocked_words(store, "two  words")
    assert block(store, ["dog", " ", "dog"], by="ada") == blocked_words(store) == ["dog"]
    check_blocked_words(store, "a cat")
    with store.database.reading() as session:
        assert session.query(BlockedWordRow).count() == 5  # append-only: two, one more, two taken back


def test_a_prompt_with_a_blocked_word_is_not_drawn(store: Store, tiny: Janus) -> None:
    block(store, ["cat"], by="ada")
    with pytest.raises(PromptBlockedError):
        next(Generator(JanusBackend(tiny), store).stream("a cat", 0, 1, owner="visitor"))


def test_an_admin_hides_many_at_once_and_nobody_else_does(store: Store, page: ModerationHandlers) -> None:
    ids = [store.save(*aha(number, prompt=HOSTILE), owner="visitor") for number in range(3)]
    report(store, ids[2], by="visitor", note=HOSTILE)
    ada, bob = asked_by(store, "ada"), asked_by(store, "bob")
    shown = page.start(ada)
    assert HOSTILE not in shown.reports and HOSTILE not in shown.found and "&lt;img" in shown.reports
    for nothing in ("[]", "", "no list"):
        assert "Choose" in page.hide(nothing, "", ada).note and "Choose" in page.dismiss(nothing, "", {}, ada).note
    shown = page.hide(json.dumps([ids[0], ids[2], ids[2]]), "", ada)
    assert "2 drawings are hidden" in shown.note and shown.hidden.count("<img") == 2
    assert [each.id for each in store.trajectories()] == [ids[1]]
    assert page.block("one\n\ntwo", "", (), ada).words == "one\ntwo"
    for call in (page.start, lambda r: page.search("", r), lambda r: page.hide(json.dumps(ids), "", r)):
        with pytest.raises(gr.Error):
            call(bob)
    for call in (
        lambda r: page.dismiss(json.dumps(ids), "", {}, r),
        lambda r: page.block("", "", (), r),
    ):
        with pytest.raises(gr.Error):
            call(bob)
    assert store.visible([ids[1]]) == {ids[1]}


def test_two_admins_who_change_the_blocked_words_keep_each_others(store: Store, page: ModerationHandlers) -> None:
    block(store, ["cat", "dog"], by="ada")
    ada = asked_by(store, "ada")
    read = page.start(ada).words_read  # on both pages
    assert page.search("cat", ada).words == page.search("cat", ada).words_read == gr.skip()  # what is typed stays
    assert page.block("cat\ndog\nowl", "", read, ada).words == "cat\ndog\nowl"
    assert page.block("cat\nfox", "", read, ada).words == "cat\nfox\nowl"  # takes out the dog
    assert page.block("cat\ndog\nowl", "", read, ada).words == "cat\nfox\nowl"  # which this one never touched


def test_what_was_reported_again_since_the_page_was_read_stays_listed(store: Store, page: ModerationHandlers) -> None:
    id = store.save(*aha(0), owner="visitor")
    report(store, id, by="visitor")
    ada = asked_by(store, "ada")
    seen = page.start(ada).last_reports
    report(store, id, by="visitor", note="look again")
    told = page.dismiss(json.dumps([id]), "", seen, ada)
    assert "reported again" in told.note and "look again" in told.reports
    assert "no longer listed" in page.dismiss(json.dumps([id]), "", told.last_reports, ada).note and not open_reports(
        store
    )
