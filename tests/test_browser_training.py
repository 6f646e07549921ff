"""The Training page in a browser: a run outlives page and studio, and its checkpoint draws without a restart."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import PATIENCE, as_it_comes
from playwright.sync_api import Page, expect
from running_app import Server
from test_annotations_samples import aha, judged

from annotations.export.exporter import export
from annotations.store.store import open_store
from studio.training import launch
from studio.training.runs import runs_in


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    with open_store(folder / "data") as store:
        trajectory, pictures = aha(0)
        id = store.save(trajectory, pictures, owner="visitor")
        store.annotate(judged(id, 2, "ann", verdict_right="no", reason_correction="there are two."))
        export(store, "judge_sft", folder / "data" / "exports" / "judge_sft-1")
    server = Server(folder / "data", tiny_checkpoint, folder / "app.log")
    server.start()
    yield server
    server.stop()
    for run in runs_in(folder / "data" / "runs"):
        if run.state.live:
            launch.stop(run)


def test_a_run_outlives_page_and_studio_and_what_it_made_draws(page: Page, server: Server):
    page.goto(f"{server.url}/training")
    expect(page.locator("#training-estimate")).to_contain_text("Rows to learn from1")
    page.get_by_label("Steps").fill("100000")
    page.get_by_label("Name").fill("better")
    page.click("#training-more button")
    page.get_by_label("Options").fill("--batch 1 --warmup 1 --distill 0 --evaluate-prompts 0")
    page.click("#training-start")
    expect(page.locator("#training-head .state")).to_have_text("running", timeout=PATIENCE)
    curve = page.locator("#training-curves section", has_text=re.compile("^text")).locator("polyline")
    curve.wait_for()
    before = curve.get_attribute("points")
    expect(curve).not_to_have_attribute("points", before or "", timeout=PATIENCE)

    page.goto("about:blank")  # the page is closed, the studio ends and is started again
    server.stop()
    server.start()
    page.goto(f"{server.url}/training?run=better")
    expect(page.locator("#training-head .state")).to_have_text("running")
    page.click("#training-stop")
    expect(page.locator("#training-head .state")).to_have_text("stopped", timeout=PATIENCE)
    expect(page.locator("#training-provenance")).to_contain_text("1 annotations of 1 drawings")

    page.set_viewport_size({"width": 390, "height": 500})
    page.locator("#training-draw").evaluate("button => button.scrollIntoView()")
    expect(page.locator("#training-note")).not_to_be_in_viewport()
    page.click("#training-draw")
    expect(page.locator("#training-note")).to_contain_text("menus of Draw")
    expect(page.locator("#training-note .done")).to_be_in_viewport()
    page.goto(server.url)
    page.click("#settings button")
    page.click("#checkpoint input")
    page.get_by_role("option", name="better", exact=True).click()
    page.fill("#prompt textarea", "a red apple")
    page.click("#draw")
    as_it_comes(page)
    page.wait_for_selector("#timeline .forget")
    with server.store() as store:
        assert store.trajectory(store.trajectories()[0].id).checkpoint == "better"

    page.goto(f"{server.url}/training?run=better")
    page.click("#training-resume")
    expect(page.locator("#training-head .state")).to_have_text("running", timeout=PATIENCE)
