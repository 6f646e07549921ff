"""axe over every page, populated and empty, both schemes and sizes: `PYTHONPATH=.:tests python tests/accessibility.py`

Prints what axe finds (WCAG 2.2 A and AA, and its best practice), and each page that is wider than its window; exits
with 1 where there is anything. `--pages gallery,annotate` restricts it.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from browsing import launch
from playwright.sync_api import Browser, Page, sync_playwright
from populated_studio import populate
from running_app import Server

from studio.page_list import PAGES

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
RESTS = 2_500  # ms until a page has fetched what it shows
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MORE = (
    "annotate?project=checklist",
    "annotate?project=ranking",
    "project?id=reflections",
    "results?project=reflections",
    "gallery?kind=Hidden",
    "nothing-here",
)
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"


def problems(page: Page, address: str) -> Iterator[str]:
    page.goto(address)
    page.wait_for_selector(".masthead")
    page.wait_for_timeout(RESTS)
    found: list[dict[str, Any]] = Axe().run(page, options={"runOnly": TAGS}).response["violations"]
    for violation in found:
        nodes = violation["nodes"]
        yield f"{violation['id']} ({violation['impact']}, {len(nodes)} times): {nodes[0]['html'][:160]}"
    if page.evaluate(TOO_WIDE):
        yield "wider than its window"


def examine(browser: Browser, server: Server, kind: str, addresses: list[str]) -> int:
    """Prints what is wrong; how much that is."""
    count = 0
    for scheme in SCHEMES:
        for size, (width, height) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            for address in addresses:
                wrong = [*problems(page, f"{server.url}/{address}")]
                for each in wrong:
                    print(f"/{address}, {kind}, {size}, {scheme}: {each}", flush=True)
                count += len(wrong)
            page.close()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", help="addresses, with commas between; all without it")
    chosen = parser.parse_args().pages
    every = [page.path for page in PAGES if page.path != "sign-in"]
    count = 0
    for kind, addresses in (("populated", [*every, *MORE]), ("empty", every)):
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            data = Path(folder) / "data"
            if kind == "populated":
                populate(data)
            server = Server(data, "embedded", Path(folder) / "app.log")
            server.start()
            browser = launch(playwright)
            try:
                count += examine(browser, server, kind, chosen.split(",") if chosen is not None else addresses)
            finally:
                browser.close()
                server.stop()
    print(f"{count} problems")
    sys.exit(int(count > 0))


if __name__ == "__main__":
    main()
