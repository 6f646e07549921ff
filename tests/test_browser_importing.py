"""An import in the page of a project: it shows how far it is, it can be stopped, and it can be begun again."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from running_app import Server

from annotations.importing.staging import under_way
from annotations.ops.synthetic import made_up, write_rows
from annotations.queue.progress import project_counts
from annotations.store.store import open_store_for_reading

ROWS, FEWER = 2500, 800
TELEPHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("studio")
    server = Server(folder / "data", tiny_checkpoint, folder / "app.log")
    server.start()
    yield server
    server.stop()


def begin(page: Page, file: Path) -> None:
    page.locator("#project-add input[type=file]").first.set_input_files(file)
    expect(page.get_by_role("cell", name=file.name)).to_be_visible()
    page.click("#project-import")


def seen(server: Server) -> tuple:
    """(ids that are listed, imports, items of the project, what is under way)."""
    with open_store_for_reading(server.data) as store:
        listed = {one.id for one in store.trajectories(limit=200)}
        return listed, store.imports(), project_counts(store)["reflections"].items, under_way(store)


def test_an_import_tells_how_far_it_is_is_stopped_leaves_nothing_and_is_begun_again(page, server, tmp_path):
    before = seen(server)
    file = tmp_path / "rows.jsonl"
    write_rows(file, ROWS)
    page.goto(f"{server.url}/project?id=reflections")
    page.get_by_text("Add items").click()
    page.get_by_label("From a file").check()
    begin(page, file)
    note = page.locator("#project-note")
    expect(note).to_contain_text(re.compile(r"(Checking|Storing)[\s\S]*[\d.]+ ?%"))
    page.click("#project-import-stop")
    expect(note).to_contain_text("was stopped; nothing of it is kept")
    assert seen(server) == before
    page.set_viewport_size(TELEPHONE)
    fewer = tmp_path / "fewer.jsonl"
    write_rows(fewer, FEWER)
    begin(page, fewer)
    expect(note).to_contain_text(re.compile("Checking|Storing"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("#project-report")).to_contain_text(f"{FEWER:,}")
    expect(note).to_contain_text(f"{FEWER:,} items added.")
    listed, [*_, batch], items, running = seen(server)
    assert (batch.records, items, running) == (FEWER, FEWER, None)
    assert made_up(FEWER - 1).id in listed
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
