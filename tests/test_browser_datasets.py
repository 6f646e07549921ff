"""The Datasets page in a browser: counts and rows follow what is asked for; another studio takes what is exported."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import PATIENCE
from playwright.sync_api import Page, expect
from running_app import Server
from test_annotations_samples import aha, judged

from annotations.export.manifest import PARQUET
from annotations.importing.importer import bring_in
from annotations.schema.annotation import Answers
from annotations.store.store import Store, open_store


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    with open_store(folder / "data") as store:
        for number in range(6):
            trajectory, pictures = aha(number, prompt=f"{number} apples", checkpoint="large" if number % 2 else "tiny")
            id = store.save(trajectory, pictures, owner="visitor")
            store.annotate(judged(id, 2, "ann", verdict_right="yes", reason_rating=5))
            store.annotate(judged(id, 4, "bob", verdict_right="no", reason_correction="there are <b>“three”</b> 苹果."))
    server = Server(folder / "data", tiny_checkpoint, folder / "app.log")
    server.start()
    yield server
    server.stop()


def choose(page: Page, field: str, option: str) -> None:
    page.click(f"{field} input")
    page.get_by_role("option", name=option, exact=True).click()


def answered(store: Store, names: dict[str, str]) -> list[str]:
    every = store.annotations()
    said = [
        (a.trajectory_id, a.segment, names.get(a.annotator, a.annotator), Answers(a.answers).to_dict()) for a in every
    ]
    return sorted(map(str, said))


def test_counts_and_rows_follow_what_is_asked_for(page: Page, server: Server):
    page.goto(f"{server.url}/datasets")
    expect(page.locator("#datasets-ready")).to_contain_text("12 rows from 6 drawings")
    expect(page.locator("#datasets-first tr")).to_have_count(4)
    expect(page.locator("#datasets-first")).to_contain_text("No, there are three apples instead of two.")
    choose(page, "#datasets-checkpoints", "large")
    expect(page.locator("#datasets-ready")).to_contain_text("6 rows from 3 drawings")
    choose(page, "#datasets-kind", "Every answer")
    expect(page.locator("#datasets-ready")).to_contain_text("12 rows from 3 drawings")
    expect(page.locator("#datasets-first")).to_contain_text("verdict_right")
    page.click("#datasets-filters button")
    page.get_by_label("From").fill("2999-01-01")
    expect(page.locator("#datasets-ready")).to_contain_text("Nothing to export yet")
    page.get_by_label("From").fill("yesterday")
    expect(page.locator("#datasets-ready")).to_contain_text("“yesterday” is no day; write it as 2026-11-29")


def test_what_one_studio_exports_another_one_takes(page: Page, server: Server, tmp_path: Path):
    page.goto(f"{server.url}/datasets")
    choose(page, "#datasets-kind", "Everything, for another studio")
    expect(page.locator("#datasets-ready")).to_contain_text("6 rows")
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#datasets-export").evaluate("button => button.scrollIntoView({ block: 'end' })")
    page.click("#datasets-export")
    expect(page.locator("#datasets-note")).to_contain_text("Exported: 6 rows.")
    expect(page.locator("#datasets-note .done")).to_be_in_viewport()
    page.click("#datasets-note a")
    expect(page.locator("#datasets-summary")).to_be_in_viewport()
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.locator("#datasets-summary")).to_contain_text(re.compile(r"Rows\s*6"), timeout=PATIENCE)
    page.reload()  # the export is kept, whoever looks
    expect(page.locator("#datasets-summary")).to_contain_text(re.compile(r"Annotations\s*12"))
    with page.expect_download() as download:
        page.click("#datasets-download")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    [file] = tmp_path.rglob(PARQUET)
    with server.store() as store, open_store(tmp_path / "other") as other:
        assert bring_in(other, file, "ours", owner="me").errors == ()
        assert answered(other, {}) == answered(store, store.pseudonyms(["ann", "bob"]))
        assert [other.trajectory(t.id) for t in other.trajectories()] == [
            store.trajectory(t.id) for t in store.trajectories()
        ]
