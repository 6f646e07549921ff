"""Walks through a studio that has drawings, reports and answers, with the embedded network, in mode local."""

import re
from collections.abc import Iterator

import pytest
from browsing import new_page
from page_speed import SHIFTS, cumulative_layout_shift
from playwright.sync_api import Browser, Page, expect
from populated_studio import populate
from running_app import Server

from annotations.moderation.withholding import withheld
from annotations.store.listing import Filter
from model.trajectory import Origin
from studio.training.runs import runs_in


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("populated")
    populate(folder / "data")
    server = Server(folder / "data", "embedded", folder / "app.log", examples=True)
    server.start()
    yield server
    server.stop()


def bottom(page: Page, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    return box["y"] + box["height"]


def to_its_end(page: Page) -> None:
    page.locator("#timeline .scrub").evaluate("bar => { bar.value = bar.max; bar.dispatchEvent(new Event('input')); }")
    expect(page.locator("#timeline .ending .link").first).to_be_visible()


def test_draft_verdict_reason_and_revision_are_above_the_fold(page: Page, server: Server):
    page.add_init_script(SHIFTS)
    page.goto(server.url)
    expect(page.locator("#timeline .round").first).to_be_visible()  # the running example
    assert cumulative_layout_shift(page.evaluate("window.shifts")) <= 0.1
    to_its_end(page)
    page.evaluate("scrollTo(0, 0)")
    assert bottom(page, "#prompt") - page.locator(".intro").bounding_box()["y"] <= 150
    expect(page.locator("#timeline .round")).to_have_count(2)
    for shown in (".picture canvas", ".verdict", ".reason"):
        for number in range(2):
            assert bottom(page, f"#timeline .round >> nth={number} >> {shown}") <= 900, (shown, number)
    expect(page.locator("#timeline .blamed").first).to_be_visible()
    expect(page.locator("#timeline .thought").first).to_be_hidden()
    page.get_by_role("button", name="How it thought").click()
    expect(page.locator("#timeline .thought").first).to_be_visible()


def test_a_telephone_shows_the_running_example_below_the_heading(browser: Browser, server: Server):
    with new_page(browser, 390, 844) as page:
        page.add_init_script(SHIFTS)
        page.goto(server.url)
        heading, example = page.locator(".intro h1"), page.locator("#timeline .round").first
        expect(example).to_be_visible()
        assert cumulative_layout_shift(page.evaluate("window.shifts")) <= 0.1
        assert heading.bounding_box()["y"] < example.bounding_box()["y"] < 844
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_drawing_begins_with_a_plan_where_somebody_wants_one_and_has_its_own_address(page: Page, server: Server):
    page.goto(server.url)
    expect(page.locator("#plan-first input").first).to_be_checked()  # Draw at once
    page.get_by_label("Plan first").check()
    page.fill("#prompt textarea", "a green umbrella and an orange moon")
    page.click("#draw")
    expect(page.locator("#timeline .prompt")).to_have_text("“a green umbrella and an orange moon”")
    page.locator("#timeline .least").evaluate("choice => { choice.value = '0'; }")  # nobody watches: as it comes
    expect(page.locator("#timeline .ending .copy").first).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?run="))
    expect(page.locator("#so-far")).to_contain_text(re.compile("the model (sent back|did not send back)"))
    run = page.url.partition("run=")[2]
    with server.store() as store:
        drawn = store.trajectory(run)
    assert drawn.segments[0].kind == "thought" and drawn.prompt == "a green umbrella and an orange moon"
    page.reload()
    expect(page.locator("#timeline .prompt")).to_have_text("“a green umbrella and an orange moon”")


def test_a_reload_in_the_middle_of_a_drawing_shows_that_drawing(page: Page, server: Server):
    page.goto(server.url)
    expect(page.locator("#timeline .label")).to_have_text("Recorded example")
    page.fill("#prompt textarea", "a purple star and a green boat")
    page.click("#draw")
    expect(page.locator("#timeline .prompt")).to_have_text("“a purple star and a green boat”")
    page.wait_for_function("() => document.querySelector('#timeline canvas')?.width > 0")
    expect(page.locator("#timeline .ending .link")).to_have_count(0)
    run = page.url.partition("run=")[2]
    assert run
    page.reload()
    expect(page.locator("#timeline .prompt")).to_have_text("“a purple star and a green boat”")
    expect(page.locator("#timeline .label")).to_be_hidden()
    expect(page.locator("#timeline .ending .link").first).to_be_visible()
    assert page.url.partition("run=")[2] == run
    with server.store() as store:
        kept = store.trajectory(run)
    assert kept.images
    whole = kept.images[-1].sha256 is not None  # the reload may have stopped it
    expect(page.locator("#timeline .ending a", has_text="Use this image")).to_have_count(int(whole))


def test_only_what_somebody_started_is_announced(page: Page, server: Server):
    page.goto(server.url)
    expect(page.locator("#timeline .label")).to_have_text("Recorded example")
    page.locator("#timeline .speed").select_option("4")
    expect(page.locator("#timeline .reason").first).not_to_be_empty()
    expect(page.locator("#timeline .ending .copy").first).to_be_visible()
    expect(page.locator("#timeline .spoken")).to_be_empty()
    page.locator("#timeline .speed").select_option("1")
    page.locator("#timeline .toggle").click()  # play again
    expect(page.locator("#timeline .spoken")).to_contain_text("the model says no")
    page.reload()
    expect(page.locator("#timeline .verdict").first).to_be_visible()
    expect(page.locator("#timeline .spoken")).to_be_empty()
    page.click("#aha")
    expect(page.locator("#timeline .spoken")).to_contain_text("the model says no")


def test_an_object_is_changed_behind_the_models_back(page: Page, server: Server):
    with server.store() as store:
        recorded = store.trajectories(limit=1, keep=Filter(recorded=True, aha=True))[0].id
    page.goto(f"{server.url}/?run={recorded}")
    expect(page.locator("#timeline .round").first).to_be_visible()
    to_its_end(page)
    page.get_by_role("button", name="Trip it up", exact=True).click()
    page.wait_for_function("() => !document.querySelector('#timeline .ending .link')")
    expect(page.locator("#timeline .ending .copy").first).to_be_visible()
    with server.store() as store:
        perturbed = [store.trajectory(each.id) for each in store.trajectories(limit=5) if each.parent_id == recorded]
        planned_first = store.trajectory(recorded).sampling.thinks
    origins = [origin for image in perturbed[0].images for origin in image.origins]
    changed = origins.count(Origin.PERSON)
    assert changed > 0 and perturbed[0].sampling.thinks is planned_first
    expect(page.locator("#timeline .forced")).to_have_count(changed)
    expect(page.get_by_label(re.compile("The studio changed the"))).to_be_checked()


def test_a_verdict_of_a_person_is_no_aha_moment_and_no_contentment_of_the_model(page: Page, server: Server):
    with server.store() as store:
        recorded = store.trajectories(limit=1, keep=Filter(recorded=True, aha=True))[0].id
    page.goto(f"{server.url}/?run={recorded}")
    to_its_end(page)
    expect(page.locator("#timeline .aha")).to_have_count(1)
    page.locator("#timeline .mind button", has_text="Disagree").first.click()
    expect(page.locator("#timeline .changing input:checked")).to_have_value("yes")
    page.get_by_role("button", name="Go on from here").click()
    expect(page.locator("#timeline .ending")).to_contain_text("A person has said yes to the drawing.")
    expect(page.locator("#timeline .aha")).to_have_count(0)
    expect(page.locator("#timeline")).not_to_contain_text("content")


def test_a_word_it_has_not_learnt_is_answered_with_the_nearest_prompt(page: Page, server: Server):
    page.goto(server.url)
    page.fill("#prompt textarea", "Please draw me a photo of a happy zebra and two kittens!")
    page.click("#draw")
    nearest = page.locator("#timeline .nearest")
    expect(nearest).to_have_text("Draw “a dog and two cats”")
    expect(page.locator("#timeline .choices .choice").first).to_be_visible()
    expect(page.locator("#timeline .anyway")).to_have_text("Draw it anyway, as a guess")
    nearest.click()
    expect(page.locator("#prompt textarea")).to_have_value("a dog and two cats")
    expect(page.locator("#timeline .prompt")).to_have_text("“a dog and two cats”")
    expect(page.locator("#timeline .ending .copy").first).to_be_visible()


def test_every_critic_is_held_against_people_and_refused_as_a_reward_below_what_is_wanted(page: Page, server: Server):
    page.goto(f"{server.url}/calibration")
    expect(page.locator("#calibration-critics h2").first).to_be_visible()
    expect(page.locator("#calibration-critics")).to_contain_text("kappa")
    expect(page.locator("#calibration-critics svg").first).to_be_visible()
    expect(page.locator("#calibration-critics")).to_contain_text("No threshold fits people better than 0.5")
    page.click("#calibration-write")
    expect(page.locator("#calibration-note")).to_contain_text("New training runs go by it")
    page.goto(f"{server.url}/training")
    expect(page.locator("#training-estimate dl")).to_be_visible()  # the page has been filled
    page.get_by_label("Reinforcement learning").check()
    expect(page.locator("#training-purpose")).to_contain_text("learns from rewards")
    page.click("#training-more button")
    page.get_by_label("Options").fill("--reward 'both critic:rl'")
    page.wait_for_timeout(50)  # until Gradio has what was typed
    page.click("#training-start")
    expect(page.locator("#training-note")).to_contain_text("rl was measured on too few pictures, or not at all")
    assert runs_in(server.data / "runs") == []


def test_a_box_stays_on_its_picture_and_what_is_ticked_is_hidden_and_shown_again(browser: Browser, server: Server):
    with new_page(browser, 390, 844) as page:
        page.goto(f"{server.url}/moderation")
        choices = page.locator("#moderation-found .choice")
        expect(choices).to_have_count(24)
        pictured = choices.filter(has=page.locator("img"))  # a drawing that was stopped early has none
        for choice in pictured.all()[:4]:
            box, picture = (choice.locator(part).bounding_box() for part in ("input", "img"))
            assert picture["x"] <= box["x"] and box["x"] + box["width"] <= picture["x"] + picture["width"]
            assert picture["y"] <= box["y"] and box["y"] + box["height"] <= picture["y"] + picture["height"]
        page.click("#moderation-hide")
        expect(page.locator("#moderation-note")).to_contain_text("Choose drawings first")
        chosen = pictured.nth(1).locator("input").get_attribute("value")
        pictured.nth(1).locator("img").click()
        expect(pictured.nth(1).locator("input")).to_be_checked()
        page.click("#moderation-hide")
        expect(page.locator("#moderation-note")).to_contain_text("1 drawing is hidden")
        expect(page.locator(f"#moderation-hidden input[value='{chosen}']")).to_be_visible()
        with server.store() as store:
            assert withheld(store)[0].id == chosen
        page.locator(f"#moderation-hidden input[value='{chosen}']").check()
        page.click("#moderation-show")
        expect(page.locator("#moderation-note")).to_contain_text("shown again")
        expect(page.locator(f"#moderation-found input[value='{chosen}']")).to_be_visible()
        page.locator("#moderation-reports input").first.check()
        page.click("#moderation-dismiss")
        expect(page.locator("#moderation-reports")).to_contain_text("Nothing is reported")
