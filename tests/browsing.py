"""The tests' browser, and a page of it: it waits for long, and nothing may fail in its scripts."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

PATIENCE = 120_000  # ms that a browser waits for anything; the machine may be busy

# The headless shell is the same engine without the windows of a browser around it: a page costs half the time.
COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def launch(playwright: Playwright) -> Browser:
    """Headless Chromium, the system's own."""
    path = next(filter(None, map(shutil.which, COMMANDS)), None)
    if path is None:
        pytest.fail("the browser tests need Chromium; `bash tests/run.sh` installs it")
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def judge(page: Page, value: str) -> None:
    """Press the key by which the model's verdict is right (“yes”) or wrong (“no”): does the picture fit, or not."""
    choices = page.locator("#annotate-sheet [data-question=verdict_right] input")
    page.keyboard.press("y" if choices.first.get_attribute("value") == value else "n")
    expect(page.locator(f"#annotate-sheet [data-question=verdict_right] input[value={value}]")).to_be_checked()


@contextmanager
def new_page(browser: Browser, width: int = 1440, height: int = 900) -> Iterator[Page]:
    """A page that shares no cookie with another one."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    page.set_default_navigation_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []
