"""Pictures of every page, wide and narrow, light and dark: `PYTHONPATH=.:tests python tests/screenshots.py FOLDER`

Of a populated studio with the embedded model and its recorded examples, in headless Chromium, after the first click.
`draw-wide-light.png` is the one in README.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from browsing import launch
from playwright.sync_api import Page, sync_playwright
from populated_studio import populate
from running_app import Server

SIZES = {"wide": (1440, 1130), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
PATIENCE = 90_000  # ms
SETTLED = 800  # ms, until what moves has come to rest


def draw(page: Page) -> None:
    page.click(".chip:not(.show) >> nth=0")
    page.wait_for_timeout(SETTLED)
    page.click("#draw")
    page.wait_for_selector("#timeline .forget")


def image(page: Page) -> None:
    page.goto(page.url.replace("/image", "/gallery"))
    page.click(".gallery .card >> nth=0")
    page.wait_for_selector("#viewer .ending .link >> nth=1")
    page.click("#viewer .ending .link >> text=Use this image")
    page.wait_for_selector(".your-image img")
    page.click("#start")
    page.wait_for_selector("#timeline .forget")


def compare(page: Page) -> None:
    page.click("#draw")
    for side in ("#left", "#right"):
        page.wait_for_selector(f"{side} .forget")


def gallery(page: Page) -> None:
    page.click(".gallery .card >> nth=0")
    page.wait_for_selector("#viewer .ending .link >> nth=1")


def annotate(page: Page) -> None:
    page.wait_for_selector("#annotate-prompt h1")


def projects(page: Page) -> None:
    page.wait_for_selector("#projects-list li")


def training(page: Page) -> None:
    page.wait_for_selector("#training-estimate dl")


def datasets(page: Page) -> None:
    page.wait_for_selector("#datasets-collected dl")


def shows(selector: str) -> Callable[[Page], None]:
    """Wait until the page shows it."""

    def act(page: Page) -> None:
        page.wait_for_selector(selector)

    return act


PAGES: dict[str, Callable[[Page], None]] = {
    "draw": draw,
    "image": image,
    "compare": compare,
    "gallery": gallery,
    "annotate": annotate,
    "arena": shows("#arena-prompt"),
    "review": shows(".disputes"),
    "results?project=reflections": shows(".results .card"),
    "calibration": shows("#calibration-critics h2"),
    "people": shows(".people-list"),
    "moderation": shows(".reported"),
    "projects": projects,
    "datasets": datasets,
    "training": training,
}


def take(server: Server, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for scheme in SCHEMES:
            for size, (width, height) in SIZES.items():
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                page.set_default_timeout(PATIENCE)
                for name, act in PAGES.items():
                    page.goto(f"{server.url}/{'' if name == 'draw' else name}")
                    page.wait_for_selector(".masthead")
                    page.wait_for_timeout(SETTLED)
                    act(page)
                    page.wait_for_timeout(SETTLED)
                    page.evaluate("scrollTo(0, 0)")
                    picture = f"{name.partition('?')[0]}-{size}-{scheme}.png"
                    page.screenshot(path=folder / picture, full_page=size == "narrow")
                    print(picture, flush=True)
                page.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data:
        populate(Path(data))
        server = Server(Path(data), "embedded", folder / "app.log", examples=True)
        server.start()
        try:
            take(server, folder)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
