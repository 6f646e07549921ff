"""Every page in a real browser, at the root of a host and below a path: nothing that it does is forbidden by the
headers that every answer has, nothing is missing, nothing is asked for elsewhere, and the console stays empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browsing import PATIENCE, faults
from playwright.sync_api import Browser
from running_app import Server
from test_browser import PAGES
from thoroughness import few

from annotations.auth.accounts import add
from annotations.schema.project import Role
from annotations.store.store import open_store
from studio.access import ROLES
from studio.auth.session_cookie import COOKIE, new_session

AT_THE_ROOT = ("", "annotate")  # of the pages, whose files all have addresses below the studio's own
BELOW = [place for place, path in enumerate(ROLES) if path in ("", "annotate") or path not in PAGES]


@contextmanager
def running(root: str, checkpoint: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """The address of a studio below a path, and the cookie of its admin."""
    with open_store(folder / "data") as store:
        cookie = new_session(store, add(store, "ada", Role.ADMIN, "a long enough one"))
    more = {"AHA_STUDIO_ROOT_PATH": root}
    server = Server(folder / "data", checkpoint, folder / "app.log", examples=True, mode="public", more=more)
    server.start()
    yield server.url + root, cookie
    server.stop()


@pytest.fixture(scope="module")
def at_root(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with running("", tiny_checkpoint, tmp_path_factory.mktemp("headers")) as studio:
        yield studio


@pytest.fixture(scope="module")
def below_a_path(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with running("/aha", tiny_checkpoint, tmp_path_factory.mktemp("headers")) as studio:
        yield studio


@pytest.mark.parametrize(
    ("place", "path"),
    [*(("at_root", path) for path in AT_THE_ROOT), *few([("below_a_path", path) for path in ROLES], *BELOW)],
)
def test_a_page_breaks_no_rule_of_its_headers_and_misses_no_file(
    browser: Browser, request: pytest.FixtureRequest, place: str, path: str
):
    studio, cookie = request.getfixturevalue(place)
    context = browser.new_context()
    context.add_cookies([{"name": COOKIE, "value": cookie, "url": studio}])
    page = context.new_page()
    wrong, asked = faults(page), []
    page.on("response", lambda answer: asked.append(answer.url))
    answer = page.goto(f"{studio}/{path}")
    page.wait_for_selector(".masthead", timeout=PATIENCE)
    page.wait_for_timeout(400)  # its handlers have been asked
    icon = page.evaluate("document.querySelector('link[rel=icon]').href")
    assert page.request.get(icon).headers["content-type"] == "image/svg+xml"
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert wrong == []
    assert [url for url in [*asked, icon] if not url.startswith(f"{studio}/")] == []
    context.close()


def test_markup_that_brings_a_script_does_not_run(browser: Browser, below_a_path: tuple[str, str]):
    studio, _ = below_a_path
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{studio}/gallery")
    page.wait_for_selector(".masthead")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=q onerror=\"window.ran = 1\">')")
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    context.close()
