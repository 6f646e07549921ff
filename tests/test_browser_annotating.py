"""An annotator at work off this machine: the real app in mode public, a real browser, the keyboard alone."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import PATIENCE, judge, new_page
from playwright.sync_api import Browser, Locator, Page, expect
from running_app import Server
from sqlalchemy import func, select
from test_annotations_samples import aha
from test_browser import draw

from annotations.auth.accounts import add, person
from annotations.db.tables import LeaseRow
from annotations.moderation.reports import open_reports
from annotations.queue import flags
from annotations.queue.progress import project_counts
from annotations.schema.annotation import Annotation, Status
from annotations.schema.default_projects import ARENA, CHECKLIST, RANKED, REFLECTIONS_PROJECT, RICH
from annotations.schema.project import ItemPurpose, Order, Role
from annotations.store.items import NewItem
from annotations.store.store import open_store

PASSWORD = "a long enough one"


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    with open_store(folder / "data") as store:
        add(store, "ada", Role.ANNOTATOR, PASSWORD)
        add(store, "rae", Role.REVIEWER, PASSWORD)
        add(store, "kim", Role.ADMIN, PASSWORD)
        add(store, "gus", Role.GUEST, PASSWORD)
        for number in range(7):
            trajectory, pictures = aha(number, prompt=f"{number} apples")
            store.save(trajectory, pictures, owner="visitor")
        store.create_project(replace(RICH, practice=1))
        store.create_project(ARENA)
        pears = [store.save(*aha(20 + number, prompt="two pears"), owner="visitor") for number in range(13)]
        known = ({"segment": 1, "answers": {"alignment": 5}, "because": "Both are there."},)
        store.add_items(RICH.id, [NewItem(pears[0], use=ItemPurpose.PRACTICE, gold=known), *map(NewItem, pears[1:])])
        store.add_items(ARENA.id, [NewItem(*pears[:2])])
        hidden = {"id": "hidden", "name": "Hidden", "collects": False, "hides_verdict": True}
        store.create_project(replace(REFLECTIONS_PROJECT, **hidden, reasons=("one is green.",)))
        store.add_items("hidden", [NewItem(pear) for pear in pears[:3]])
        for project in (CHECKLIST, RANKED):
            store.create_project(project)
            store.add_items(project.id, [NewItem(store.save(*aha(50, prompt="two apples"), owner="visitor"))])
        store.create_project(replace(RICH, id="marked", name="Marked", role=Role.REVIEWER))
        store.add_items("marked", [NewItem(pears[0])])
        for name, rating in (("ann", 2), ("bob", 5)):
            for segment, alignment in ((1, 4), (3, rating)):
                said = {"alignment": alignment, "appearance": 3}
                store.annotate(Annotation(pears[0], segment, name, said, project="marked"))
        counted = replace(REFLECTIONS_PROJECT, id="counted", name="Counted", collects=False, overlap=3)
        store.create_project(counted)
        store.add_items("counted", [NewItem(pear) for pear in pears[:2]])
        for pear in pears[:2]:
            for name, right in (("eve", "yes"), ("bob", "yes"), ("cyd", "no")):
                said = {"verdict_right": right} | (
                    {"reason_rating": 4} if right == "yes" else {"reason_correction": "x"}
                )
                for segment in (2, 4):
                    store.annotate(Annotation(pear, segment, name, said, project="counted"))
        store.create_project(replace(RICH, id="passing", name="Passing"))
        store.create_project(replace(REFLECTIONS_PROJECT, id="filled", name="Filled", collects=False))
        store.create_project(replace(counted, id="anew", name="Anew", overlap=2))
        store.add_items("anew", [NewItem(pears[2])])
        for segment in (2, 4):
            agreed = {"verdict_right": "yes", "reason_rating": 4}
            store.annotate(Annotation(pears[2], segment, "bob", agreed, project="anew"))
    server = Server(folder / "data", tiny_checkpoint, folder / "app.log", mode="public")
    server.start()
    yield server
    server.stop()


def sign_in(page: Page, server: Server, password: str = PASSWORD, name: str = "ada") -> None:
    """From the page that refuses a visitor, through the form, by keyboard."""
    page.goto(f"{server.url}/annotate")
    page.click("#refusal a.button")
    page.locator("input[name=name]").press_sequentially(name)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def enter(page: Page, server: Server, path: str, name: str = "ada") -> None:
    """Open a page as somebody, signed in by what the form sends: the form costs three pages more."""
    said = {"name": name, "password": PASSWORD, "to": "results"}
    answer = page.request.post(f"{server.url}/enter", form=said, max_redirects=0)
    assert answer.headers["location"] == "results"
    page.goto(f"{server.url}/{path}")


def open_project(page: Page, server: Server, project: str) -> None:
    enter(page, server, f"annotate?project={project}")
    expect(page.locator(".sheet .question.current")).to_be_visible()


def token(page: Page) -> str:
    return page.locator("#annotate-token :is(input, textarea)").input_value()


def hand_in(page: Page) -> None:
    """By keyboard, until the next sheet is there."""
    before = token(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-token :is(input, textarea)")).not_to_have_value(before)
    expect(page.locator(".sheet input:checked")).to_have_count(0)


def rate(page: Page, *ratings: str) -> None:
    """Two for the picture that is large; Ctrl+Enter leads to what is missing, which is the next picture."""
    for number, rating in enumerate(ratings):
        if number == 2:
            page.keyboard.press("Control+Enter")
            expect(page.locator(".sheet .missing")).to_contain_text("Image 2")
        page.keyboard.press(rating)


def rated(server: Server) -> list[dict]:
    """What ada has submitted of pictures, in the order she did."""
    with server.store() as store:
        given = store.annotations(annotator="ada", project=RICH.id, status=Status.SUBMITTED)
    return [a.answers.to_dict() for a in given if a.segment is not None]


def submitted(server: Server) -> int:
    with server.store() as store:
        return len([a for a in store.annotations(annotator="ada", status=Status.SUBMITTED) if a.segment in (2, 4)])


def test_a_visitor_is_shown_the_way_in_and_nothing_else(page: Page, server: Server):
    for path in ("annotate", "datasets"):
        page.goto(f"{server.url}/{path}")
        expect(page.locator("#refusal")).to_contain_text("not open to visitors")
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
        judge(page, "yes")
        page.keyboard.press("4")
        expect(page.locator("[data-question=reason_rating] input").nth(3)).to_be_checked()
        page.keyboard.press("Control+Enter")
        expect(page.locator("#annotate-token :is(input, textarea)")).not_to_have_value(token)
        expect(page.locator("[data-question=verdict_right] input:checked")).to_have_count(0)
        assert submitted(server) == done + 1
    page.keyboard.press("u")
    expect(page.locator("#annotate-note")).to_contain_text("Taken back")
    expect(page.locator("[data-question=verdict_right] input[value=yes]")).to_be_checked()
    assert submitted(server) == 9
    box, judged = page.locator("[data-question=reason_correction] textarea"), "[data-question=verdict_right]"
    reason = box.input_value()
    judge(page, "no")
    page.keyboard.press("1")
    expect(box).not_to_have_value(reason)
    chosen = box.input_value()
    judge(page, "yes")  # a reason for the other verdict is none for this one
    expect(box).to_have_value(reason)
    judge(page, "no")
    expect(box).to_have_value(chosen)
    page.keyboard.press("9")  # there is no such reason, and a rating is none
    expect(page.locator("[data-question=reason_rating] input").nth(3)).to_be_checked()
    judge(page, "yes")
    expect(page.locator(f"{judged} input[value=yes]")).to_be_checked()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-prompt h1")).to_have_text("5 apples")
    assert submitted(server) == 10
    page.keyboard.press("g")
    expect(page.locator("#annotate-guidelines")).to_contain_text("say whether the picture fits")
    expect(page.locator("#annotate-guidelines strong").first).to_be_visible()
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
    enter(page, server, "annotate")
    page.wait_for_selector("#annotate-submit")
    judge(page, "no")
    page.keyboard.press("c")
    expect(page.locator("[data-question=reason_correction] textarea")).to_be_focused()
    page.keyboard.type("half a reason")
    with server.store() as store:
        for _ in range(1200):
            kept = [dict(a.answers) for a in store.annotations(status=Status.UNFINISHED)]
            if any(a.get("reason_correction") == "half a reason" for a in kept):
                break
            page.wait_for_timeout(50)
        assert {"verdict_right": "no", "reason_correction": "half a reason"} in kept
    page.reload()
    expect(page.locator("[data-question=reason_correction] textarea")).to_have_value("half a reason")
    expect(page.locator("[data-question=verdict_right] input[value=no]")).to_be_checked()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator(".masthead .account")).to_have_text("Sign in")
    page.goto(f"{server.url}/annotate")
    expect(page.locator("#refusal")).to_contain_text(re.compile("Sign in"))
    held = select(func.count()).select_from(LeaseRow).where(LeaseRow.outcome.is_(None))
    with server.store() as store:
        for _ in range(1200):
            with store.database.reading() as session:
                if session.scalar(held) == 0:
                    return
            page.wait_for_timeout(50)
    pytest.fail("the item is still held, although no page shows it")


ENTER_AT_THE_LESSON = """() => new MutationObserver((_, observer) => {  // pressed as soon as it can be read
  const lesson = document.querySelector('#annotate-learnt .lesson');
  if (!lesson) return;
  observer.disconnect();
  window.lessonRead = lesson.textContent;
  const enter = {key: 'Enter', code: 'Enter', bubbles: true, cancelable: true};
  document.body.dispatchEvent(new KeyboardEvent('keydown', enter));
}).observe(document.querySelector('#annotate-learnt'), {childList: true, subtree: true})"""


def test_who_is_new_practises_and_is_told_what_was_right(page: Page, server: Server):
    open_project(page, server, RICH.id)
    expect(page.locator("#annotate-learnt .practice")).to_be_visible()
    rate(page, "1", "3", "4", "4")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-learnt .feedback")).to_contain_text("wanted 5. Both are there.")
    ringed = page.locator(".sheet .wanted")
    expect(ringed).to_have_text("5")
    expect(page.locator(".sheet .why")).to_have_text("Both are there.")
    expect(page.locator("#annotate-learnt .result")).to_contain_text("0 of 1 right")
    page.keyboard.press("a")
    expect(page.locator("#annotate-learnt .practice")).to_be_visible()
    expect(page.locator(".sheet input:checked")).to_have_count(0)
    rate(page, "5", "3", "4", "4")
    page.evaluate(ENTER_AT_THE_LESSON)
    page.keyboard.press("Control+Enter")
    page.wait_for_function("window.lessonRead?.includes('1 of 1 right')")
    expect(page.locator("#annotate-learnt .lesson")).to_have_count(0)
    expect(page.locator("#annotate-learnt .practice")).to_have_count(0)
    expect(page.locator(".sheet .question.current")).to_be_visible()


def test_ten_pictures_are_rated_by_keyboard_alone_and_one_is_taken_back(page: Page, server: Server):
    open_project(page, server, RICH.id)
    if page.locator("#annotate-learnt .practice").count():  # where this test runs by itself
        rate(page, "5", "5", "5", "5")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#annotate-on")).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.locator(".sheet input:checked")).to_have_count(0)
    practised = len(rated(server))
    assert page.evaluate("document.documentElement.scrollHeight") <= 900
    for done in range(10):
        rate(page, "2", "4", "5", "3")
        hand_in(page)
        assert len(rated(server)) == practised + 2 * (done + 1)
    assert rated(server)[-2:] == [{"alignment": 2, "appearance": 4}, {"alignment": 5, "appearance": 3}]
    page.keyboard.press("u")
    expect(page.locator("#annotate-note")).to_contain_text("Taken back")
    expect(page.locator(".sheet .thing:not([hidden]) input:checked")).to_have_count(2)
    assert len(rated(server)) == practised + 18
    page.keyboard.press("1")  # the answer was wrong
    page.keyboard.press("r")  # and here is where
    for key in ("ArrowLeft", "ArrowUp", "Enter", *("ArrowRight",) * 5, *("ArrowDown",) * 10, "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".sheet .large .mark.box")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("c")
    page.keyboard.type("One lies on its side; 5?")
    page.keyboard.press("Escape")
    hand_in(page)
    box = {"x": 0.48, "y": 0.48, "w": 0.1, "h": 0.2, "label": "artifact"}
    first, second = rated(server)[-2:]
    assert first == {"alignment": 1, "appearance": 4, "regions": [box], "words_not_drawn": [1]}
    assert second == {"alignment": 5, "appearance": 3}
    with server.store() as store:
        comments = [a.answers for a in store.annotations(annotator="ada", project=RICH.id) if a.segment is None]
    assert dict(comments[-1]) == {"comment": "One lies on its side; 5?"}
    page.keyboard.press("?")
    expect(page.locator("#sheet-keys")).to_be_visible()
    page.keyboard.press("Escape")


def test_a_box_and_a_point_are_drawn_with_the_mouse_where_the_picture_is_enlarged(page: Page, server: Server):
    open_project(page, server, RICH.id)
    pane = page.locator(".sheet .large .pane")
    frame = pane.bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]

    page.mouse.move(*at(0, 0))
    for _ in range(6):
        page.mouse.wheel(0, -120)  # about the corner that stays where it is
    zoomed = float(page.evaluate("document.querySelector('.sheet .together').view.zoom"))
    assert zoomed > 2
    same = "getComputedStyle(document.querySelectorAll('.sheet .inner')[{}]).width"
    small, other = (page.evaluate(same.format(number)) for number in (1, 2))
    assert small == other  # the small ones are enlarged with it
    page.keyboard.press("2")  # a rating: what is drawn does not depend on where one is
    page.mouse.move(*at(0.2, 0.4))
    page.mouse.down()
    page.mouse.move(*at(0.6, 0.8), steps=5)
    page.mouse.up()
    page.keyboard.press("2")
    page.mouse.click(*at(0.9, 0.1))
    expect(page.locator(".sheet .list li").first).to_contain_text("misalignment")
    page.keyboard.press("Delete")
    expect(page.locator(".sheet .large .mark")).to_have_count(1)
    page.mouse.click(*at(0.9, 0.1))
    wanted = [{"x": 0.2, "y": 0.4, "w": 0.4, "h": 0.4}, {"x": 0.9, "y": 0.1}]
    smaller = [{name: value / zoomed for name, value in region.items()} for region in wanted]
    wait_until_kept(page, server, smaller, "misalignment")
    page.reload()
    expect(page.locator(".sheet .large .mark")).to_have_count(2)


def wait_until_kept(page: Page, server: Server, wanted: list[dict[str, float]], label: str) -> None:
    """What is marked on the sheet that is not handed in yet."""
    for _ in range(1200):
        marked = marks_kept(server)
        labels = {region.pop("label") for region in marked}
        if labels == {label} and len(marked) == len(wanted):
            pairs = zip(marked, wanted, strict=True)
            if all(region == pytest.approx(places, abs=0.004) for region, places in pairs):
                return
        page.wait_for_timeout(50)
    raise AssertionError(f"kept are {marked}, wanted {wanted} as {label}")


def marks_kept(server: Server) -> list[dict[str, float | str]]:
    with server.store() as store:
        kept = [a.answers.to_dict() for a in store.annotations(annotator="ada", status=Status.UNFINISHED)]
    return [region for answers in kept for region in answers.get("regions", ())]


def test_a_box_is_moved_and_resized_and_keeps_its_label(page: Page, server: Server):
    open_project(page, server, RICH.id)

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        frame = page.locator(".sheet .large .pane").bounding_box()
        for (x, y), then in ((start, page.mouse.down), (end, page.mouse.up)):
            page.mouse.move(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"], steps=4)
            then()

    marks = page.locator(".sheet .large .mark")
    expect(marks).to_have_count(len(marks_kept(server)))  # what another test left unfinished
    while left := marks.count():
        page.locator(".sheet .list button").first.click()
        expect(marks).to_have_count(left - 1)
    drag((0.2, 0.2), (0.4, 0.5))
    page.keyboard.press("2")
    wait_until_kept(page, server, [{"x": 0.2, "y": 0.2, "w": 0.2, "h": 0.3}], "misalignment")
    drag((0.3, 0.3), (0.2, 0.4))  # by its middle
    wait_until_kept(page, server, [{"x": 0.1, "y": 0.3, "w": 0.2, "h": 0.3}], "misalignment")
    drag((0.3, 0.3), (0.5, 0.1))  # by a corner
    wait_until_kept(page, server, [{"x": 0.1, "y": 0.1, "w": 0.4, "h": 0.5}], "misalignment")
    drag((0.2, 0.2), (0.9, 0.9))  # no further than the picture
    wait_until_kept(page, server, [{"x": 0.6, "y": 0.5, "w": 0.4, "h": 0.5}], "misalignment")
    for key in ("e", "Shift+ArrowLeft", "Shift+ArrowLeft", "Enter"):
        page.keyboard.press(key)
    wait_until_kept(page, server, [{"x": 0.6, "y": 0.5, "w": 0.2, "h": 0.5}], "misalignment")
    page.keyboard.press("Escape")
    drag((0.65, 0.6), (0.75, 0.9))  # within it, now that nothing is taken
    expect(page.locator(".sheet .large .mark.box")).to_have_count(2)
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    expect(page.locator(".sheet .large .mark")).to_have_count(0)


def settled(page: Page, element: Locator) -> dict[str, float]:
    """Where an element is on the screen, once nothing that is still being loaded moves it."""
    before = None
    for _ in range(120):
        element.scroll_into_view_if_needed()
        now = element.bounding_box()
        if now == before:
            return now
        before = now
        page.wait_for_timeout(250)
    raise AssertionError("it does not come to rest")


def test_a_reviewer_draws_a_box_and_a_point_in_a_decision(page: Page, server: Server):
    enter(page, server, "review?project=marked", "rae")
    form = page.locator("#review-sheet .sheet")
    form.locator(".strip button").nth(1).click()
    frame = settled(page, form.locator(".large .pane"))

    def at(x: float, y: float) -> tuple[float, float]:
        return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]

    page.mouse.move(*at(0.2, 0.4))
    page.mouse.down()
    page.mouse.move(*at(0.6, 0.8), steps=5)
    page.mouse.up()
    expect(form.locator(".large .mark")).to_have_count(1)
    page.keyboard.press("2")  # the sheet is what was pressed last: another label
    page.mouse.click(*at(0.9, 0.1))
    expect(form.locator(".large .mark")).to_have_count(2)
    form.locator("[data-question=alignment]").nth(1).get_by_label("2", exact=True).check()
    page.click("#review-decide")
    expect(page.locator("#review-note")).to_contain_text("Decided")
    with server.store() as store:
        alike, decided = store.annotations(annotator="rae", project="marked")
    assert (alike.segment, alike.decision, alike.answers["alignment"]) == (1, "accepted", 4)
    assert (decided.segment, decided.decision, decided.answers["alignment"]) == (3, "rewritten", 2)
    box, point = decided.answers.to_dict()["regions"]
    assert box.pop("label") == point.pop("label") == "misalignment"
    assert box == pytest.approx({"x": 0.2, "y": 0.4, "w": 0.4, "h": 0.4}, abs=0.01)
    assert point == pytest.approx({"x": 0.9, "y": 0.1}, abs=0.01)
    expect(page.locator("#review-answers")).to_contain_text("misalignment at 20 %, 40 %")


def test_a_pair_is_compared_on_a_sheet_with_a_comment(page: Page, server: Server):
    open_project(page, server, ARENA.id)
    expect(page.locator(".sheet .large .pane")).to_have_count(2)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".sheet input").nth(3)).to_be_checked()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("2")
    page.keyboard.press("c")
    page.keyboard.type("Both are fine.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-prompt")).to_contain_text("Nothing waits for you")
    with server.store() as store:
        [stored] = store.annotations(annotator="ada", project=ARENA.id)
    assert (stored.answers["alignment"]["choice"], stored.answers["appearance"]["choice"]) == ("right", "tie")
    assert stored.answers["comment"] == "Both are fine."


def fits_the_screen(page: Page) -> bool:
    bottom = page.locator("#annotate-actions").bounding_box()
    return page.evaluate("document.documentElement.scrollHeight") <= 900 and bottom["y"] + bottom["height"] <= 900


def test_a_verdict_is_hidden_until_the_picture_is_judged_and_nothing_scrolls(page: Page, server: Server):
    open_project(page, server, "hidden")
    claim, others = page.locator("#annotate-claim .claim"), page.locator("#annotate-stage .strip .mark")
    page.keyboard.press(" ")  # there is nothing to agree with yet
    expect(claim).to_be_hidden()
    expect(others.first).to_be_hidden()
    judge(page, "no")
    expect(claim).to_be_visible()
    expect(others.first).to_be_visible()
    rating = page.locator("[data-question=reason_rating]")
    expect(rating).to_be_hidden()  # the reason of a wrong verdict is written anew, not rated
    judge(page, "yes")
    rating.locator("label").nth(3).click()
    expect(page.locator("#annotate-claim .said")).to_have_text("There are three apples instead of two.")
    judge(page, "no")
    expect(rating).to_be_hidden()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-note")).to_contain_text("write what it should have said")
    assert fits_the_screen(page)
    page.keyboard.press("1")
    expect(page.locator("[data-question=reason_correction] textarea")).to_have_value("one is green.")
    before = token(page)
    page.keyboard.press(" ")
    expect(page.locator("#annotate-token :is(input, textarea)")).not_to_have_value(before)
    expect(claim).to_be_hidden()
    with server.store() as store:
        [stored] = store.annotations(annotator="ada", project="hidden", status=Status.SUBMITTED)
    assert dict(stored.answers) == {"verdict_right": "no", "reason_correction": "one is green."}


def test_a_flag_is_answered_by_a_reviewer_and_ones_own_drawings_are_opened_again(page: Page, server: Server):
    open_project(page, server, "hidden")
    page.keyboard.press("f")
    expect(page.locator("#annotate-flag-note textarea")).to_be_focused()
    page.keyboard.type("Is a <pear> an apple?")
    page.click("#annotate-flag-send")
    expect(page.locator("#annotate-flag-told")).to_contain_text("Flagged")
    page.keyboard.press("Escape")
    before = token(page)
    page.keyboard.press("m")
    expect(page.locator("#annotate-mine-panel .flags")).to_contain_text("Is a <pear> an apple?")
    page.locator("#annotate-mine-panel [data-item]").first.click()
    expect(page.locator("#annotate-token :is(input, textarea)")).not_to_have_value(before)
    expect(page.locator("#annotate-panel")).to_be_hidden()
    page.context.clear_cookies()
    enter(page, server, "annotate?project=hidden", "rae")
    expect(page.locator(".sheet .question.current")).to_be_visible()
    page.keyboard.press("m")
    page.fill("#annotate-mine-panel .flags input", "Yes; judge it so.")
    page.keyboard.press("Enter")
    expect(page.locator("#annotate-mine-panel .answer")).to_contain_text("Yes; judge it so.")
    with server.store() as store:
        [flag] = flags.flags(store, "hidden")
    assert (flag.person, flag.answered_by) == ("ada", "rae")


def test_a_panel_is_closed_by_its_button_or_by_escape_on_a_telephone(page: Page, server: Server):
    page.set_viewport_size({"width": 390, "height": 844})
    open_project(page, server, "hidden")
    panel, close = page.locator("#annotate-panel"), page.locator("#annotate-panel .close")
    for opens in ("guide", "mine", "flag"):
        page.click(f"#annotate-{opens}")
        expect(panel).to_be_visible()
        box = close.bounding_box()
        assert min(box["width"], box["height"]) >= 44 and box["x"] + box["width"] <= 390 and box["y"] > 0
        close.click()
        expect(panel).to_be_hidden()
    page.click("#annotate-flag")
    expect(page.locator("#annotate-flag-note textarea")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(close).to_be_focused()
    page.keyboard.press("Enter")
    expect(panel).to_be_hidden()
    page.click("#annotate-flag")
    expect(page.locator("#annotate-flag-note textarea")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_an_admin_puts_a_picture_into_the_guidelines_by_a_click(page: Page, server: Server):
    enter(page, server, "annotate?project=hidden", "kim")
    expect(page.locator(".sheet .question.current")).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator("#annotate-examples")).to_contain_text("Nobody practises here")
    page.fill("#annotate-examples input", "<b>Too dark</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#annotate-examples li")).to_contain_text("<b>Too dark</b>")
    expect(page.locator("#annotate-examples img")).to_have_count(1)
    page.click("#annotate-examples [data-without]")
    expect(page.locator("#annotate-examples img")).to_have_count(0)


def test_a_telephone_shows_a_sheet_without_scrolling_sideways(page: Page, server: Server):
    page.set_viewport_size({"width": 390, "height": 844})
    open_project(page, server, RICH.id)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".sheet .large .pane").bounding_box()["width"] > 200


def test_facts_are_ticked_by_keys_the_verdict_follows_and_is_overruled(page: Page, server: Server):
    open_project(page, server, CHECKLIST.id)
    facts = page.locator(".sheet .question.facts:visible .fact")
    expect(facts).to_have_count(3)  # two apples; nothing else; so the picture
    page.keyboard.press("2")
    expect(facts.nth(1)).to_have_class(re.compile("cursor"))
    page.keyboard.press("n")
    page.keyboard.press("y")  # back at the first, which was left open
    expect(facts.nth(2).locator("input[value=no]")).to_be_checked()
    expect(facts.nth(2)).to_have_class(re.compile("cursor"))
    page.keyboard.press("y")
    expect(facts.nth(2).locator("input[value=yes]")).to_be_checked()
    page.keyboard.press("Control+Enter")
    expect(page.locator(".sheet .missing")).to_contain_text("Image 2")
    for key in "xyy":  # the first cannot be told: the verdict is the person's
        page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-prompt")).to_contain_text("Nothing waits for you")
    with server.store() as store:
        first, second = (a.answers.to_dict()["facts"] for a in store.annotations(annotator="ada", project=CHECKLIST.id))
    assert (first["verdict"], [fact["holds"] for fact in first["facts"]]) == ("yes", ["yes", "no"])
    assert (second["verdict"], [fact["holds"] for fact in second["facts"]]) == ("yes", ["unclear", "yes"])


def test_images_are_put_in_order_by_keys_and_by_dragging(page: Page, server: Server):
    open_project(page, server, RANKED.id)
    pictures = page.locator(".sheet .ranked li")
    page.keyboard.press("2")
    expect(pictures.locator(".rank")).to_have_text(["1", "2"])  # the last one left has the last place
    expect(pictures.first).to_contain_text("image 2")
    pictures.nth(1).drag_to(pictures.first)
    expect(pictures.first).to_contain_text("image 1")
    page.keyboard.press("ArrowRight")
    expect(pictures.first).to_contain_text("image 2")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#annotate-prompt")).to_contain_text("Nothing waits for you")
    with server.store() as store:
        [ranked] = store.annotations(annotator="ada", project=RANKED.id)
    assert ranked.answers["order"] == (3, 1)


def test_an_admin_adds_a_question_that_is_previewed_as_annotators_see_it(page: Page, server: Server):
    enter(page, server, f"project?id={RANKED.id}", "kim")
    page.click("#project-questions button")
    expect(page.locator("#question-preview .sheet .ranked li")).to_have_count(2)
    page.fill("#question-title textarea", "How lively is it?")
    page.click("#question-form input")
    page.get_by_role("option", name="a rating").click()
    expect(page.locator("#question-preview .sheet .rating .options label")).to_have_count(5)
    page.click("#question-keep")
    expect(page.locator("#question-chosen")).to_contain_text("How lively is it?")
    page.click("#question-up")
    expect(page.locator("#question-note")).to_contain_text("Moved")
    with server.store() as store:
        names = [question.name for question in store.project(RANKED.id).questions]
    assert names == ["order", "how_lively_is_it", "comment"]


def test_the_fields_of_a_question_are_those_of_its_form_and_a_pair_is_previewed_side_by_side(
    page: Page, server: Server
):
    enter(page, server, f"project?id={ARENA.id}", "kim")
    page.click("#project-questions button")
    panes = page.locator("#question-preview .sheet .large .pane")
    expect(panes).to_have_count(2)
    left, right = (pane.bounding_box() for pane in panes.all())
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"] and left["width"] > 200
    choices, scale = page.locator("#question-choices"), page.get_by_label("Scale from")
    for form, has_choices, has_scale in (
        ("a rating", False, True),
        ("one of some", True, False),
        ("words of their own", False, False),
    ):
        page.click("#question-form input")
        page.get_by_role("option", name=form, exact=True).click()
        expect(choices).to_be_visible(visible=has_choices)
        expect(scale).to_be_visible(visible=has_scale)
    page.fill("#question-title textarea", "What else?")
    page.click("#question-keep")
    expect(page.locator("#question-note")).to_contain_text("Stored")
    for chosen in ("What else?", "A new question"):
        page.get_by_role("radio", name=chosen, exact=True).check()
        expect(choices).to_be_hidden()
        expect(scale).to_be_hidden()
    page.get_by_role("radio", name="What else?", exact=True).check()
    page.click("#question-remove")
    expect(page.locator("#question-note")).to_contain_text("not asked any more")


def test_a_reviewer_accepts_the_majority_with_a_key_and_has_who_is_new_practise_on_it(page: Page, server: Server):
    enter(page, server, "review?project=counted", "kim")
    expect(page.locator("#review-answers")).to_contain_text("Fits")
    page.keyboard.press("a")
    expect(page.locator(".disputes")).to_contain_text("decided")
    with server.store() as store:
        decided = [each for each in store.annotations(project="counted") if each.decision]
    assert {each.answers["verdict_right"] for each in decided} == {"yes"}
    page.fill("#review-because textarea", "Both are there.")
    page.click("#review-practice")
    expect(page.locator("#review-note")).to_contain_text("It is for practice now")
    expect(page.locator(".disputes [aria-current]")).to_contain_text("decided")  # it stays with what was decided
    with server.store() as store:
        assert project_counts(store)["counted"].practice == 1


def said_anew(server: Server) -> list[dict]:
    """What ada has submitted in the project “anew”, by segment."""
    with server.store() as store:
        given = store.annotations(annotator="ada", project="anew", status=Status.SUBMITTED)
    return [dict(a.answers) for a in sorted(given, key=lambda a: a.segment or 0)]


def test_an_answer_that_a_reviewer_sends_back_is_given_anew_and_stands_in_review(page: Page, server: Server):
    open_project(page, server, "anew")
    for drawing in range(2):
        before = token(page)
        judge(page, "no")
        page.keyboard.press("c")
        page.keyboard.type("It is a plum.")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#annotate-token :is(input, textarea)")).not_to_have_value(before)
        assert len(said_anew(server)) == drawing + 1
    page.context.clear_cookies()
    enter(page, server, "review?project=anew", "rae")
    rows = page.locator("#review-answers")
    expect(rows).to_contain_text("It is a plum.")
    with server.store() as store:
        ada = f"person {store.pseudonyms(['ada'])['ada'][:6]}"
    page.click("#review-whose input")
    page.get_by_role("option", name=ada).click()
    page.fill("#review-why textarea", "Look again: <both> are pears.")
    page.click("#review-back")
    expect(page.locator("#review-note")).to_contain_text("it comes back to them, with your note")
    expect(rows).not_to_contain_text("It is a plum.")
    assert said_anew(server) == []
    page.context.clear_cookies()
    open_project(page, server, "anew")
    expect(page.locator("#annotate-learnt")).to_contain_text("asks for this anew: Look again: <both> are pears.")
    expect(page.locator("[data-question=reason_correction] textarea")).to_have_value("It is a plum.")
    for _ in range(2):
        before = token(page)
        correction = page.locator("[data-question=reason_correction] textarea")
        correction.fill("")
        correction.blur()
        judge(page, "yes")
        page.keyboard.press("5")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#annotate-token :is(input, textarea)")).not_to_have_value(before)
    expect(page.locator("#annotate-learnt")).not_to_contain_text("anew")
    assert said_anew(server) == [{"verdict_right": "yes", "reason_rating": 5}] * 2
    page.context.clear_cookies()
    with server.store() as store:
        [item] = {a.item for a in store.annotations(annotator="ada", project="anew")}
    enter(page, server, f"review?project=anew&item={item}", "rae")
    expect(rows).to_contain_text("5")
    expect(rows).not_to_contain_text("It is a plum.")


def test_an_admin_archives_a_project_and_deletes_it_by_its_name(page: Page, server: Server):
    enter(page, server, "project?id=passing", "kim")
    page.click("#project-removal button")
    expect(page.locator("#project-consequences")).to_contain_text("It can be taken out again")
    page.click("#project-archive")
    expect(page.locator("#project-consequences")).to_contain_text("It is in the archive now")
    page.click("#project-delete")
    expect(page.locator("#project-removal")).to_contain_text("Nothing is deleted")
    page.fill("#project-delete-name :is(input, textarea)", "Passing")
    page.click("#project-delete")
    expect(page.locator("#project-removal")).to_contain_text("It is deleted.")
    page.goto(f"{server.url}/projects")
    expect(page.locator("#projects-list")).to_contain_text("Counted")
    expect(page.locator("#projects-list")).not_to_contain_text("Passing")


def test_an_admin_hides_several_drawings_by_keys_and_shows_them_again(page: Page, server: Server):
    enter(page, server, "gallery?search=apples", "kim")
    cards = page.locator("#cards a[data-run]")
    expect(page.locator("#gallery-select")).to_be_visible()
    expect(cards).not_to_have_count(0)
    there = cards.count()
    for card in (0, 1):
        cards.nth(card).focus()
        page.keyboard.press("x")
    expect(page.locator("#gallery-count")).to_contain_text("2 chosen")
    page.click("#gallery-hide")
    expect(page.locator("#gallery-bulk-note")).to_contain_text("2 drawings are hidden")
    expect(cards).to_have_count(there - 2)
    page.goto(f"{server.url}/gallery?kind=Hidden")
    expect(cards).to_have_count(2)
    page.click("#gallery-select")
    page.keyboard.press("a")
    page.click("#gallery-show")
    expect(cards).to_have_count(0)
    page.goto(f"{server.url}/gallery?search=apples")
    expect(cards).to_have_count(there)


def test_an_invitation_makes_an_account_which_an_admin_gives_another_role(page: Page, server: Server):
    enter(page, server, "people", "kim")
    expect(page.locator("#people")).to_contain_text("ada")
    page.click("#people-invite button >> nth=0")
    page.click("#people-make-link")
    link = page.locator("#people-link :is(input, textarea)")
    expect(link).to_have_value(re.compile("^http"))
    address = link.input_value()
    page.context.clear_cookies()
    page.goto(address)
    page.fill("input[name=name]", "newton")
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(".masthead .account")).to_contain_text("newton")
    page.context.clear_cookies()
    enter(page, server, "people", "kim")
    expect(page.locator("#people")).to_contain_text("newton")
    page.click("#people-chosen input")
    page.get_by_role("option", name=re.compile("newton")).click()
    page.click("#people-role input")
    page.get_by_role("option", name="reviewer").click()
    page.click("#people-set-role")
    expect(page.locator("#people-note p")).to_be_visible()
    with server.store() as store:
        assert person(store, "newton").role is Role.REVIEWER


def test_who_is_signed_out_everywhere_has_to_sign_in_again_and_may(browser: Browser, page: Page, server: Server):
    with new_page(browser) as elsewhere:
        sign_in(elsewhere, server, name="rae")
        expect(elsewhere.locator(".masthead .account")).to_contain_text("rae")
        elsewhere.goto(f"{server.url}/review")
        expect(elsewhere.locator("#review-queue")).to_be_visible()
        sign_in(page, server, name="kim")
        page.wait_for_selector("#annotate-submit")
        page.goto(f"{server.url}/people")
        page.click("#people-chosen input")
        page.get_by_role("option", name="rae").click()
        page.click("#people-sign-out")
        expect(page.locator("#people-note")).to_contain_text("Signed out on all machines.")
        elsewhere.reload()
        expect(elsewhere.locator("#refusal a.button")).to_be_visible()
        expect(elsewhere.locator("#review-queue")).to_have_count(0)
        sign_in(elsewhere, server, name="rae")
        expect(elsewhere.locator(".masthead .account")).to_contain_text("rae")
        page.reload()
        expect(page.locator("#people")).to_contain_text("kim")  # whose own session goes on


def test_a_prompt_with_a_blocked_word_is_refused_until_the_word_is_taken_out(
    browser: Browser, page: Page, server: Server
):
    def block(*words: str) -> None:
        expect(page.locator("#moderation-found .choice").first).to_be_visible()  # it has been filled
        page.fill("#moderation-words textarea", "\n".join(words))
        page.wait_for_timeout(50)  # until Gradio has what was typed
        page.click("#moderation-block")
        expect(page.locator("#moderation-note")).to_contain_text(f"{len(words)} blocked")

    enter(page, server, "moderation", "kim")
    block("Car")
    with new_page(browser) as visitor:
        visitor.goto(server.url)
        visitor.fill("#prompt textarea", "a red CAR")
        visitor.click("#draw")
        expect(visitor.locator("#timeline .notice")).to_contain_text("“Car” is not drawn in this studio")
        expect(visitor.locator("#timeline .picture canvas")).to_have_count(0)
        block()
        visitor.click("#draw")
        expect(visitor.locator("#timeline .picture canvas").first).to_be_visible()


def test_a_project_is_filled_from_the_gallery_by_a_filter_and_by_prompts(page: Page, server: Server):
    enter(page, server, "project?id=filled", "kim")
    page.locator("#project-form > button").click()
    page.get_by_label("Order", exact=True).click()
    page.get_by_role("option", name="Where an answer teaches most").click()
    page.click("#project-store")
    expect(page.locator("#project-note")).to_contain_text("Stored.")
    page.locator("#project-add > button").click()
    add = page.locator("#project-add")
    add.get_by_label("Prompt has").fill("5 apples")
    page.click("#project-add-gallery")
    expect(page.locator("#project-note")).to_contain_text("1 item added.")
    page.click("#project-add-gallery")
    expect(page.locator("#project-note")).to_contain_text("1 was there already")
    add.get_by_text("From prompts").click()
    add.get_by_label("Prompts, one a line").fill("a red car\ntwo blue cats")
    page.click("#project-draw")
    expect(page.locator("#project-note")).to_contain_text("2 items added.")
    with server.store() as store:
        (counts,) = [each for id, each in project_counts(store).items() if id == "filled"]
        assert counts.items == 3 and store.project("filled").order is Order.ACQUISITION_SCORE
        assert {"a red car", "two blue cats"} <= {each.prompt for each in store.trajectories(limit=100)}


def test_a_guest_sees_results_and_draws_nothing(page: Page, server: Server):
    page.goto(f"{server.url}/results")
    page.click("#refusal a.button")
    page.locator("input[name=name]").press_sequentially("gus")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#results .projects")).to_contain_text("Counted")
    page.get_by_role("link", name="Counted").click()
    expect(page.locator("#results .card").first).to_contain_text("yes ×4")
    expect(page.locator("#results")).not_to_contain_text("eve")
    page.goto(server.url)
    page.fill("#prompt textarea", "two apples")
    page.click("#draw")
    expect(page.get_by_text("A guest looks on and changes nothing").first).to_be_visible()


def test_a_visitor_reports_a_drawing_and_whose_browser_asked_for_it_deletes_it(browser: Browser, server: Server):
    expect.set_options(timeout=PATIENCE)
    mine, other = browser.new_context(), browser.new_context()
    drawn = draw(mine.new_page(), server, "a purple key")
    looking = other.new_page()
    looking.goto(f"{server.url}/gallery?run={drawn}")
    expect(looking.locator("#viewer .ending .copy")).to_be_visible()
    expect(looking.locator("#viewer .forget")).to_have_count(0)
    looking.click("#gallery-report button >> nth=0")
    looking.get_by_label("What is wrong with it").fill("That is <no> key.")
    looking.get_by_role("button", name="Report it").click()
    expect(looking.locator("#gallery-report .done")).to_be_visible()
    with server.store() as store:
        assert [(each.trajectory_id, each.notes) for each in open_reports(store)] == [(drawn, ("That is <no> key.",))]
    page = mine.new_page()
    page.goto(f"{server.url}/gallery?search=purple&run={drawn}")
    page.locator("#viewer .forget").click()
    page.locator("#viewer .forget").click()
    expect(page.locator("#viewer .notice")).to_contain_text("It is deleted")
    expect(page.locator("#cards .card")).to_have_count(0)
    page.wait_for_url(re.compile(r"/gallery\?search=purple$"))
    looking.reload()
    expect(looking.locator("#viewer .notice")).to_contain_text("cannot be shown")
    mine.close()
    other.close()
