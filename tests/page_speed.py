"""What a first visit of the Draw page costs, and how soon it answers: `PYTHONPATH=. python tests/page_speed.py`

Medians of five, in headless Chromium, of the studio with the embedded model and its recorded examples: bytes received
until the page has come to rest, layout shift (CLS, as web-vitals defines it) wide and narrow, from a click on *Draw* to
the first patch on the canvas, and on Annotate from a submit to the next item. Exits with 1 where a limit is passed; the
times are for a machine that does nothing else. Whether it does is told by the last line: a fixed piece of Python, timed
beside each of the others.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from browsing import launch
from playwright.sync_api import Browser, Page, sync_playwright
from running_app import Server

from annotations.ops.machine_speed import milliseconds

TIMES = 5
RESTS = 6_000  # ms until nothing is fetched any more, and the running example is on its way
PATIENCE = 90_000  # ms
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
LIMITS = {
    "first load, kB": 250.0,
    "layout shift, wide": 0.1,
    "layout shift, narrow": 0.1,
    "click to first patch, s": 0.6,
    "submit to next item, s": 0.2,
}
CALIBRATION, IDLE = "this machine: a sum, ms", 15.0  # of a million numbers; on a machine that does nothing else
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const { hadRecentInput, startTime, value } of list.getEntries()) {
    if (!hadRecentInput) window.shifts.push([startTime, value]);
  }
}).observe({ type: 'layout-shift', buffered: true });
"""
FIRST_PATCH = """
async () => {
  const drawn = () => {
    const canvas = document.querySelector('#timeline .picture canvas');
    return canvas && canvas.width && canvas.getContext('2d').getImageData(0, 0, 1, 1).data[3];
  };
  const began = performance.now();
  document.querySelector('#draw').click();
  while (drawn()) await new Promise(requestAnimationFrame);
  while (!drawn()) await new Promise(requestAnimationFrame);
  return (performance.now() - began) / 1000;
}
"""
NEXT_ITEM = """
async () => {
  const shown = () => document.querySelector('#annotate-token :is(input, textarea)').value;
  const before = shown(), began = performance.now();
  document.querySelector('#annotate-submit').click();
  while (shown() === before) await new Promise(requestAnimationFrame);
  return (performance.now() - began) / 1000;
}
"""


def cumulative_layout_shift(shifts: list[tuple[float, float]]) -> float:
    """The largest sum of a session: shifts less than a second apart, five seconds in all."""
    largest = total = 0.0
    first = last = float("-inf")
    for at, value in shifts:
        if at - last > 1000 or at - first > 5000:
            total, first = 0.0, at
        total, last = total + value, at
        largest = max(largest, total)
    return largest


@contextmanager
def fresh_page(browser: Browser, size: str) -> Iterator[Page]:
    """A page of a browser that has nothing in its cache."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(SHIFTS)
    yield page
    context.close()


def first_load(browser: Browser, server: Server, size: str) -> tuple[float, float]:
    """(kB on the wire with their HTTP headers, layout shift)."""
    with fresh_page(browser, size) as page:
        received: list[float] = []
        devtools = page.context.new_cdp_session(page)
        devtools.send("Network.enable")
        devtools.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
        page.goto(server.url)
        page.wait_for_selector("#draw")
        page.wait_for_timeout(RESTS)
        return sum(received) / 1000, cumulative_layout_shift(page.evaluate("window.shifts"))


def first_patch(browser: Browser, server: Server) -> float:
    with fresh_page(browser, "wide") as page:
        page.goto(server.url)
        page.fill("#prompt textarea", "a yellow car and a flower")
        page.wait_for_timeout(RESTS)
        return page.evaluate(FIRST_PATCH)


def next_items(browser: Browser, server: Server, beside: list[float]) -> list[float]:
    with fresh_page(browser, "wide") as page:
        page.goto(f"{server.url}/annotate")
        page.wait_for_selector("#annotate-submit")
        times = []
        for _ in range(TIMES):
            page.wait_for_timeout(RESTS / 2)
            page.locator("[data-question=verdict_right] input[value=yes]").check()  # as the model says
            page.locator("[data-question=reason_rating] input").nth(3).check()
            page.wait_for_timeout(RESTS / 2)
            times.append(page.evaluate(NEXT_ITEM))
            beside += machine()
        return times


def machine() -> list[float]:
    """Milliseconds that a fixed piece of Python takes now."""
    return milliseconds(lambda: sum(range(1_000_000)), 1)


def measure(browser: Browser, server: Server) -> dict[str, list[float]]:
    for size in SIZES:
        first_load(browser, server, size)  # after which all is compressed as well as can be
    loads = {size: [first_load(browser, server, size) for _ in range(TIMES)] for size in SIZES}
    values: list[list[float]] = [[sent for sent, _ in loads["wide"]]]
    values += [[shift for _, shift in loads[size]] for size in SIZES]
    beside: list[float] = []
    patches = []
    for _ in range(TIMES):
        patches.append(first_patch(browser, server))
        beside += machine()
    values += [patches, next_items(browser, server, beside)]
    return dict(zip(LIMITS, values, strict=True)) | {CALIBRATION: beside}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data = Path(folder)
        server = Server(data / "data", "embedded", data / "app.log", examples=True)
        server.start()
        browser = launch(playwright)
        try:
            measured = measure(browser, server)
        finally:
            browser.close()
            server.stop()
    print(f"{'median of five':<28}{'':>10}{'least':>10}{'most':>10}{'limit':>10}")
    for name, values in measured.items():
        limit = f"{LIMITS[name]:10.1f}" if name in LIMITS else f"{f'({IDLE:.0f})':>10}"
        print(f"{name:<28}{median(values):10.3f}{min(values):10.3f}{max(values):10.3f}{limit}")
    sys.exit(int(any(median(measured[name]) > limit for name, limit in LIMITS.items())))


if __name__ == "__main__":
    main()
