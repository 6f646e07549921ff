"""Signing in by the Hub, as a browser does it, against a provider that speaks the real protocol on this machine."""

import json
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import gradio as gr
import httpx2
import pytest
from hub_provider import Provider, providing
from joserfc.jwk import RSAKey
from pressing import Page
from running_app import free_port
from test_annotations_samples import aha

from annotations.auth import accounts
from annotations.errors import PersonError
from annotations.schema.project import Role
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio.auth.hub_login import LOGIN_COOKIE, Hub, hub_of
from studio.auth.page import form
from studio.auth.session_cookie import COOKIE, person_of
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import start
from studio.settings import Mode, Settings, SettingsError, settings_from

ADA = {"sub": "1", "name": "Ada L.", "preferred_username": "Ada", "orgs": []}
EVE = {"sub": "2", "name": "Eve", "preferred_username": "eve", "orgs": [{"sub": "9", "preferred_username": "My-Lab"}]}
BOSS = {"sub": "3", "name": "Boss", "preferred_username": "boss", "orgs": EVE["orgs"]}
STRANGER = {"sub": "4", "name": "Ada", "preferred_username": "ada2", "orgs": [{"preferred_username": "my-lab-2"}]}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing(Provider()) as provider:
        yield provider


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("data")) as store:
        trajectory, pictures = aha(0, id="first")
        store.save(trajectory, pictures, owner="visitor")
        yield store


@pytest.fixture(scope="module")
def studio(tiny: Janus, store: Store, provider: Provider) -> Iterator[gr.Blocks]:
    allowed = {"annotators": "ada, my-lab", "admins": ["boss"]}
    settings = replace(settings_from(allowed), mode=Mode.PUBLIC, port=free_port())
    provider.redirects = {f"http://127.0.0.1:{settings.port}/login/callback"}
    demo = start(settings, store, Checkpoints(Generator(JanusBackend(tiny), store)), hub_of(provider.environment))
    yield demo
    demo.close()


@pytest.fixture
def client(studio: gr.Blocks) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{studio.server_port}", timeout=60) as client:
        yield client


def sign_in(client: httpx2.Client, provider: Provider, user: dict | None, to: str = "annotate") -> str:
    """Go to the Hub and come back; the address where that ends, without the studio's own pages being loaded."""
    provider.user = user
    answer = client.get("/login/huggingface", params={"to": to})
    while answer.is_redirect and "sign-in" not in answer.headers["location"]:
        there = answer.next_request.url
        if there.path not in ("/oauth/authorize", "/login/callback"):
            return there.path
        answer = client.get(there)
    return answer.headers.get("location", str(answer.status_code))


def test_somebody_on_the_list_comes_back_signed_in_and_may_annotate(client, studio, store, provider):
    assert sign_in(client, provider, ADA) == "/annotate"
    assert person_of(store, client.cookies[COOKIE]).to_dict() | {"created_at": ""} == {
        "name": "ada@huggingface.co",
        "role": "annotator",
        "created_at": "",
        "deactivated_at": None,
    }
    page = Page(client, "annotate")
    page.open()
    assert "two apples" in json.dumps(page.shown)
    assert not provider.codes and not provider.tokens  # each was used, once


def test_members_of_an_organisation_on_the_list_get_its_role_and_the_highest_role_counts(client, store, provider):
    assert sign_in(client, provider, EVE) == "/annotate"
    assert person_of(store, client.cookies[COOKIE]).role is Role.ANNOTATOR
    assert sign_in(client, provider, BOSS, "datasets") == "/datasets"
    assert person_of(store, client.cookies[COOKIE]).role is Role.ADMIN


def test_strangers_are_told_so_and_have_no_account(client, store, provider):
    assert sign_in(client, provider, STRANGER) == "../sign-in?said=stranger&to=annotate"
    assert COOKIE not in client.cookies
    assert "ada2@huggingface.co" not in [person.name for person in accounts.people(store)]
    assert "not among those" in form("stranger", "annotate", by_hub=True)


def test_who_declines_and_a_hub_that_is_down_lead_back_to_the_form(client, provider):
    assert sign_in(client, provider, None) == "../sign-in?said=hub&to=annotate"
    provider.broken = True
    try:
        assert sign_in(client, provider, ADA) == "../sign-in?said=hub&to=annotate"
    finally:
        provider.broken = False
    assert COOKIE not in client.cookies


def test_an_answer_is_good_only_in_the_browser_that_asked_and_only_once(client, studio, provider):
    provider.user = ADA
    away = client.get("/login/huggingface", params={"to": "annotate"}).headers["location"]
    back = httpx2.get(away).headers["location"]
    with httpx2.Client(base_url=client.base_url, timeout=60) as other:
        assert "said=hub" in other.get(back).headers["location"]  # it has asked for nothing
        other.get("/login/huggingface")
        assert "said=hub" in other.get(back).headers["location"]  # it has asked for something else
        assert COOKIE not in other.cookies
    kept = dict(client.cookies)
    assert client.get(back).headers["location"] == "../annotate"
    with httpx2.Client(base_url=client.base_url, timeout=60, cookies=kept) as again:
        assert "said=hub" in again.get(back).headers["location"]  # the code is used up


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": {"nonce": "another login's"}},
        {"claims": {"aud": "another client"}},
        {"claims": {"iss": "https://elsewhere.example"}},
        {"claims": {"sub": "2"}},
        {"claims": {"exp": 1}},
        {"signing": RSAKey.generate_key(2048)},
    ],
    ids=lambda wrong: str([*wrong.get("claims", wrong)][0]),
)
def test_an_id_token_that_is_not_the_hubs_for_this_login_signs_nobody_in(client, studio, provider, wrong):
    for name, value in wrong.items():
        setattr(provider, name, value)
    try:
        assert "said=hub" in sign_in(client, provider, ADA)
    finally:
        provider.claims, provider.signing = {}, None
    assert COOKIE not in client.cookies


def test_behind_https_the_cookies_of_a_login_are_sent_over_nothing_else(client, studio, provider):
    provider.user = ADA
    https = {"X-Forwarded-Proto": "https"}
    away = client.get("/login/huggingface", headers=https)
    assert "secure" in away.headers["set-cookie"].lower()
    state = {LOGIN_COOKIE: away.headers["set-cookie"].partition(";")[0].partition("=")[2]}
    back = httpx2.get(away.headers["location"]).headers["location"]
    with httpx2.Client(timeout=60, cookies=state) as browser:
        cookies = browser.get(back, headers=https).headers.get_list("set-cookie")
    assert len(cookies) == 2 and all("; secure" in cookie.lower() for cookie in cookies)


def test_the_way_to_the_hub_hides_the_secret_and_leads_to_no_page_of_somebody_elses_choice(client, provider):
    answer = client.get("/login/huggingface", params={"to": "//elsewhere.example"})
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert set(asked) == {
        *("response_type", "client_id", "redirect_uri", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method"),
    }
    assert "elsewhere" not in answer.headers["location"] + answer.headers["set-cookie"]
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert sign_in(client, provider, ADA, "//elsewhere.example") == "/"


def test_a_deactivated_account_and_a_local_one_of_the_same_name_are_not_opened(client, store, provider):
    assert sign_in(client, provider, EVE) == "/annotate"
    session = client.cookies[COOKIE]
    accounts.deactivate(store, "eve@huggingface.co")
    assert person_of(store, session) is None
    assert "said=stranger" in sign_in(client, provider, EVE)
    accounts.activate(store, "eve@huggingface.co")
    accounts.add(store, "lou@huggingface.co", Role.ADMIN, "a long enough one")
    with pytest.raises(PersonError, match="opened by a password"):
        accounts.hub_account(store, "lou@huggingface.co", Role.ANNOTATOR)


def test_another_start_signs_people_of_the_hub_out_since_the_lists_may_be_others(client, store, provider):
    assert sign_in(client, provider, ADA) == "/annotate"
    session = client.cookies[COOKIE]
    accounts.sign_out_from_hub(store)
    assert person_of(store, session) is None


def test_on_a_space_people_come_back_to_its_own_address_over_https():
    spaces = {
        "OPENID_PROVIDER_URL": "https://huggingface.co",
        "OAUTH_CLIENT_ID": "c",
        "OAUTH_CLIENT_SECRET": "topsecret",
    }
    hub = hub_of(spaces | {"SPACE_HOST": "me-studio.hf.space,studio.example.org"})
    assert hub.callback_url("http://10.0.0.1/") == "https://me-studio.hf.space/login/callback"
    assert "topsecret" not in repr(hub)
    assert hub_of({}) is None and hub_of({"SPACE_HOST": "x"}) is None


def test_lists_without_a_hub_are_an_error_in_mode_public_and_of_no_account_in_mode_local(tiny, store):
    checkpoints = Checkpoints(Generator(JanusBackend(tiny), store))
    with pytest.raises(SettingsError, match="on a Space only"):
        start(Settings(mode=Mode.PUBLIC, annotators="ada"), store, checkpoints)
    assert Settings(annotators="ada").names_people_of_hub
    assert Settings().role_on_hub({"ada"}) is None
    assert Settings(annotators="", admins=" , ").role_on_hub({""}) is None


def test_the_way_in_is_shown_before_anybody_has_an_account(client, studio, provider):
    page = Page(client, "")
    page.open()
    assert 'href="sign-in"' in page.value("masthead")
    page = Page(client, "sign-in")
    page.open()
    assert 'href="login/huggingface?to="' in page.value("sign-in")


def test_without_lists_the_page_says_nothing_of_the_hub():
    assert "Hugging Face" not in form("", "", by_hub=False)
    assert Hub("https://huggingface.co", "c", "s").callback_url("http://x/") == "http://x/login/callback"


def test_the_name_that_an_organisation_is_shown_as_opens_nothing(client, store, provider):
    pretender = {"sub": "8", "preferred_username": "mal", "orgs": [{"sub": "77", "name": "My-Lab"}]}
    assert "said=stranger" in sign_in(client, provider, pretender)
    assert "said=hub" in sign_in(client, provider, {name: value for name, value in EVE.items() if name != "sub"})
