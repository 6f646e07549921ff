"""Imports by a program: gradio_client against a running studio, whose answer tells every bad row."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import httpx2
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from running_app import free_port
from test_annotations_importing import janus, lines

from annotations.auth.accounts import add
from annotations.importing.importer import records
from annotations.schema.default_projects import REFLECTIONS_PROJECT
from annotations.schema.project import Role
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio.auth.session_cookie import COOKIE
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import start
from studio.settings import Mode, Settings

PASSWORD = "a long enough one"
ENDPOINT = "/import_records"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("data")) as store:
        add(store, "ann", Role.REVIEWER, PASSWORD)
        add(store, "bob", Role.ADMIN, PASSWORD)
        store.create_project(replace(REFLECTIONS_PROJECT, id="team", name="Team", collects=False))
        yield store


@pytest.fixture(scope="module")
def studio(tiny: Janus, store: Store) -> Iterator[gr.Blocks]:
    demo = start(Settings(mode=Mode.PUBLIC, port=free_port()), store, Checkpoints(Generator(JanusBackend(tiny), store)))
    yield demo
    demo.close()


def client_of(studio: gr.Blocks, name: str | None) -> Client:
    """A program that has signed in."""
    url, headers = f"http://127.0.0.1:{studio.server_port}", {}
    if name:
        answer = httpx2.post(f"{url}/enter", data={"name": name, "password": PASSWORD}, timeout=60)
        headers = {"Cookie": f"{COOKIE}={answer.cookies[COOKIE]}"}
    return Client(url, headers=headers, verbose=False)


@pytest.fixture(scope="module")
def admin(studio: gr.Blocks) -> Client:
    return client_of(studio, "bob")


def packed(folder: Path, spoil: bool = False) -> str:
    """The released format as a zip; spoilt, its second row says a probability that is none."""
    inside = folder / "inside"
    inside.mkdir()
    file = janus(inside)
    if spoil:
        rows = lines(file)
        rows[1]["data"][0]["prob"] = "often"
        file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return shutil.make_archive(str(folder / "labels"), "zip", inside)


def test_bad_rows_come_back_one_by_one_and_nothing_is_stored(admin: Client, store: Store, tmp_path: Path):
    told = admin.predict([handle_file(packed(tmp_path, spoil=True))], "janus_sft", api_name=ENDPOINT)
    assert (told["records"], told["trajectories"], told["good"]) == (0, 0, 2)
    [error] = told["errors"]
    assert error["row"] == 2 and "often" in error["got"] and error["place"] and error["wanted"]
    assert store.imports() == []


def test_a_dry_run_says_what_would_come_and_then_it_comes_with_every_field(admin, store, tmp_path):
    zip = packed(tmp_path)
    told = admin.predict([handle_file(zip)], "janus_sft", True, api_name=ENDPOINT)
    assert (told["records"], told["good"], told["already"], told["errors"]) == (0, 3, 0, [])
    assert store.imports() == []
    told = admin.predict(files=[handle_file(zip)], format="janus_sft", project="team", api_name=ENDPOINT)
    assert (told["records"], told["trajectories"], told["items"], told["errors"]) == (3, 7, 7, [])
    assert list(records(store, told["batch"])) == lines(tmp_path / "inside" / "flux_0.7.jsonl")
    told = admin.predict([handle_file(zip)], "janus_sft", api_name=ENDPOINT)
    assert (told["records"], told["already"], told["good"]) == (0, 3, 0)
    [batch] = store.imports()
    assert store.trajectories(limit=1)[0].owner == "bob" and batch.trajectories == 7


@pytest.mark.parametrize(("name", "said"), [(None, "not open to visitors"), ("ann", "open to the role admin only")])
def test_only_admins_import(studio: gr.Blocks, tmp_path: Path, name: str | None, said: str):
    with pytest.raises(AppError, match=said):
        client_of(studio, name).predict([handle_file(packed(tmp_path))], "janus_sft", True, api_name=ENDPOINT)


def test_a_file_of_the_server_an_unknown_format_and_an_unknown_project_are_refused(admin, store, tmp_path):
    secret = store.database.directory / "secret.json"
    secret.write_text("[]", "utf-8")
    with pytest.raises(AppError, match="no uploaded file"):
        admin.predict([{"path": str(secret)}], "ours", api_name=ENDPOINT)
    zip = packed(tmp_path)
    with pytest.raises(AppError, match="is no format; the formats are"):
        admin.predict([handle_file(zip)], "csv", api_name=ENDPOINT)
    with pytest.raises(AppError, match="no project"):
        admin.predict([handle_file(zip)], "janus_sft", False, False, "", "nowhere", api_name=ENDPOINT)
    with pytest.raises(AppError, match=r"got \[7\]"):
        admin.predict([7], "ours", api_name=ENDPOINT)
