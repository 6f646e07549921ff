"""Accounts, roles, passwords, and how often one may try."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from commands import run
from sqlalchemy import func, select, text

from annotations.auth import accounts, password_login, sessions
from annotations.auth.password_login import TRIES, TRIES_FROM, WINDOW, SignIn
from annotations.db.tables import SessionRow
from annotations.errors import ConflictError, NotFoundError, PersonError, SignInError
from annotations.people import main
from annotations.schema.project import Role
from annotations.store.store import open_store

SECRET = "correct horse battery"
HASHER = accounts.HASHER  # not the cheap one of most tests
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path, url):
    with open_store(tmp_path, url) as store:
        yield store


def test_a_password_opens_the_account_and_is_stored_as_a_hash_only(store, monkeypatch):
    for module in (accounts, password_login):
        monkeypatch.setattr(module, "HASHER", HASHER)
    accounts.add(store, "ann", Role.REVIEWER, SECRET)
    found = SignIn(store)("ann", SECRET)
    assert (found.name, found.role, found.active) == ("ann", Role.REVIEWER, True)
    with store.database.reading() as session:
        [stored] = session.scalars(text("SELECT password_hash FROM people"))
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert SECRET not in stored


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("ann", ""), ("Ann", SECRET), ("nobody", SECRET)])
def test_what_does_not_fit_is_refused_in_the_same_words(store, name, password):
    accounts.add(store, "ann", Role.ANNOTATOR, SECRET)
    with pytest.raises(SignInError, match="^this name and this password do not open an account"):
        SignIn(store)(name, password)


def test_after_a_few_wrong_tries_even_the_right_password_waits_a_moment(store):
    accounts.add(store, "ann", Role.ANNOTATOR, SECRET)
    accounts.add(store, "bob", Role.ANNOTATOR, SECRET)
    now = [NOON]
    door = SignIn(store, lambda: now[0])
    for _ in range(TRIES):
        with pytest.raises(SignInError, match="do not open"):
            door("ann", "wrong")
    with pytest.raises(SignInError, match="too many tries with a wrong password; wait 1 s"):
        door("ann", SECRET)
    assert door("bob", SECRET).name == "bob"
    now[0] -= timedelta(hours=1)  # a clock that jumps back locks nobody out
    assert door("ann", SECRET).name == "ann"
    now[0] = NOON + timedelta(seconds=1)
    assert door("ann", SECRET).name == "ann"


def test_a_pause_grows_with_each_wrong_try_and_ends(store):
    accounts.add(store, "ann", Role.ANNOTATOR, SECRET)
    now, waits = [NOON], []
    door = SignIn(store, lambda: now[0])
    for _ in range(TRIES + 8):
        began = now[0]
        while True:
            with pytest.raises(SignInError) as told:
                door("ann", "wrong", origin="192.0.2.1")
            if "do not open" in str(told.value):
                break
            now[0] += timedelta(seconds=1)
        waits.append((now[0] - began).total_seconds())
    assert waits == [0] * TRIES + [1, 2, 4, 8, 16, 30, 30, 30]
    now[0] += WINDOW
    assert door("ann", SECRET, origin="192.0.2.1").name == "ann"


def test_wrong_tries_elsewhere_lock_nobody_out(store):
    accounts.add(store, "ann", Role.ANNOTATOR, SECRET)
    accounts.add(store, "bob", Role.ANNOTATOR, SECRET)
    door = SignIn(store, lambda: NOON)
    assert door("ann", SECRET, origin="192.0.2.1").name == "ann"
    for number in range(TRIES_FROM):
        with pytest.raises(SignInError):
            door("bob", "wrong", origin=f"198.51.100.{number}")
        with pytest.raises(SignInError):
            door(f"name{number}", "wrong", origin="192.0.2.1")
    assert door("bob", SECRET, origin="192.0.2.2").name == "bob"
    assert door("ann", SECRET, origin="192.0.2.1").name == "ann"  # has signed in from there before
    with pytest.raises(SignInError, match="too many"):
        door("bob", SECRET, origin="192.0.2.1")


def test_many_names_from_one_place_are_too_many_and_many_at_once_are_no_way_round(store):
    accounts.add(store, "ann", Role.ANNOTATOR, SECRET)
    door = SignIn(store, lambda: NOON)

    def attempt(number: int) -> str:
        try:
            door(f"name{number}", "wrong", origin="192.0.2.1")
        except SignInError as error:
            return str(error)
        return "open"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(attempt, range(TRIES_FROM + 10)))
    assert sum("too many tries" in one for one in said) == 10
    assert door("ann", SECRET, origin="192.0.2.2").name == "ann"


def test_signing_in_rightly_many_times_is_no_wrong_try(store):
    accounts.add(store, "ann", Role.ANNOTATOR, SECRET)
    door = SignIn(store)
    for _ in range(TRIES + 2):
        assert door("ann", SECRET, origin="here").name == "ann"


def test_a_deactivated_account_opens_nothing_until_it_is_activated(store):
    accounts.add(store, "ann", Role.ADMIN, SECRET)
    assert not accounts.deactivate(store, "ann").active
    with pytest.raises(SignInError):
        SignIn(store)("ann", SECRET)
    accounts.activate(store, "ann")
    accounts.set_password(store, "ann", "another secret")
    assert accounts.set_role(store, "ann", Role.VISITOR).role is Role.VISITOR
    assert SignIn(store)("ann", "another secret").role is Role.VISITOR
    with pytest.raises(SignInError):
        SignIn(store)("ann", SECRET)


def test_names_and_passwords_that_cannot_be_are_refused(store):
    accounts.add(store, "ann", Role.ANNOTATOR, None)
    for name in ("ANN", "ann"):
        with pytest.raises(ConflictError, match="an account “ann” already"):
            accounts.add(store, name, Role.ANNOTATOR, SECRET)
    for name in ("", "two words", "a" * 65, "a\n"):
        with pytest.raises(PersonError, match="got the name"):
            accounts.add(store, name, Role.ANNOTATOR, SECRET)
    for password in ("short", "x" * 201):
        with pytest.raises(PersonError, match="wanted 10 to 200"):
            accounts.add(store, "bob", Role.ANNOTATOR, password)
    with pytest.raises(NotFoundError, match="no account"):
        accounts.set_role(store, "nobody", Role.ADMIN)
    with pytest.raises(SignInError):
        SignIn(store)("ann", "")  # has no password


def test_sessions_end_by_command_and_by_another_password_and_a_hash_of_the_database_opens_nothing(store):
    accounts.add(store, "ann", Role.ADMIN, SECRET)
    words = [sessions.begin(store, "ann", timedelta(hours=1)) for _ in range(3)]
    assert [sessions.holder(store, word) for word in words] == ["ann"] * 3
    sessions.end(store, words[0])
    assert [sessions.holder(store, word) for word in words] == [None, "ann", "ann"]
    accounts.sign_out(store, "ann")
    assert [sessions.holder(store, word) for word in words] == [None] * 3
    word = sessions.begin(store, "ann", timedelta(hours=1))
    with store.database.reading() as session:
        kept = list(session.scalars(select(SessionRow.id)))
    assert len(kept) == 4 and all(sessions.holder(store, one) is None for one in [*kept, "", "x" * 5000, "é"])
    accounts.set_password(store, "ann", "another secret")
    assert sessions.holder(store, word) is None
    with pytest.raises(NotFoundError):
        accounts.sign_out(store, "nobody")


def test_a_session_is_over_when_its_time_is_up_and_forgotten_later(store):
    accounts.add(store, "ann", Role.ADMIN, SECRET)
    began = store.clock()
    word = sessions.begin(store, "ann", timedelta(hours=1))
    store.clock = lambda: began + timedelta(hours=2)
    assert sessions.holder(store, word) is None
    store.clock = lambda: began + timedelta(days=40)
    sessions.begin(store, "ann", timedelta(hours=1))
    with store.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(SessionRow)) == 1


def test_a_role_may_do_what_the_lesser_ones_may():
    assert Role.ADMIN.includes(Role.REVIEWER)
    assert Role.REVIEWER.includes(Role.REVIEWER)
    assert not Role.VISITOR.includes(Role.ANNOTATOR)


def test_the_command_reads_passwords_from_standard_input_and_never_shows_them(tmp_path):
    done = run("annotations.people", "add", "ann", "--role", "admin", "--data", tmp_path, given=f"{SECRET}\n")
    assert (done.returncode, SECRET in done.stdout + done.stderr) == (0, False)
    with open_store(tmp_path) as store:
        assert SignIn(store)("ann", SECRET).role is Role.ADMIN


def test_the_command_lists_changes_and_tells_what_is_wrong(tmp_path, capsys, monkeypatch):
    def run(*arguments: str, typed: str = "") -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        return main([*arguments, "--data", str(tmp_path)])

    assert run("add", "ann", typed=f"{SECRET}\n") == 0
    assert run("role", "ann", "reviewer") == 0
    assert run("deactivate", "ann") == 0
    assert (run("sign-out", "ann"), run("sign-out", "eve")) == (0, 1)
    capsys.readouterr()
    assert run("list", "--json") == 0
    [shown] = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["role"], shown["deactivated_at"] is None) == ("ann", "reviewer", False)
    assert run("password", "eve", typed=f"{SECRET}\n") == 1
    assert run("add", "bob", typed="short\n") == 1
    assert capsys.readouterr().err.splitlines()[1].startswith("error: got a password of 5 characters")


def test_a_session_that_ended_with_its_account_stays_over_when_the_account_is_activated_again(store):
    accounts.add(store, "ann", Role.ANNOTATOR, SECRET)
    word = sessions.begin(store, "ann", timedelta(days=1))
    accounts.deactivate(store, "ann")
    accounts.activate(store, "ann")
    assert sessions.holder(store, word) is None


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0", "\u3000", "\u200b", "\u2800", "\u3164", "\u00ad", "a", "ab "])
def test_a_password_of_blanks_or_of_few_characters_is_none(store, blank):
    with pytest.raises(PersonError, match="got a password of"):
        accounts.set_password(store, "ann", (blank * 12)[:12])


def test_a_password_opens_however_a_keyboard_composes_it_and_as_it_was_stored_before(store):
    accounts.add(store, "ann", Role.ANNOTATOR, "cafe\u0301 \uff41bcdefg")
    assert SignIn(store)("ann", "caf\u00e9 abcdefg").name == "ann"
    with store.database.writing() as session:
        old = accounts.HASHER.hash("cafe\u0301 of before")
        session.execute(text("UPDATE people SET password_hash = :hash"), {"hash": old})
    assert SignIn(store)("ann", "cafe\u0301 of before").name == "ann"


def test_an_account_of_the_hub_belongs_to_whoever_it_was_whatever_they_are_called_now(store):
    ada = accounts.hub_account(store, "ada@huggingface.co", Role.ANNOTATOR, "1")
    assert accounts.hub_account(store, "ada-l@huggingface.co", Role.REVIEWER, "1").name == ada.name
    other = accounts.hub_account(store, "ada@huggingface.co", Role.ANNOTATOR, "2")  # who has taken the name since
    assert other.name != ada.name and other.name.endswith("@huggingface.co")
    assert accounts.hub_account(store, "ada@huggingface.co", Role.ANNOTATOR, "2") == other
    accounts.deactivate(store, ada.name)
    with pytest.raises(PersonError, match="deactivated"):
        accounts.hub_account(store, "another@huggingface.co", Role.ANNOTATOR, "1")


def test_an_account_of_the_hub_of_before_is_found_by_its_name_once(store):
    accounts.hub_account(store, "bo@huggingface.co", Role.ANNOTATOR)
    assert accounts.hub_account(store, "bo@huggingface.co", Role.ANNOTATOR, "7").name == "bo@huggingface.co"
    assert accounts.hub_account(store, "bob@huggingface.co", Role.ANNOTATOR, "7").name == "bo@huggingface.co"


def test_people_have_names_in_any_script_and_none_that_look_the_same(store):
    for name in ("李明", "सीमा", "محمد", "Zoe\u0308"):
        assert accounts.person(store, accounts.add(store, name, Role.ANNOTATOR, None).name).active
    for name in ("Zo\u00eb", "zo\u00eb", "李\u200d明"):
        with pytest.raises(ConflictError):
            accounts.add(store, name, Role.ANNOTATOR, None)
