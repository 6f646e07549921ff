"""The tests' browser, and a page of it: it waits for long, and nothing may fail in its scripts."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Playwright, Request, expect

PATIENCE = 120_000  # ms that a browser waits for anything; the machine may be busy

# The headless shell is the same engine without the windows of a browser around it: a page costs half the time.
COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def launch(playwright: Playwright) -> Browser:
    """Headless Chromium, the system's own."""
    path = next(filter(None, map(shutil.which, COMMANDS)), None)
    if path is None:
        pytest.fail("the browser tests need Chromium; `bash tests/run.sh` installs it")
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def faults(page: Page) -> list[str]:
    """Grows by what the page's console says from here on, by its errors, and by requests that fail or are refused."""
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("response", lambda answer: seen.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("requestfailed", lambda asked: None if _is_ended(asked) else seen.append(f"{asked.failure} {asked.url}"))
    return seen


def _is_ended(asked: Request) -> bool:
    """Whether the page itself has ended a stream of events, of which it has heard all."""
    return asked.failure == "net::ERR_ABORTED" and "/queue/data" in asked.url


def as_it_comes(page: Page, timeline: str = "#timeline") -> None:
    """Show a drawing under way as fast as it is made: nobody watches."""
    page.locator(f"{timeline} .least").evaluate("choice => { choice.value = '0'; }")


def judge(page: Page, value: str) -> None:
    """Press the key by which the model's verdict is right (“yes”) or wrong (“no”): does the picture fit, or not."""
    choices = page.locator("#annotate-sheet [data-question=verdict_right] input")
    page.keyboard.press("y" if choices.first.get_attribute("value") == value else "n")
    expect(page.locator(f"#annotate-sheet [data-question=verdict_right] input[value={value}]")).to_be_checked()


# WCAG 2.2, 2.5.8: targets of at least 24×24 CSS pixels. Smaller ones pass where a circle of that diameter around their
# centre meets neither another target nor the circle of another small one, and within a sentence.
SMALL_TARGETS = """() => {
  const LEAST = 24;
  const all = 'a[href], button, input, select, textarea, summary, [role=button], [role=tab], [role=slider]';
  const area = (node) => {
    const every = [node, ...(node.labels || [])].map((each) => each.getBoundingClientRect());
    const boxes = every.filter((box) => box.width && box.height);
    const [left, top] = ['left', 'top'].map((side) => Math.min(...boxes.map((box) => box[side])));
    const [right, bottom] = ['right', 'bottom'].map((side) => Math.max(...boxes.map((box) => box[side])));
    return { left, top, right, bottom, width: right - left, height: bottom - top };
  };
  const isShown = (node) => {
    const seen = node.labels?.length ? node.labels[0] : node;
    return !node.disabled && !node.closest('[inert], .sr-only') && area(node).width > 1
      && seen.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  };
  const isInSentence = (node) => getComputedStyle(node).display === 'inline'
    && [...node.parentElement.childNodes].some((each) => each.nodeType === Node.TEXT_NODE && each.data.trim());
  const targets = [...document.querySelectorAll(all)].filter(isShown).map((node) => ({ node, box: area(node) }));
  const isSmall = ({ box }) => Math.min(box.width, box.height) < LEAST - 0.5;
  const centre = ({ box }) => [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
  const distance = ([x, y], { left, top, right, bottom }) => (
    Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom))
  );
  const apart = (one, other) => {
    const [[x, y], [u, v]] = [centre(one), centre(other)];
    return distance([x, y], other.box) >= LEAST / 2 && (!isSmall(other) || Math.hypot(x - u, y - v) >= LEAST);
  };
  const related = (one, other) => one.node.contains(other.node) || other.node.contains(one.node);
  return targets.filter(isSmall)
    .filter((one) => !isInSentence(one.node) && targets.some((other) => !related(one, other) && !apart(one, other)))
    .map(({ node, box }) => `${box.width.toFixed(0)}×${box.height.toFixed(0)}: ${node.outerHTML.slice(0, 120)}`);
}"""


def small_targets(page: Page) -> list[str]:
    """Controls of a page that are hard to hit with a finger: their size and the beginning of their HTML."""
    return page.evaluate(SMALL_TARGETS)


# WCAG 2.2, 1.4.11: what marks the edge of an input has a contrast of at least 3:1 to what is around it.
FAINT_BORDERS = """() => {
  const LEAST = 3;
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (colour) => {
    const [r, g, b] = [...rgb(colour)].map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const isOpaque = (colour) => rgb(colour)[3] > 250;
  const around = (node) => {
    for (let each = node.parentElement; each; each = each.parentElement) {
      const { backgroundColor } = getComputedStyle(each);
      if (isOpaque(backgroundColor)) return backgroundColor;
    }
    return 'white';
  };
  const edges = (node) => { // its own border, or that of what Gradio lays around it
    for (let each = node, up = 0; each && up < 4; each = each.parentElement, up += 1) {
      const { borderBottomWidth: width, borderBottomStyle: style, borderBottomColor: colour } = getComputedStyle(each);
      if (parseFloat(width) && style !== 'none' && isOpaque(colour)) return [each, colour];
    }
    return null;
  };
  const fields = 'textarea, select, input:not([type=range], [type=checkbox], [type=radio], [type=file], [type=hidden])';
  return [...document.querySelectorAll(fields)].filter((node) => node.checkVisibility({ visibilityProperty: true })
    && node.getBoundingClientRect().width > 1).flatMap((node) => {
    const edge = edges(node);
    if (edge && contrast(edge[1], around(edge[0])) >= LEAST) return [];
    return [`${edge ? contrast(edge[1], around(edge[0])).toFixed(2) : 'no border'}: ${node.outerHTML.slice(0, 140)}`];
  });
}"""


def faint_borders(page: Page) -> list[str]:
    """Inputs of a page whose border can hardly be seen: its contrast and the beginning of their HTML."""
    return page.evaluate(FAINT_BORDERS)


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
