"""The keyboard on other layouts than the American one: events with the keys and codes of each, in a real Chromium."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from running_app import Server
from test_annotations_samples import aha, judged
from thoroughness import few

from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import ARENA, REFLECTIONS_PROJECT
from annotations.schema.forms.text import Text
from annotations.schema.question_targets import PAIR
from annotations.schema.questions import Question
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store
from studio.theme import script

PRESS = """(presses) => presses.forEach(([key, code, more]) => document.activeElement.dispatchEvent(
  new KeyboardEvent('keydown', { key, code, bubbles: true, cancelable: true, ...more })))"""
SHIFT, CAPS = {"shiftKey": True}, {"modifierCapsLock": True}
SUBMIT = ["Enter", "Enter", {"ctrlKey": True}]


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.add_script_tag(content=script("components/keys.js") + "; window.namesOf = namesOf;")
    yield page
    page.close()


@pytest.mark.parametrize(
    ("layout", "key", "code", "more", "name"),
    [
        ("US", "y", "KeyY", {}, "y"),
        ("Caps Lock", "Y", "KeyY", CAPS, "y"),
        ("Caps Lock and shift", "c", "KeyC", SHIFT | CAPS, "shift+c"),
        ("Russian", "н", "KeyY", {}, "y"),
        ("Russian", "Т", "KeyN", CAPS, "n"),
        ("Russian", "ю", "Period", {}, "."),
        ("Russian", "С", "KeyC", SHIFT, "shift+c"),
        ("Greek", "υ", "KeyY", {}, "y"),
        ("Arabic", "غ", "KeyY", {}, "y"),
        ("Arabic", "}", "KeyC", SHIFT, "shift+c"),
        ("Hebrew", "ט", "KeyY", {}, "y"),
        ("Thai", "ื", "KeyN", {}, "n"),
        ("Hindi", "ब", "KeyY", {}, "y"),
        ("Korean", "ㅛ", "KeyY", {}, "y"),
        ("AZERTY", "&", "Digit1", {}, "1"),
        ("AZERTY", "é", "Digit2", {}, "2"),
        ("AZERTY", "1", "Digit1", SHIFT, "shift+1"),
        ("US", "!", "Digit1", SHIFT, "shift+1"),
        ("US", "4", "Numpad4", {}, "4"),
        ("AZERTY", "?", "KeyM", SHIFT, "?"),
        ("Dvorak", "y", "KeyT", {}, "y"),
        ("Dvorak", "s", "Semicolon", {}, "s"),
        ("Dvorak", ".", "KeyE", {}, "."),
        ("QWERTZ", "y", "KeyZ", {}, "y"),
        ("QWERTZ", "?", "Minus", SHIFT, "?"),
        ("full width", "ｙ", "KeyY", {}, "y"),
        ("a telephone", "y", "", {}, "y"),
        ("an input method", "Process", "KeyY", {"keyCode": 229}, None),
        ("an input method", "y", "KeyY", {"isComposing": True}, None),
        ("a browser's own", "y", "KeyY", {"ctrlKey": True}, None),
        ("a browser's own", "y", "KeyY", {"altKey": True}, None),
        ("a browser's own", "y", "KeyY", {"metaKey": True}, None),
    ],
)
def test_a_press_has_the_name_of_what_is_meant_on_each_layout(blank, layout, key, code, more, name):
    names = "([key, code, more]) => namesOf(new KeyboardEvent('keydown', { key, code, ...more }))"
    assert name in (blank.evaluate(names, [key, code, more]) or [None])


def test_a_letter_that_the_layout_shows_is_never_taken_for_the_one_of_its_place(blank):
    names = "([key, code]) => namesOf(new KeyboardEvent('keydown', { key, code }))"
    for key, code in (("f", "KeyY"), ("b", "KeyN"), (".", "KeyE"), ("o", "KeyS")):  # Dvorak
        assert blank.evaluate(names, [key, code]) == [key]


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    with open_store(folder / "data") as store:
        for number in range(12):
            trajectory, pictures = aha(number, prompt=f"{number} apples")
            store.save(trajectory, pictures, owner="visitor")
        why = Question("why", PAIR, Text(), "Why?")
        store.create_project(replace(ARENA, overlap=None, questions=(*ARENA.questions, why)))
        pears = [store.save(*aha(20 + number, prompt="two pears"), owner="visitor") for number in range(6)]
        store.add_items(ARENA.id, [NewItem(*pears[at : at + 2]) for at in (0, 2, 4)])
        disputed(store)
        of_plums(store, "agreed", 10)
        of_plums(store, "typed ahead", 1)
    server = Server(folder / "data", tiny_checkpoint, folder / "app.log")
    server.start()
    yield server
    server.stop()


def of_plums(store: Store, project: str, drawings: int) -> None:
    """A project of some drawings' reflections, of each one no and one yes."""
    store.create_project(replace(REFLECTIONS_PROJECT, id=project.replace(" ", "-"), name=project, collects=False))
    plums = [
        store.save(*aha(50 + number, prompt=f"{number} plums of {project}"), owner="visitor")
        for number in range(drawings)
    ]
    store.add_items(project.replace(" ", "-"), [NewItem(plum) for plum in plums])


def disputed(store: Store) -> None:
    """Two reflections and a pair, each with answers that differ."""
    for base, id in ((REFLECTIONS_PROJECT, "reviewed"), (ARENA, "reviewed-pairs")):
        store.create_project(replace(base, id=id, name=id, collects=False, closed_at=None))
    plums = [store.save(*aha(30 + number, prompt=f"{number} plums"), owner="visitor") for number in range(2)]
    store.add_items("reviewed", [NewItem(plum) for plum in plums])
    grapes = [store.save(*aha(40 + number, prompt="two grapes"), owner="visitor") for number in range(2)]
    (pair,) = store.add_items("reviewed-pairs", [NewItem(*grapes)])
    for name, answer, side in (("ann", "yes", "left"), ("bob", "no", "right")):
        for plum in plums:
            store.annotate(replace(judged(plum, 2, name, verdict_right=answer), project="reviewed"))
        sides = {"choice": side, "left": grapes[0], "right": grapes[1]}
        required = [question.name for question in ARENA.questions if question.required]
        store.annotate(
            Annotation(grapes[0], None, name, dict.fromkeys(required, sides), project="reviewed-pairs", item=pair)
        )


def opened(page: Page, server: Server, path: str = "annotate") -> Page:
    page.goto(f"{server.url}/{path}")
    expect(page.locator("#annotate-sheet .question, #arena-sheet .pane").first).to_be_visible()
    if path.startswith("annotate"):
        expect(token(page)).not_to_have_value("")  # what is shown can be sent now
    return page


def first_of(server: Server, layout: str) -> str:
    """A drawing of its own for every layout."""
    with server.store() as store:
        listed = [row.id for row in store.trajectories(limit=100) if row.prompt.endswith(" apples")]
    return listed[["Russian", "AZERTY", "Dvorak", "Caps Lock"].index(layout)]


def token(page: Page):
    return page.locator("#annotate-token :is(input, textarea)")


def keys_of(page: Page) -> tuple[list[str], list[str]]:
    """The keys that agree and disagree with what the model says of the picture that is shown."""
    keys = [["y", "KeyY"], ["n", "KeyN"]]
    first = page.locator("[data-question=verdict_right] input").first
    return tuple(keys if first.get_attribute("value") == "yes" else reversed(keys))


def chosen(page: Page, name: str, number: int):
    return expect(page.locator(f"[data-question={name}] input").nth(number))


@pytest.mark.parametrize(
    ("layout", "no", "four", "four_of_plan"),
    few(
        [
            ("Russian", ["т", "KeyN"], ["4", "Digit4"], [";", "Digit4", SHIFT]),
            ("AZERTY", ["n", "KeyN"], ["'", "Digit4"], ["4", "Digit4", SHIFT]),
            ("Dvorak", ["n", "KeyL"], ["4", "Digit4"], ["$", "Digit4", SHIFT]),
            ("Caps Lock", ["N", "KeyN", CAPS], ["4", "Digit4", CAPS], ["$", "Digit4", SHIFT | CAPS]),
        ],
        0,
        1,
    ),
)
def test_a_drawing_is_judged_on_every_layout(page, server, layout, no, four, four_of_plan):
    opened(page, server, f"annotate?trajectory={first_of(server, layout)}")
    for press in (["4", "Digit4", {"ctrlKey": True}], ["y", "KeyY", {"isComposing": True}]):
        page.evaluate(PRESS, [press])
    expect(page.locator("#annotate-form input:checked")).to_have_count(0)
    page.evaluate(PRESS, [four_of_plan])
    chosen(page, "thought_rating", 3).to_be_checked()
    expect(page.locator("[data-question=reason_rating] input:checked")).to_have_count(0)
    page.evaluate(PRESS, [no, four])  # as the model says
    chosen(page, "verdict_right", 1).to_be_checked()
    chosen(page, "reason_rating", 3).to_be_checked()
    before = token(page).input_value()
    page.evaluate(PRESS, [SUBMIT])
    expect(token(page)).not_to_have_value(before)


def test_what_is_typed_while_an_answer_is_sent_is_said_of_the_next(page, server):
    opened(page, server, "annotate?project=typed-ahead")
    first, words = token(page).input_value(), "three, not two"
    agree, _ = keys_of(page)
    page.evaluate(PRESS, [agree, ["4", "Digit4"]])
    # Of the one drawing the model said no and yes, so that the same key disagrees with what comes next.
    page.evaluate(PRESS, [SUBMIT, ["5", "Digit5"], agree, ["c", "KeyC"], *([letter, ""] for letter in words)])
    expect(page.locator("[data-question=verdict_right] input[value=no]")).to_be_checked()
    chosen(page, "reason_rating", 4).to_be_checked()
    assert token(page).input_value() != first
    expect(page.locator("[data-question=reason_correction] textarea")).to_have_value(words)
    with server.store() as store:
        said = [dict(a.answers) for a in store.annotations() if "verdict_right" in a.answers]
    assert {"verdict_right": "yes", "reason_rating": 4} in said
    assert {"verdict_right": "no", "reason_rating": 5} not in said


def test_twenty_reflections_are_agreed_with_by_twenty_presses_20_ms_apart(page, server):
    opened(page, server, "annotate?project=agreed")
    for _ in range(20):
        page.keyboard.press(" ")
        page.wait_for_timeout(20)
    expect(page.locator("#annotate-prompt")).to_contain_text("Nothing waits for you")
    expect(page.locator("#annotate-progress")).to_contain_text("10 today")
    with server.store() as store:
        said = [dict(a.answers) for a in store.annotations(project="agreed")]
    assert said == [{"verdict_right": "yes"}] * 20


def test_two_answers_typed_at_once_go_to_two_drawings(page, server):
    opened(page, server)
    with server.store() as store:
        before = len([a for a in store.annotations() if a.answers.get("reason_rating") == 3])
    three = [["3", "Digit3"], [" ", "Space"]]  # rated, and as the model says
    page.evaluate(PRESS, [*three, *three, ["2", "Digit2"]])
    chosen(page, "reason_rating", 1).to_be_checked()
    with server.store() as store:
        assert len([a for a in store.annotations() if a.answers.get("reason_rating") == 3]) == before + 2


def test_what_is_typed_after_a_refused_answer_is_neither_applied_nor_hidden(page, server):
    opened(page, server)
    before = token(page).input_value()
    agree, disagree = keys_of(page)
    page.evaluate(PRESS, [disagree, SUBMIT, agree])  # a wrong verdict without words
    expect(page.locator("#typed-ahead")).to_contain_text("1 key")
    expect(page.locator("[data-question=verdict_right] input[value=no]")).to_be_checked()
    assert token(page).input_value() == before


def test_pairs_are_compared_on_a_russian_layout_and_none_is_lost(page, server):
    opened(page, server, "arena")
    page.evaluate(PRESS, [["ArrowLeft", "ArrowLeft"], ["и", "KeyB"], ["Escape", "Escape"]])
    page.wait_for_function("() => document.querySelector('#arena-progress')?.textContent.includes('1 done')")
    with server.store() as store:
        [said] = store.annotations(project=ARENA.id)
    assert [value["choice"] for value in said.answers.values()].count("both_bad") == 1 and len(said.answers) == 2


def test_votes_typed_ahead_are_told_and_can_be_taken_back(page, server):
    opened(page, server, "arena")
    done = "n => document.querySelector('#arena-progress')?.textContent.includes(`${n} done`)"
    begun = int(page.locator("#arena-progress").inner_text().split()[0])
    page.evaluate(PRESS, [["ArrowLeft", "ArrowLeft"], ["b", "KeyB"], ["e", "KeyE"]])
    expect(page.locator("#typed-ahead")).to_contain_text("Typed ahead")
    page.wait_for_function(done, arg=begun + 1)
    page.evaluate(PRESS, [["u", "KeyU"], ["u", "KeyU"]])
    page.wait_for_function(done, arg=begun)


def test_words_about_a_pair_are_typed_without_voting_and_stored_with_the_vote(page, server):
    opened(page, server, "arena")
    box, asked = page.get_by_label("Anything to add?"), page.locator("#arena-prompt .question")
    before = asked.inner_text()
    page.get_by_label("Why?").fill("no reason")
    box.fill("both are blue")
    box.press("b")
    page.wait_for_timeout(300)
    assert asked.inner_text() == before
    box.blur()
    if "Question 1 of 2" in before:
        page.evaluate(PRESS, [["b", "KeyB"]])
        expect(asked).to_contain_text("Question 2 of 2")
        expect(box).to_have_value("both are blueb")
    page.evaluate(PRESS, [["b", "KeyB"]])
    expect(box).to_have_value("")
    with server.store() as store:
        answers = [said.answers for said in store.annotations(project=ARENA.id)]
    assert ("both are blueb", "no reason") in [(said.get("comment"), said.get("why")) for said in answers]


@pytest.mark.parametrize(
    ("layout", "following"),
    few(
        [
            ("Russian", ["т", "KeyN"]),
            ("AZERTY", ["n", "KeyN"]),
            ("Dvorak", ["n", "KeyL"]),
            ("Caps Lock", ["N", "KeyN", CAPS]),
        ],
        0,
        3,
    ),
)
def test_a_disagreement_is_decided_and_the_next_one_shown_on_every_layout(page, server, layout, following):
    page.goto(f"{server.url}/review?project=reviewed")
    shown, form = page.locator("#review-token :is(input, textarea)"), page.locator("#review-form")
    expect(page.locator("#review-decide")).to_be_visible()
    first = page.locator("#review-stage h1").inner_text()
    page.evaluate(PRESS, [following])
    expect(page.locator("#review-stage h1")).not_to_have_text(first)
    before = shown.input_value()
    expect(form.locator("[data-question=verdict_right] input[value=no]").first).not_to_be_checked()
    form.locator("[data-question=verdict_right] input[value=no]").first.check()
    form.locator("textarea").first.fill(f"in {layout}: n")  # a letter in a field is no shortcut
    page.evaluate(PRESS, [following])
    assert shown.input_value() == before
    page.evaluate(PRESS, [SUBMIT])
    expect(page.locator("#review-note")).to_contain_text("Decided")
    with server.store() as store:
        decided = [a for a in store.annotations(project="reviewed") if a.annotator not in ("ann", "bob")]
    assert f"in {layout}: n" in str([dict(one.answers) for one in decided])


@pytest.mark.parametrize(("width", "height"), few([(1440, 900), (1024, 768), (390, 844)], 0, 2))
def test_a_pair_is_reviewed_side_by_side_and_covers_nothing(page, server, width, height):
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"{server.url}/review?project=reviewed-pairs")
    expect(page.locator("#review-decide")).to_be_visible()
    assert page.locator("#review-stage h2").all_inner_texts() == ["Left", "Right"]
    left, right = (page.locator(f"#review-stage .pair > div:nth-child({n}) img").first.bounding_box() for n in (1, 2))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    answers = page.locator("#review-answers").bounding_box()
    stage = page.locator("#review-stage").bounding_box()
    assert right["x"] + right["width"] <= stage["x"] + stage["width"] + 1
    assert answers["x"] >= stage["x"] + stage["width"] or answers["y"] >= stage["y"] + stage["height"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_person_who_disagrees_begins_at_the_other_verdict(page, server):
    with server.store() as store:
        listed = store.trajectories()[0]
    page.goto(f"{server.url}/?run={listed.id}")
    for number, answer in ((0, "yes"), (1, "no")):  # the model said no, then yes
        disagree = page.locator("#timeline .mind button", has_text="Disagree")
        while disagree.count() <= number:  # the bar may be there before what it leads through
            page.locator("#timeline .scrub").evaluate(
                "bar => { bar.value = bar.max; bar.dispatchEvent(new Event('input')); }"
            )
            page.wait_for_timeout(200)
        disagree.nth(number).click()
        expect(page.locator("#timeline .changing input:checked")).to_have_value(answer)
        expect(page.locator("#timeline .changing textarea")).to_have_value("")
        page.locator("#timeline .changing label", has_text="No" if answer == "yes" else "Yes").click()
        expect(page.locator("#timeline .changing textarea")).not_to_have_value("")
        page.locator("#timeline .changing button", has_text="Leave it").click()
