"""The studio as people meet it: the real app in a process of its own, a real browser, a tiny checkpoint.

The checkpoint draws noise and writes nonsense, and that is enough: what is tested is that it is all seen, kept,
answered and exported.
"""

import json
import re
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import commands
import httpx2
import pyarrow.parquet as pq
import pytest
from browsing import PATIENCE, as_it_comes, faint_borders, faults, judge, small_targets
from PIL import Image as Picture
from playwright.sync_api import Page, expect
from running_app import ROOT, Server, free_port, start_in_vain
from studio_samples import stopped
from test_annotations_samples import aha, image, png, reflection

from annotations.export.manifest import PARQUET
from annotations.importing.importer import bring_in
from annotations.schema.annotation import Status
from annotations.store.store import open_store
from model.examples import JudgeExample
from model.trajectory import StopReason, Trajectory

PAGES = {  # address: what is there once the page has been filled
    "": "#draw",
    "image": "#start",
    "compare": "#draw",
    "gallery": ".gallery img",
    "annotate": "#annotate-prompt h1",
    "projects": "#projects-list li",
    "project?id=reflections": "#project-progress .counted",
    "review": "#review-queue p",
    "arena": "#arena .none",
    "datasets": "#datasets-collected dl",
    "calibration": "#calibration-critics p",
    "people": "#people p",
    "moderation": "#moderation-reports p",
}
PROMPT = "two red apples above a blue car"
HOSTILE = "<img src=q onerror=window.hacked=1>${window.hacked=1} **b** [x](javascript:1) \u202eمرحبا 🐈"
CORRECTION = "there are three crooked apples"
RECORDER = """() => {  // pixels of the first canvas that are painted, over time
  window.painted = [0];
  window.setInterval(() => {
    const canvas = document.querySelector('#timeline canvas');
    if (!canvas || !canvas.width) return;
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 0;
    if (count !== window.painted.at(-1)) window.painted.push(count);
  }, 15);
}"""


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    with open_store(folder / "data") as store:
        trajectory, pictures = three_rounds()
        store.save(trajectory, pictures, owner="visitor")
        store.save(stopped(), {}, owner="visitor")
    server = Server(folder / "data", tiny_checkpoint, folder / "app.log", more={"AHA_STUDIO_PACE": "4"})
    server.start()
    yield server
    server.stop()


def three_rounds():
    """A hand-made trajectory of three rounds, dated so late that it waits behind everything drawn by the tests."""
    trajectory, pictures = aha(0, id="three-rounds", created_at="2999-01-01T00:00:00+00:00")
    third = replace(image(png(2)), codes=(1, 2, 9, 4))
    segments = (*trajectory.segments[:4], reflection("No, one shape is broken."), trajectory.segments[0], third)
    segments = (*segments, reflection("Yes, there are two apples."))
    made = replace(trajectory, segments=segments, stop_reason=StopReason.CONTENT, times_ms=())
    return made, pictures | {third.sha256: png(2)}


def visit(page: Page, server: Server, path: str) -> None:
    page.goto(f"{server.url}/{path}")
    expect(page.locator(PAGES[path]).first).to_be_visible()


def begin_drawing(page: Page, server: Server, prompt: str = PROMPT) -> None:
    page.goto(server.url)
    page.fill("#prompt textarea", prompt)
    page.click("#draw")


def begin_recorded_drawing(page: Page, server: Server, prompt: str = PROMPT) -> None:
    page.goto(server.url)
    page.evaluate(RECORDER)
    page.fill("#prompt textarea", prompt)
    page.click("#draw")


def draw(page: Page, server: Server, prompt: str = PROMPT) -> str:
    """Draw to the end; the trajectory's id."""
    begin_drawing(page, server, prompt)
    as_it_comes(page)
    expect(page.locator("#timeline .ending .link").first).to_be_visible()
    with server.store() as store:
        return next(listed.id for listed in store.trajectories() if listed.prompt == prompt)


def open_for_annotation(page: Page, server: Server, trajectory_id: str) -> None:
    page.goto(f"{server.url}/annotate?trajectory={trajectory_id}")
    expect(page.locator("#annotate-submit")).to_be_visible()


def submit_and_go_on(page: Page) -> None:
    """By keyboard, until something else is shown; what was kept of that before is filled in."""
    showing = page.locator("#annotate-token :is(input, textarea)")
    before = showing.input_value()
    page.keyboard.press("Control+Enter")
    expect(showing).not_to_have_value(before)


def annotations(server: Server, trajectory_id: str) -> list[dict]:
    with server.store() as store:
        return [dict(a.answers) for a in store.annotations(trajectory_id, status=Status.SUBMITTED)]


def test_a_picture_fills_before_the_eye_and_is_judged(page, server):
    for _ in range(3):  # a browser that is given no time for a second paints at once what came meanwhile
        begin_recorded_drawing(page, server)
        expect(page.locator("#timeline .prompt")).to_contain_text(PROMPT)
        expect(page.locator("#timeline .verdict .word").first).to_have_text(re.compile("^(Yes|No)$"))
        if len(painted := page.evaluate("window.painted")) > 4:
            break
    assert len(painted) > 4, f"the canvas was painted at once: {painted}"
    assert painted == sorted(painted)
    assert painted[-1] == page.evaluate(
        "(() => { const c = document.querySelector('#timeline canvas'); return c.width * c.height; })()"
    )
    expect(page.locator("#timeline .ending .link").first).to_be_visible()


def test_a_slow_showing_can_be_skipped_to_its_end(page, server):
    begin_drawing(page, server)
    page.locator("#timeline .least").select_option("4")  # s a picture
    page.locator("#timeline .skip").click()
    expect(page.locator("#timeline .ending .link").first).to_have_text("Permanent link")
    expect(page.locator("#timeline .skip")).to_be_hidden()


def test_what_is_answered_by_keyboard_ends_in_the_training_file(page, server, tmp_path):
    drawn = draw(page, server, "three green fish")
    page.click(".masthead a:text-is('Annotate')")
    expect(page.locator("#annotate-submit")).to_be_visible()
    open_for_annotation(page, server, drawn)
    expect(page.locator("#annotate-prompt")).to_contain_text("three green fish")
    page.keyboard.press("2")  # the keys are commands until one writes
    judge(page, "no")
    page.keyboard.press("c")
    expect(page.locator("[data-question=reason_correction] textarea")).to_be_focused()
    expect(page.locator("[data-question=reason_correction]")).to_contain_text("What should it have said?")
    page.keyboard.type(CORRECTION)
    before = page.locator("#annotate-claim").inner_html()
    submit_and_go_on(page)
    assert page.locator("#annotate-claim").inner_html() != before
    (answers,) = annotations(server, drawn)
    assert answers == {"verdict_right": "no", "reason_correction": CORRECTION}  # a wrong verdict's reason is not rated

    options = ["--kind", "judge_sft", "--out", tmp_path / "out", "--data", server.data]
    assert commands.run("annotations.export", *options).returncode == 0
    examples = [JudgeExample.from_row(row) for row in pq.read_table(tmp_path / "out" / PARQUET).to_pylist()]
    (example,) = [example for example in examples if example.trajectory_id == drawn]
    assert CORRECTION in example.completion and example.prompt == "three green fish"
    assert example.images[-1].startswith(b"\x89PNG")


def test_the_keys_choose_and_stay_out_of_text_fields(page, server):
    open_for_annotation(page, server, "three-rounds")
    judge(page, "yes")
    page.keyboard.press("4")
    expect(page.locator("[data-question=reason_rating] input").nth(3)).to_be_checked()
    page.keyboard.press("Shift+Digit5")
    expect(page.locator("[data-question=thought_rating] input").nth(4)).to_be_checked()
    page.keyboard.press("c")
    page.keyboard.type(" yn1su?")
    expect(page.locator("[data-question=reason_correction] textarea")).to_have_value(re.compile(r" yn1su\?$"))
    expect(page.locator("[data-question=verdict_right] input[value=yes]")).to_be_checked()
    expect(page.locator("[data-question=reason_rating] input").nth(3)).to_be_checked()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#annotate-keys")).to_be_visible()
    page.keyboard.press("s")
    page.keyboard.press("Escape")
    expect(page.locator("#annotate-keys")).to_be_hidden()
    expect(page.locator("#annotate-prompt")).to_contain_text("two apples")
    assert annotations(server, "three-rounds") == []


def test_a_submit_can_be_taken_back_and_a_wrong_verdict_needs_words(page, server):
    open_for_annotation(page, server, "three-rounds")
    said = page.locator("#annotate-claim .said").inner_text()
    page.fill("[data-question=reason_correction] textarea", said)  # what another test has written is kept
    page.locator("[data-question=reason_correction] textarea").blur()
    judge(page, "no")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-note")).to_contain_text("write what it should have said")
    judge(page, "yes")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-claim")).to_contain_text("One shape is broken")
    [judged] = [a for a in annotations(server, "three-rounds") if "verdict_right" in a]
    assert judged["verdict_right"] == "yes" and "reason_correction" not in judged
    page.keyboard.press("u")
    expect(page.locator("#annotate-note")).to_contain_text("Taken back")
    expect(page.locator("[data-question=verdict_right] input[value=yes]")).to_be_checked()
    assert annotations(server, "three-rounds") == []


def test_three_rounds_are_judged_on_one_screen(page, server):
    open_for_annotation(page, server, "three-rounds")
    expect(page.locator("#annotate .strip img")).to_have_count(3)
    assert page.locator("#annotate-submit").bounding_box()["y"] < 850
    assert page.evaluate("document.documentElement.scrollHeight") <= 900


@pytest.mark.parametrize("path", PAGES)
def test_a_telephone_shows_every_page_with_a_menu_of_one_line_and_targets_for_a_finger(page, server, path):
    wrong, hosts = faults(page), set[str]()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, server, path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert hosts - {""} == {"127.0.0.1"}  # "" is data: and blob:
    assert small_targets(page) == []
    assert faint_borders(page) == []
    menu = page.locator(".masthead nav")
    assert menu.bounding_box()["height"] < 48  # one line
    expect(menu.locator("[aria-current]")).to_be_in_viewport(ratio=1)
    last = menu.locator("a").last
    last.focus()  # as by Tab: what was out of view scrolls into it
    expect(last).to_be_in_viewport(ratio=1)
    assert wrong == []


def test_a_replay_shows_its_plan_and_can_be_paused_scrubbed_and_played_again(page, server, tmp_path):
    page.goto(f"{server.url}/gallery?run=three-rounds")
    expect(page.locator("#viewer .planned").first).to_be_attached()
    toggle, scrub, rounds = (page.locator(f"#viewer {part}") for part in (".toggle", ".scrub", ".round"))
    words = page.locator("#viewer .verdict .word")
    scrub.evaluate("bar => { bar.value = 1; bar.dispatchEvent(new Event('input')); }")
    expect(toggle).to_have_text("Play")
    expect(rounds).to_have_count(0)
    toggle.click()
    expect(words).to_have_text(["No", "No", "Yes"])
    expect(toggle).to_have_text("Play again")
    expect(page.locator("#viewer .changes")).to_have_text("Mark the 1 of 4 patches that changed")
    expect(page.locator("#viewer .compare .changed")).to_have_count(1)
    expect(page.locator("#viewer .odds circle")).to_have_count(3)
    with page.expect_download() as download:
        page.locator("#viewer .keep .json").click()
    trajectory, pictures = three_rounds()
    download.value.save_as(tmp_path / "kept.json")
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert Trajectory.from_dict(kept["trajectory"]) == trajectory
    assert {sha256: b64decode(png) for sha256, png in kept["pictures"].items()} == pictures
    with open_store(tmp_path / "data") as elsewhere:
        assert bring_in(elsewhere, tmp_path / "kept.json", "ours", owner="import").errors == ()
        assert elsewhere.trajectory(trajectory.id) == trajectory
        assert {sha256: elsewhere.picture(sha256) for sha256 in pictures} == pictures
    scrub.evaluate("bar => { bar.value = bar.max / 2; bar.dispatchEvent(new Event('input')); }")
    expect(words).not_to_have_count(3)
    page.locator("#viewer .speed").select_option("4")
    toggle.click()
    expect(words).to_have_text(["No", "No", "Yes"])


def test_with_reduced_motion_a_replay_is_there_at_once_and_complete(browser, server):
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{server.url}/?run=three-rounds")
    expect(page.locator("#timeline .verdict .word")).to_have_text(["No", "No", "Yes"], timeout=PATIENCE)
    expect(page.locator("#timeline .odds")).to_be_hidden()
    page.click("#timeline .how")
    expect(page.locator("#timeline .odds")).to_be_visible()
    expect(page.locator("#timeline .thought").first).to_be_visible()
    expect(page.locator("#timeline .mind")).to_have_count(3)
    page.close()


def test_words_put_a_prompt_together_by_the_mouse(page, server):
    page.goto(server.url)
    page.locator(".words summary").click()
    for word in ("two", "red", "apple", "above", "cat", "orange", "blue", "umbrella"):
        page.locator(f".words [data-word='{word}']").click()
    expect(page.locator("#prompt textarea")).to_have_value("two red apples above a cat and a blue umbrella")
    expect(page.locator(".words .harder")).to_be_visible()
    page.fill("#prompt textarea", "two red apples above a cat")
    expect(page.locator(".words .harder")).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("harder$"))).to_have_count(2)  # read out, and not only seen


def branches_of(server: Server, parent: str) -> list[Trajectory]:
    with server.store() as store:
        made = [store.trajectory(listed.id) for listed in store.trajectories()]
    return [one for one in made if one.parent and one.parent.trajectory_id == parent]


def test_a_plan_is_changed_by_typing_and_dragging_and_the_drawing_goes_on_from_it(page, server):
    page.goto(f"{server.url}/?run=three-rounds")
    expect(page.locator("#timeline .round").first).to_be_visible()
    page.locator("#timeline .scrub").evaluate("bar => { bar.value = bar.max; bar.dispatchEvent(new Event('input')); }")
    page.locator("#timeline .mind button", has_text="Change the plan").first.click()
    box = page.locator("#timeline .planned").first
    text = page.locator("#timeline .changing textarea")
    text.fill("red apple at 0 0; blue apple 4 4")
    page.click("#timeline .changing .go")
    expect(page.locator("#timeline .notice")).to_contain_text(
        "line 2 of the plan is “blue apple 4 4”; it should read like"
    )
    text.fill("red apple at 0 0; blue apple at 4 4")
    expect(page.locator("#timeline .planned")).to_have_count(3)  # the other round's thought names one, too
    side = page.locator("#timeline .planning").bounding_box()["width"]
    place = box.bounding_box()
    page.mouse.move(place["x"] + 8, place["y"] + 8)
    page.mouse.down()
    page.mouse.move(place["x"] + 8 + side * 3 / 8, place["y"] + 8 + side * 2 / 8, steps=4)
    page.mouse.up()
    expect(text).to_have_value("red apple at 3 2; blue apple at 4 4")
    page.click("#timeline .changing .go")
    as_it_comes(page)
    expect(page.locator("#timeline .thought").first).to_have_text("red apple at 3 2;\nblue apple at 4 4")
    expect(page.locator("#timeline .ending .link").first).to_have_text("Permanent link")
    assert "by-person" in page.locator("#timeline .thought").first.get_attribute("class")
    branch = branches_of(server, "three-rounds")[0]
    assert branch.segments[0].text == " red apple at 3 2; blue apple at 4 4"
    page.locator("#timeline .ending .link", has_text="Beside what it goes on from").click()
    expect(page.locator("#right .thought").first).to_contain_text("red apple at 3 2")
    expect(page.locator("#left .thought").first).to_contain_text(re.compile("apple at (?!3 2)"))


def test_another_seed_stands_beside_its_own_redraw_and_a_verdict_is_answered_without_typing(page, server):
    page.goto(f"{server.url}/?run=three-rounds")
    page.locator("#timeline .scrub").evaluate("bar => { bar.value = bar.max; bar.dispatchEvent(new Event('input')); }")
    page.click("#timeline .another")
    as_it_comes(page)
    expect(page.locator("#timeline .instead a")).to_have_count(3)  # its last drawing, and one for each redraw
    expect(page.locator("#timeline .instead a").first).to_have_text("Its own redraw: ✓ yes")
    page.locator("#timeline .mind button", has_text="Disagree").last.click()
    expect(page.get_by_label("No, draw again")).to_be_checked()
    expect(page.locator("#timeline .changing .was")).to_have_text("The model said: there are two apples.")
    text = page.locator("#timeline .changing textarea")
    expect(text).to_have_value("")
    page.locator("#timeline .changing .choice").first.click()
    expect(text).to_have_value("the apples are missing.")
    expect(text).to_be_focused()


def test_one_prompt_and_seed_are_drawn_twice_side_by_side(page, server):
    visit(page, server, "compare")
    page.fill("#prompt textarea", PROMPT)
    page.click("#draw")
    for side in ("#left", "#right"):
        as_it_comes(page, side)
    for side in ("#left", "#right"):
        expect(page.locator(f"{side} .ending .link").first).to_have_text("Permanent link")
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#draw")).to_be_visible()
    left, right = page.locator(".sides .meta").all_inner_texts()
    assert left == right
    assert left.startswith("seed ")


def test_a_drawing_is_asked_for_with_the_keyboard_alone_in_the_dark(browser, server):
    page = browser.new_page(color_scheme="dark")
    page.goto(server.url)
    expect(page.locator("#prompt textarea")).to_be_focused(timeout=PATIENCE)
    page.keyboard.type(PROMPT)
    page.keyboard.press("Enter")
    as_it_comes(page)
    expect(page.locator("#timeline .ending .link").first).to_have_text("Permanent link", timeout=PATIENCE)
    expect(page.locator("#prompt textarea")).to_be_focused()  # who types goes on typing
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", paper)[:3])) < 150
    page.close()


def test_a_mistake_is_planted_and_the_model_looks_again(page, server):
    drawn = draw(page, server)
    page.locator("#timeline .mind button", has_text="Rub out patches").first.click()
    page.locator("#timeline .cells .cell").nth(9).click()
    page.locator("#timeline .cells .cell").nth(10).click()
    page.click("#timeline .changing .go")
    expect(page.locator("#timeline .asked .meta")).not_to_have_text("")
    page.wait_for_function("() => !document.querySelector('#timeline .ending .link')")
    expect(page.locator("#timeline .ending .link").first).to_be_visible()
    [branch] = branches_of(server, drawn)
    image = next(segment for segment in branch.segments if segment.kind == "image")
    assert [index for index, origin in enumerate(image.origins) if origin == "person"] == [9, 10]
    expect(page.locator("#timeline .forced")).to_have_count(2)
    page.get_by_label("You rubbed out the 2 outlined patches").uncheck()
    expect(page.locator("#timeline .forced").first).to_be_hidden()


def test_the_gallery_is_filtered_and_searched(page, server):
    drawn = draw(page, server, "a purple key")
    visit(page, server, "gallery")
    cards = page.locator("#cards .card")
    page.get_by_placeholder("Search prompts").fill("purple key")
    expect(cards).to_have_count(1)
    assert cards.first.get_attribute("data-run") == drawn
    page.get_by_placeholder("Search prompts").fill("apples")
    page.locator("#kind input").click()
    page.get_by_role("option", name="Aha moments").click()
    expect(page.locator("#cards .card[data-run='three-rounds']")).to_be_visible()
    expect(page.locator(f"#cards .card[data-run='{drawn}']")).to_have_count(0)


def test_a_filtered_gallery_can_be_linked_loaded_again_and_gone_back_to(page, server):
    page.goto(f"{server.url}/gallery?kind=Aha+moments&__theme=light")
    search, kind = page.get_by_placeholder("Search prompts"), page.locator("#kind input")
    card = page.locator(".card[data-run='three-rounds']")
    expect(kind).to_have_value("Aha moments")
    expect(card).to_contain_text("two apples")
    search.press_sequentially("two apples")
    page.wait_for_url(re.compile("__theme=light&kind=Aha.moments&search=two.apples$"))
    card.click()
    expect(page.locator("#viewer .prompt")).to_contain_text("two apples")
    page.wait_for_url(re.compile("search=two.apples&run=three-rounds$|run=three-rounds&search=two.apples$"))
    page.reload()
    expect(search).to_have_value("two apples")
    expect(page.locator("#viewer .prompt")).to_contain_text("two apples")
    page.go_back()
    expect(search).to_have_value("two apples")
    expect(kind).to_have_value("Aha moments")
    expect(page.locator("#viewer .prompt")).to_be_hidden()
    kind.click()
    page.get_by_role("option", name="Annotated").click()
    page.wait_for_url(re.compile("kind=Annotated"))
    page.go_back()
    expect(kind).to_have_value("Aha moments")
    expect(card).to_contain_text("two apples")


def test_hostile_words_are_words_on_every_page(page, server):
    def shows(address: str, *places: str) -> None:
        if address:
            page.goto(f"{server.url}/{address}")
        for place in places:
            expect(page.locator(place).first).to_contain_text(HOSTILE)
        assert page.evaluate("window.hacked") is None
        assert page.locator("img[src=q]").count() == 0
        found = "strong:not(#annotate-guidelines *), a[href^=javascript]"  # guidelines are Markdown, of an admin
        assert page.evaluate(f"document.querySelectorAll('{found}').length") == 0

    begin_drawing(page, server, HOSTILE)
    expect(page.locator("#timeline .notice")).to_be_visible()
    page.click("#timeline .anyway")
    as_it_comes(page)
    expect(page.locator("#timeline .ending .link").first).to_have_text("Permanent link")
    shows("", "#timeline .prompt")
    with server.store() as store:
        drawn = next(listed.id for listed in store.trajectories() if listed.prompt == HOSTILE)
    card = f".card[data-run='{drawn}'] .prompt"
    shows(f"?run={drawn}", "#timeline .prompt")
    shows(f"gallery?run={drawn}&{urlencode({'search': HOSTILE})}", "#viewer .prompt", card)
    expect(page.get_by_placeholder("Search prompts")).to_have_value(HOSTILE)
    shows(f"gallery?kind={HOSTILE}", card)
    shows(f"compare?left={drawn}&right={drawn}", "#left .prompt", "#right .prompt")
    shows(f"image?from={drawn}")
    expect(page.locator(".your-image textarea")).to_have_value(HOSTILE)
    shows(f"annotate?trajectory={drawn}", "#annotate-prompt h1")
    judge(page, "no")
    page.keyboard.press("c")
    expect(page.locator("[data-question=reason_correction] textarea")).to_be_focused()
    page.keyboard.insert_text(HOSTILE)
    page.keyboard.press("2")
    submit_and_go_on(page)
    shows("datasets")
    page.click("#datasets-export")
    shows("", "#datasets-rows tr:has-text('onerror')")


def test_a_data_set_is_exported_and_downloaded(page, server):
    with server.store() as store:
        waiting = not store.annotations(status=Status.SUBMITTED)
    if waiting:
        open_for_annotation(page, server, "three-rounds")
        judge(page, "yes")
        page.keyboard.press("5")
        submit_and_go_on(page)
    page.goto(f"{server.url}/datasets")
    page.click("#datasets-export")
    expect(page.locator("#datasets-rows img").first).to_be_visible()
    expect(page.locator("#datasets-command textarea")).to_have_value(re.compile("model.training.sft"))
    with page.expect_download() as download:
        page.click("#datasets-download")
    assert download.value.suggested_filename.endswith(".zip")
    assert Path(download.value.path()).read_bytes().startswith(b"PK")


@pytest.mark.parametrize(
    "file",
    ["{data}/studio.db", "{data}/images", "{data}/../app.log", "{root}/spaces_config.yaml", "app.py", "/etc/hosts"],
)
def test_no_file_of_the_server_is_handed_out(server, file):
    path = file.format(data=server.data, root=ROOT)
    for address in ("gradio_api/file=", "file=", "fonts/../../../", "static/"):
        answer = httpx2.get(f"{server.url}/{address}{path}")
        assert answer.status_code in (403, 404, 405), (address, answer.status_code)


@pytest.mark.parametrize("prompt", ["", "🐈" * 10_000, "a photo of a politician"])
def test_an_odd_prompt_is_answered_in_words(page, server, prompt):
    begin_drawing(page, server, prompt)
    expect(page.locator("#timeline .notice")).to_be_visible()
    said = page.locator("#timeline .notice").inner_text()
    assert 10 < len(said) < 600 and "Error" not in said
    assert "Traceback" not in page.content() and "Traceback" not in server.log.read_text()
    expect(page.locator("#draw")).to_be_enabled()


def test_a_killed_server_has_lost_nothing_that_was_finished_and_its_links_replay(page, server):
    drawn = draw(page, server)
    assert page.locator("#timeline .ending .link").first.get_attribute("href") == f"./?run={drawn}"
    open_for_annotation(page, server, drawn)
    judge(page, "yes")
    rates = page.locator("#annotate-sheet [data-question=reason_rating]").count()  # the model may have said no reason
    page.keyboard.press("5")
    submit_and_go_on(page)
    begin_recorded_drawing(page, server, "a yellow star")
    page.wait_for_function("window.painted.at(-1) > 0")
    server.kill()
    server.start()
    with server.store() as store:
        assert store.trajectory(drawn).stop_reason is not None
        for sha256 in (image.sha256 for image in store.trajectory(drawn).images):
            assert store.picture(sha256).startswith(b"\x89PNG")
    rating = {"reason_rating": 5} if rates else {}
    assert annotations(server, drawn) == [{"verdict_right": "yes", **rating}]
    page.goto(f"{server.url}/annotate?trajectory={drawn}")
    expect(page.locator("#annotate-progress")).to_contain_text("done")
    page.goto(f"{server.url}/?run={drawn}")
    expect(page.locator("#timeline .ending")).to_contain_text("draw it again")
    expect(page.locator("#prompt textarea")).to_have_value(PROMPT)


def test_a_data_folder_that_cannot_be_written_is_said_in_a_line(tiny_checkpoint, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert "file" in start_in_vain(tmp_path / "file" / "data", tiny_checkpoint, free_port())


def test_a_folder_that_is_no_checkpoint_is_said_in_a_line(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in start_in_vain(tmp_path / "data", tmp_path / "empty", free_port())


def test_a_port_in_use_is_said_in_a_line(tiny_checkpoint, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert str(port) in start_in_vain(tmp_path / "data", tiny_checkpoint, port)


def test_an_argument_is_refused_and_where_settings_are_is_said():
    ended = subprocess.run([sys.executable, "app.py", "--port", "80"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "takes no arguments; settings are in spaces_config.yaml" in ended.stderr


def test_an_image_to_try_is_there_at_a_press(page, server):
    page.goto(f"{server.url}/image")
    page.get_by_role("button", name="make the umbrella blue").click()
    expect(page.locator(".your-image img")).to_be_visible()
    expect(page.locator(".your-image textarea")).to_have_value("make the umbrella blue")
    expect(page.locator("#start")).to_have_text("Edit it")
    page.click("#start")
    as_it_comes(page)
    expect(page.locator("#timeline .ending")).to_contain_text("The image is edited.")


def test_a_link_to_nothing_is_said_in_words(page, server):
    page.goto(f"{server.url}/image?from=nobody")
    expect(page.locator("#timeline .notice")).to_contain_text("No image can be taken over: there is no trajectory")


def test_no_image_of_a_drawing_that_was_stopped_before_its_end_is_offered(page, server):
    page.goto(f"{server.url}/gallery?run=stopped")
    expect(page.locator("#viewer .ending")).to_contain_text("Stopped.")
    expect(page.locator("#viewer .ending .copy").first).to_be_visible()
    expect(page.locator("#viewer .ending a", has_text="Use this image")).to_have_count(0)
    page.goto(f"{server.url}/?run=stopped")
    expect(page.locator("#timeline .ending")).to_contain_text("Stopped. Press Draw to draw all of it.")
    expect(page.locator("#prompt textarea")).to_have_value("a cat")


def test_an_image_from_the_gallery_is_judged_and_edited_in_the_page(page, server):
    page.goto(f"{server.url}/gallery?run=three-rounds")
    page.locator("#viewer .ending a", has_text="Use this image").click()
    expect(page.locator(".your-image img")).to_be_visible()
    expect(page.locator(".your-image textarea")).to_have_value("two apples")
    page.click("#start")
    expect(page.locator("#timeline .notice")).to_contain_text("unlike anything that the model has seen")
    page.click("#timeline .anyway")
    expect(page.locator("#timeline .verdict .p")).to_contain_text("p(yes)")
    expect(page.locator("#timeline .head .name")).to_have_text("Your image")
    page.get_by_label("Edit it").check()
    page.fill(".your-image textarea", "make the apple blue")
    expect(page.locator("#start")).to_have_text("Edit it")
    page.click("#start")
    page.click("#timeline .anyway")
    as_it_comes(page)
    expect(page.locator("#timeline .ending")).to_contain_text("The model has drawn all of the picture anew.")
    expect(page.locator("#timeline .guess")).to_contain_text("this is a guess")
    expect(page.locator("#timeline .head .name")).to_have_text(["Your image", "Edited"])


def test_many_images_are_judged_in_the_page(page, server, tmp_path):
    for name in ("two_cars.png", "a_cat.png"):
        (tmp_path / name).write_bytes(png(1))
    page.goto(f"{server.url}/image")
    page.click("#many button")
    page.locator("#many input[type=file]").set_input_files([tmp_path / "two_cars.png", tmp_path / "a_cat.png"])
    expect(page.locator("#many")).to_contain_text("a_cat")
    page.get_by_role("button", name="Judge them").click()
    expect(page.locator("#many")).to_contain_text("judgements")
    expect(page.locator("#many")).to_contain_text("a cat")


def test_what_was_drawn_is_deleted_at_the_second_press(page, server):
    drawn = draw(page, server)
    forget = page.locator("#timeline .forget")
    forget.click()
    expect(forget).to_contain_text("Press again")
    forget.click()
    expect(page.locator("#timeline .notice")).to_contain_text("It is deleted")
    expect(page.locator("#timeline .round")).to_have_count(0)
    page.goto(f"{server.url}/?run={drawn}")
    expect(page.locator("#timeline .notice")).to_contain_text("cannot be shown")


def test_the_link_of_a_drawing_is_copied_shared_and_opened_and_its_animation_downloaded(browser, server):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], reduced_motion="reduce")
    page = context.new_page()
    page.add_init_script("navigator.share = async (given) => { window.shared = given; };")  # a telephone has one
    page.goto(f"{server.url}/gallery?run=three-rounds")
    copy = page.locator("#viewer .copy").first
    copy.click(timeout=PATIENCE)
    expect(copy).to_have_text("Copied", timeout=PATIENCE)
    assert page.evaluate("navigator.clipboard.readText()") == f"{server.url}/?run=three-rounds"
    page.evaluate("navigator.clipboard.writeText('something else')")
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no HTTPS')); }")
    expect(copy).to_have_text("Copy link", timeout=PATIENCE)
    copy.click()
    expect(copy).to_have_text("Copied", timeout=PATIENCE)
    assert page.evaluate("navigator.clipboard.readText()") == f"{server.url}/?run=three-rounds"
    page.get_by_role("button", name="Share").click()
    shared = {"title": "Aha Studio", "text": "“two apples”", "url": f"{server.url}/?run=three-rounds"}
    assert page.evaluate("window.shared") == shared
    with page.expect_download() as download:
        page.locator("#viewer .animated").click()
    assert download.value.suggested_filename.endswith(".webp")
    with Picture.open(download.value.path()) as animation:
        assert animation.format == "WEBP" and animation.n_frames > 3
    page.goto(page.evaluate("navigator.clipboard.readText()"))
    expect(page.locator("#timeline .round")).to_have_count(3, timeout=PATIENCE)
    context.close()
