"""An annotator at work off this machine: the real app in mode public, a real browser, the keyboard alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from running_app import Server
from sqlalchemy import func, select
from test_annotations_samples import aha

from annotations.annotation import Status
from annotations.people import add
from annotations.project import Role
from annotations.store import open_store
from annotations.tables import LeaseRow

PATIENCE = 120_000  # ms that a browser waits for anything; the machine may be busy
PASSWORD = "a long enough one"


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    with open_store(folder / "data") as store:
        add(store, "ada", Role.ANNOTATOR, PASSWORD)
        for number in range(7):
            trajectory, pictures = aha(number, prompt=f"{number} apples")
            store.save(trajectory, pictures, owner="visitor")
    server = Server(folder / "data", tiny_checkpoint, folder / "app.log", mode="public")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def sign_in(page: Page, server: Server, password: str = PASSWORD) -> None:
    """From the page that refuses a visitor, through the form, by keyboard."""
    page.goto(f"{server.url}/annotate")
    page.click("#gate a.button")
    page.locator("input[name=name]").press_sequentially("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def submitted(server: Server) -> int:
    with server.store() as store:
        return len([a for a in store.annotations(annotator="ada", status=Status.SUBMITTED) if a.segment in (2, 4)])


def test_a_visitor_is_shown_the_way_in_and_nothing_else(page: Page, server: Server):
    for path in ("annotate", "datasets"):
        page.goto(f"{server.url}/{path}")
        expect(page.locator("#gate")).to_contain_text("not open to visitors")
        assert "apples" not in page.content()
        expect(page.locator("#annotate-submit, #datasets-export")).to_have_count(0)
    expect(page.locator(".masthead .account")).to_have_text("Sign in")
    expect(page.locator(".masthead nav")).not_to_contain_text("Annotate")


def test_a_wrong_password_is_said(page: Page, server: Server):
    sign_in(page, server, "not this one")
    expect(page.locator(".sign-in .wrong")).to_contain_text("do not open an account")


def test_an_annotator_completes_ten_by_keyboard_alone_and_takes_one_back(page: Page, server: Server):
    sign_in(page, server)
    expect(page.locator("#annotate-submit")).to_be_visible()
    expect(page.locator(".masthead .account")).to_contain_text("ada")
    expect(page.locator(".masthead nav")).to_contain_text("Annotate")
    expect(page.locator(".masthead nav")).not_to_contain_text("Datasets")
    assert page.evaluate("document.documentElement.scrollHeight") <= 900
    for done in range(10):
        token = page.locator("#annotate-token :is(input, textarea)").input_value()
        page.keyboard.press("y")
        expect(page.locator("#annotate-right input").first).to_be_checked()
        page.keyboard.press("4")
        expect(page.locator("#annotate-rating input").nth(3)).to_be_checked()
        page.keyboard.press("Control+Enter")
        expect(page.locator("#annotate-token :is(input, textarea)")).not_to_have_value(token)
        expect(page.locator("#annotate-right input:checked")).to_have_count(0)
        assert submitted(server) == done + 1
    page.keyboard.press("u")
    expect(page.locator("#annotate-note")).to_contain_text("Taken back")
    expect(page.locator("#annotate-right input").first).to_be_checked()
    assert submitted(server) == 9
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-prompt h1")).to_have_text("5 apples")
    assert submitted(server) == 10
    page.keyboard.press("g")
    expect(page.locator("#annotate-guidelines")).to_contain_text("Say whether")
    assert page.locator("#annotate-guidelines strong").first.is_visible()
    page.keyboard.press("g")
    expect(page.locator("#annotate-guidelines")).to_be_hidden()
    page.keyboard.press("Shift+S")
    expect(page.locator("#annotate-why :is(input, textarea)")).to_be_focused()
    page.keyboard.type("too dark")
    page.keyboard.press("Enter")
    expect(page.locator("#annotate-prompt h1")).to_have_text("6 apples")
    with server.store() as store:
        assert "too dark" in {a.answers.get("skip_reason") for a in store.annotations(status=Status.DISCARDED)}


def test_what_is_typed_is_kept_and_a_closed_page_gives_its_item_back(page: Page, server: Server):
    sign_in(page, server)
    page.wait_for_selector("#annotate-submit")
    page.keyboard.press("n")
    expect(page.locator("#annotate-reason textarea")).to_be_focused()
    page.keyboard.type("half a reason")
    with server.store() as store:
        for _ in range(240):
            kept = [dict(a.answers) for a in store.annotations(status=Status.UNFINISHED)]
            if any(a.get("reason_correction") == "half a reason" for a in kept):
                break
            page.wait_for_timeout(250)
        assert {"verdict_right": "no", "reason_correction": "half a reason"} in kept
    page.reload()
    expect(page.locator("#annotate-reason textarea")).to_have_value("half a reason")
    expect(page.locator("#annotate-right input").nth(1)).to_be_checked()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator(".masthead .account")).to_have_text("Sign in")
    page.goto(f"{server.url}/annotate")
    expect(page.locator("#gate")).to_contain_text(re.compile("Sign in"))
    held = select(func.count()).select_from(LeaseRow).where(LeaseRow.outcome.is_(None))
    with server.store() as store:
        for _ in range(240):
            with store.database.reading() as session:
                if session.scalar(held) == 0:
                    return
            page.wait_for_timeout(250)
    pytest.fail("the item is still held, although no page shows it")
