"""“Teach it” in a browser: what somebody corrected is learnt, draws for them, and becomes a checkpoint."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import PATIENCE, as_it_comes
from playwright.sync_api import Page, expect
from running_app import Server
from test_annotations_samples import aha, judged

from annotations.store.store import open_store


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    with open_store(folder / "data") as store:
        trajectory, pictures = aha(0)
        id = store.save(trajectory, pictures, owner="me")
        store.annotate(judged(id, 2, "me", verdict_right="no", reason_correction="there are two."))
    server = Server(folder / "data", tiny_checkpoint, folder / "app.log")
    server.start()
    yield server
    server.stop()


def test_what_was_corrected_is_learnt_draws_and_is_kept(page: Page, server: Server):
    page.goto(f"{server.url}/annotate")
    page.click("text=Teach it: 1 correction")
    expect(page.locator("#teach-shown")).to_contain_text("It has learnt 1 correction", timeout=2 * PATIENCE)
    expect(page.locator("#teach-shown")).to_contain_text("Fixed scenes, judged right")
    expect(page.locator("#teach-shown figure")).to_have_count(2)
    page.goto(server.url)
    page.fill("#prompt textarea", "a red apple")
    page.click("#draw")
    as_it_comes(page)
    page.wait_for_selector("#timeline .forget")
    with server.store() as store:
        assert store.trajectory(store.trajectories()[0].id).checkpoint.startswith("tiny-taught-")
    page.click("#teach-keep")
    page.click("#teach-shown a")
    expect(page.locator("#training-head .state")).to_have_text("finished")
    expect(page.locator("#training-provenance")).to_contain_text("there are two.")
