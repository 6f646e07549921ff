"""Who may do what off this machine, over real HTTP: the form, its cookie, and every handler past its page."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import gradio as gr
import httpx2
import pytest
from running_app import free_port
from sqlalchemy import func, select
from test_annotations_samples import aha

from annotations.auth import accounts
from annotations.auth.accounts import add
from annotations.auth.invitations import invite
from annotations.db.tables import SessionRow
from annotations.queue import assignment
from annotations.schema.project import Role
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio.auth.identity import NOBODY, identity_of
from studio.auth.session_cookie import COOKIE, new_session, person_of
from studio.datasets.handlers import ExportForm
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import start
from studio.settings import Mode, Settings

PASSWORD = "a long enough one"
OPEN = ("draw", "image", "compare", "gallery")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("data")) as store:
        for name, role in (("ada", Role.ANNOTATOR), ("bob", Role.ADMIN), ("eve", Role.VISITOR)):
            add(store, name, role, PASSWORD)
        trajectory, pictures = aha(0, id="first")
        store.save(trajectory, pictures, owner="visitor")
        yield store


@pytest.fixture(scope="module")
def studio(tiny: Janus, store: Store) -> Iterator[gr.Blocks]:
    settings = Settings(mode=Mode.PUBLIC, port=free_port())
    demo = start(settings, store, Checkpoints(Generator(JanusBackend(tiny), store)))
    yield demo
    demo.close()


@pytest.fixture
def client(studio: gr.Blocks) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{studio.server_port}", timeout=60) as client:
        yield client


def sign_in(client: httpx2.Client, name: str, password: str = PASSWORD, to: str = "annotate", **headers: str):
    return client.post("/enter", data={"name": name, "password": password, "to": to}, headers=headers)


def handlers(studio: gr.Blocks, page: str) -> dict[str, int]:
    """Those of a page that are written in Python, by name."""
    return {
        fn.fn.__name__: id
        for id, fn in studio.fns.items()
        if fn.page == page
        and fn.fn
        and getattr(fn.fn, "__module__", "") in ("studio.annotate.handlers", "studio.datasets.handlers")
    }


def through_the_queue(client: httpx2.Client, studio: gr.Blocks, fn_index: int, data: list) -> dict:
    """Call a handler as a page does; its last message."""
    session = uuid4().hex
    asked = {"data": data, "fn_index": fn_index, "session_hash": session, "trigger_id": None}
    client.post("/gradio_api/queue/join", json=asked).raise_for_status()
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if message.get("msg") == "process_completed":
                return message
    raise AssertionError("the queue said nothing")


def values(studio: gr.Blocks, fn_index: int) -> list:
    return [None for _ in studio.fns[fn_index].inputs]


def test_a_name_and_a_password_open_annotate_and_the_cookie_is_out_of_reach_of_scripts(client: httpx2.Client):
    answer = sign_in(client, "ada")
    assert (answer.status_code, answer.headers["location"]) == (303, "annotate")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie
    assert "secure" not in cookie  # this is plain HTTP
    assert PASSWORD not in cookie


def test_behind_https_the_cookie_is_sent_over_nothing_else(client: httpx2.Client):
    assert "secure" in sign_in(client, "ada", **{"X-Forwarded-Proto": "https"}).headers["set-cookie"].lower()


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "not this one"), ("nobody", PASSWORD), ("", ""), ("a" * 999, "x")]
)
def test_a_wrong_password_and_a_name_that_nobody_has_are_answered_alike(client, name, password):
    answer = sign_in(client, name, password)
    assert answer.headers["location"] == "sign-in?said=wrong&to=annotate"
    assert "set-cookie" not in answer.headers


def test_people_who_sign_in_at_the_same_moment_are_not_in_each_others_way(client: httpx2.Client):
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: sign_in(client, "ada"), range(12)))
    assert {answer.headers["location"] for answer in answers} == {"annotate"}


def test_too_many_tries_are_said_to_be_too_many(client: httpx2.Client):
    said = [sign_in(client, "eve", "not this one").headers["location"] for _ in range(6)]
    assert "said=wrong" in said[0] and "said=many" in said[-1]


def test_a_form_of_another_site_or_one_that_is_too_long_is_refused(client: httpx2.Client):
    assert sign_in(client, "ada", **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert sign_in(client, "ada", Origin="http://elsewhere.example").status_code == 403
    assert client.post("/enter", content=b"name=" + b"a" * 100_000).status_code == 403
    assert client.post("/leave", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_it_leads_to_no_address_of_somebody_elses_choice(client: httpx2.Client):
    assert sign_in(client, "ada", to="http://elsewhere.example").headers["location"] == "./"


def test_signing_out_takes_the_cookie_away(client: httpx2.Client):
    sign_in(client, "ada")
    assert COOKIE in client.cookies
    assert client.post("/leave").headers["location"] == "./"
    assert COOKIE not in client.cookies


def test_a_copy_of_the_cookie_is_worth_nothing_after_signing_out_and_other_browsers_stay(client, studio, store):
    add(store, "fay", Role.ANNOTATOR, PASSWORD)
    undo = handlers(studio, "annotate")["undo"]

    def let_in(cookie: str) -> bool:
        with httpx2.Client(base_url=client.base_url, timeout=60, cookies={COOKIE: cookie}) as other:
            return through_the_queue(other, studio, undo, [None])["success"]

    sign_in(client, "fay")
    copied = client.cookies[COOKIE]
    elsewhere = new_session(store, accounts.person(store, "fay"))
    assert let_in(copied) and let_in(elsewhere)
    client.post("/leave")
    assert not let_in(copied)
    assert let_in(elsewhere)
    accounts.set_password(store, "fay", "another long one")
    assert not let_in(elsewhere)
    sign_in(client, "fay", "another long one")
    again = client.cookies[COOKIE]
    assert let_in(again)
    accounts.sign_out(store, "fay")
    assert not let_in(again)


def test_another_hash_of_the_same_password_signs_nobody_out(store):
    add(store, "gus", Role.ANNOTATOR, PASSWORD)
    session = new_session(store, accounts.person(store, "gus"))
    accounts.rehash(store, "gus", PASSWORD)
    assert person_of(store, session).name == "gus"


def test_the_database_holds_no_cookie(store):
    session = new_session(store, accounts.person(store, "ada"))
    with store.database.reading() as rows:
        assert rows.scalar(select(func.count()).select_from(SessionRow).where(SessionRow.id == session)) == 0
        assert rows.scalar(select(func.count()).select_from(SessionRow)) > 0


@pytest.mark.parametrize("way", ["run", "queue"])
def test_a_visitor_is_refused_by_every_handler_over_http(client, studio, store, way):
    found = handlers(studio, "annotate") | handlers(studio, "datasets")
    assert {"submit", "save", "skip", "undo", "choose", "alive", "survey_all", "look", "export", "start"} <= set(found)
    for name, fn_index in found.items():
        if name == "leave":
            continue
        data = values(studio, fn_index)
        if way == "run":
            sent = {"data": data, "fn_index": fn_index, "session_hash": "s"}
            answer = client.post("/gradio_api/run/predict", json=sent)
            output, refused = answer.json(), answer.status_code != 200
        else:
            message = through_the_queue(client, studio, fn_index, data)
            output, refused = message["output"], not message["success"]
        if name == "start":  # a page that opens is told nothing
            assert "first" not in json.dumps(output) and "apples" not in json.dumps(output)
        else:
            assert refused, f"{name} answered a visitor: {output}"
    assert store.annotations() == []
    assert assignment.progress(store, "visitor").done == 0


def test_an_annotator_may_annotate_and_not_export(client: httpx2.Client, studio: gr.Blocks):
    sign_in(client, "ada")
    started = through_the_queue(client, studio, handlers(studio, "annotate")["start"], [])
    assert started["success"] and "two apples" in json.dumps(started["output"])
    count, asked = handlers(studio, "datasets")["survey_all"], [*ExportForm()]
    refused = through_the_queue(client, studio, count, asked)
    assert not refused["success"] and "admin" in refused["output"]["error"]
    sign_in(client, "bob")
    assert through_the_queue(client, studio, count, asked)["success"]


def test_an_account_that_is_deactivated_or_changed_is_out_at_once(client, studio, store):
    add(store, "dora", Role.ANNOTATOR, PASSWORD)
    undo = handlers(studio, "annotate")["undo"]

    def let_in() -> bool:
        return through_the_queue(client, studio, undo, [None])["success"]

    sign_in(client, "dora")
    assert let_in()
    accounts.deactivate(store, "dora")
    assert not let_in()
    accounts.activate(store, "dora")
    assert not let_in()  # sessions that ended stay over
    sign_in(client, "dora")
    assert let_in()
    accounts.set_role(store, "dora", Role.VISITOR)
    assert not let_in()
    accounts.set_role(store, "dora", Role.ANNOTATOR)
    accounts.set_password(store, "dora", "another long one")
    assert not let_in()


def test_a_session_that_was_made_up_changed_or_is_too_old_opens_nothing(tmp_path: Path):
    with open_store(tmp_path / "one") as store, open_store(tmp_path / "other") as other:
        for each in (store, other):
            add(each, "ada", Role.ADMIN, PASSWORD)
        session = new_session(store, accounts.person(store, "ada"))
        assert person_of(store, session).name == "ada"
        assert person_of(other, session) is None
        for forged in (
            "",
            "x",
            ".",
            "..",
            session[:-1],
            session + "0",
            "A" + session,
            "é.é",
            "." + "0" * 64,
            "a" * 5000,
        ):
            assert person_of(store, forged) is None, forged
        store.clock = lambda: datetime.now(UTC) + timedelta(days=15)
        assert person_of(store, session) is None


def test_a_request_without_anything_is_of_a_visitor(tmp_path: Path):
    with open_store(tmp_path) as store:
        for headers in ({}, {"cookie": ""}, {"cookie": f"{COOKIE}="}, {"cookie": "a=b; ; =; x"}):
            request = gr.Request(headers=headers)
            assert identity_of(request, Settings(mode=Mode.PUBLIC), store) == NOBODY


def test_an_invitation_makes_an_account_that_is_signed_in_at_once(client: httpx2.Client, store: Store):
    token = invite(store, Role.ANNOTATOR, by="bob")
    form = {"invitation": token, "name": "newcomer", "password": PASSWORD}
    assert client.post("/join", data=form, headers={"Origin": "http://elsewhere.example"}).status_code == 403
    refused = client.post("/join", data=form | {"name": "ada"})
    assert "said=taken" in refused.headers["location"] and "set-cookie" not in refused.headers
    joined = client.post("/join", data=form)
    assert (joined.status_code, joined.headers["location"]) == (303, "./")
    assert person_of(store, client.cookies[COOKIE]).name == "newcomer"
    assert "set-cookie" not in client.post("/join", data=form | {"name": "another"}).headers
