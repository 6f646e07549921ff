"""Invitations that open once, and the People page: roles, signing out everywhere, a trail of who changed what."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import pytest

from annotations.auth import accounts, sessions
from annotations.auth.changes import account_changes
from annotations.auth.invitations import accept, invitation, invite, open_invitations, withdraw
from annotations.errors import ConflictError, NotFoundError, PersonError
from annotations.schema.project import Role
from annotations.store.store import Store, now_utc, open_store
from studio.auth.page import invited
from studio.auth.session_cookie import COOKIE, new_session
from studio.people.page import PeopleHandlers, PeopleView
from studio.settings import Mode, Settings

SECRET = "a long enough one"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        for name, role in (("ada", Role.ADMIN), ("bob", Role.REVIEWER)):
            accounts.add(store, name, role, SECRET)
        yield store


def asked_by(store: Store, name: str) -> SimpleNamespace:
    cookie = f"{COOKIE}={new_session(store, accounts.person(store, name))}"
    return SimpleNamespace(headers={"cookie": cookie, "referer": "https://studio.example/here/people"})


@pytest.fixture
def page(store: Store) -> PeopleHandlers:
    return PeopleHandlers(store, Settings(mode=Mode.PUBLIC))


def test_an_invitation_makes_one_account_in_its_role(store: Store) -> None:
    token = invite(store, Role.REVIEWER, by="ada")
    assert invitation(store, token).created_by == "ada"
    with pytest.raises(ConflictError):
        accept(store, token, "Bob", SECRET)
    assert accept(store, token, "eve", SECRET).role is Role.REVIEWER
    assert open_invitations(store) == []
    with pytest.raises(PersonError, match="was used"):
        accept(store, token, "mallory", SECRET)


def test_an_invitation_that_is_forged_withdrawn_or_late_opens_nothing(store: Store) -> None:
    token = invite(store, Role.ADMIN, by="ada")
    for forged in ("", "1", token[:-1], token[:-1] + "é", f"{token}x", "x" * 10_000):
        with pytest.raises(PersonError, match="not valid"):
            invitation(store, forged)
    withdraw(store, open_invitations(store)[0].id, by="ada")
    with pytest.raises(PersonError, match="withdrawn"):
        invitation(store, token)
    with pytest.raises(NotFoundError):
        withdraw(store, 1, by="ada")
    late = invite(store, Role.ADMIN, by="ada", lasts=timedelta(days=1))
    store.clock = lambda: now_utc() + timedelta(days=2)
    with pytest.raises(PersonError, match="expired"):
        accept(store, late, "eve", SECRET)


def test_an_admin_invites_changes_and_signs_out_through_the_page(store: Store, page: PeopleHandlers) -> None:
    ada = asked_by(store, "ada")
    link, *shown = page.invite("annotator", 3, "", ada)
    assert link.startswith("https://studio.example/here/sign-in?invitation=")
    token = parse_qs(urlsplit(link).query)["invitation"][0]
    accept(store, token, "eve", SECRET)
    cookie = new_session(store, accounts.person(store, "eve"))
    assert "changed" in page.set_role("eve", "reviewer", ada).note
    assert accounts.person(store, "eve").role is Role.REVIEWER
    assert "Signed out" in page.sign_out("eve", ada).note
    assert sessions.holder(store, cookie) is None
    for _ in range(2):  # as by another admin, whose page is older
        assert "opens nothing" in page.deactivate("eve", ada).note
        assert not accounts.person(store, "eve").active
    for _ in range(2):
        assert "is active" in page.activate("eve", ada).note
        assert accounts.person(store, "eve").active
    assert "made" in page.add("dan", "annotator", SECRET, ada).note
    assert [(each.by, each.act, each.person) for each in account_changes(store)[:9]] == [
        ("ada", "added", "dan"),
        *[("ada", act, "eve") for act in ("activated", "activated", "deactivated", "deactivated", "signed out")],
        ("ada", "role", "eve"),
        ("invited by ada", "added", "eve"),
        ("ada", "invited", ""),
    ]


def test_an_invitation_is_withdrawn_by_whom_it_is_for_and_its_date(store: Store, page: PeopleHandlers) -> None:
    ada = asked_by(store, "ada")
    store.clock = lambda: datetime(2026, 3, 3, 14, 5, tzinfo=UTC)
    page.invite("annotator", 3, " <i>eve@example.org ", ada)
    link, *shown = page.invite("guest", 3, "", ada)
    shown = PeopleView(*shown)
    words = [
        ("nobody named, guest, invited by ada on 3 Mar 2026, 14:05 UTC", 2),
        ("<i>eve@example.org, annotator, invited by ada on 3 Mar 2026, 14:05 UTC", 1),
    ]
    assert shown.opened["choices"] == words and shown.opened["visible"]
    assert "&lt;i&gt;eve@example.org" in shown.invited and "nobody named" in shown.invited
    assert "opens nothing any more" in page.withdraw(1, ada).note
    assert [each.invitee for each in open_invitations(store)] == [""]
    assert not page.withdraw(2, ada).opened["visible"]


def test_what_cannot_be_is_said_and_changes_nothing(store: Store, page: PeopleHandlers) -> None:
    ada = asked_by(store, "ada")
    before = account_changes(store)
    for shown in (
        page.set_role("ada", "annotator", ada),
        page.activate("ada", ada),
        page.deactivate("ada", ada),
        page.set_role("nobody", "annotator", ada),
        page.set_role("bob", "emperor", ada),
        page.add("eve", "admin", "short", ada),
        page.add("<b>", "admin", SECRET, ada),
        page.withdraw(None, ada),
        page.withdraw(7, ada),
        PeopleView(*page.invite("admin", 1, "x" * 121, ada)[1:]),
        PeopleView(*page.invite("admin", -1, "", ada)[1:]),
    ):
        assert 'class="wrong"' in shown.note
    assert account_changes(store) == before


def test_only_an_admin_may_call_any_of_it(store: Store, page: PeopleHandlers) -> None:
    bob = asked_by(store, "bob")
    for call in (
        lambda: page.start(bob),
        lambda: page.add("x", "admin", SECRET, bob),
        lambda: page.set_role("ada", "annotator", bob),
        lambda: page.sign_out("ada", bob),
        lambda: page.activate("ada", bob),
        lambda: page.deactivate("ada", bob),
        lambda: page.invite("admin", 1, "", bob),
        lambda: page.withdraw(1, bob),
    ):
        with pytest.raises(gr.Error):
            call()


def test_the_form_of_an_invitation_escapes_and_says_what_was_wrong(store: Store) -> None:
    token = invite(store, Role.ANNOTATOR, by="<img src=q onerror=x>")
    shown = invited(store, token, "taken")
    assert "&lt;img" in shown and "<img" not in shown
    assert "Choose another" in shown
    assert 'role="alert"' in invited(store, "<script>", "") and "<script>" not in invited(store, "<script>", "")
