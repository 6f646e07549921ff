"""A page of the tests' browser: it waits for long, and nothing may fail in its scripts."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect

PATIENCE = 120_000  # ms that a browser waits for anything; the machine may be busy


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
