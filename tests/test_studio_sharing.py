"""A drawing's link as link previewers read it, without JavaScript; nothing of a deleted drawing is left in it."""

import io
from collections.abc import Iterator

import gradio as gr
import httpx2
import pytest
from PIL import Image as Picture
from running_app import free_port
from studio_samples import HOSTILE, aha

from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import start
from studio.settings import Settings
from studio.sharing.share_card import SIZE, description_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("data")) as store:
        yield store


@pytest.fixture(scope="module")
def studio(tiny: Janus, store: Store) -> Iterator[gr.Blocks]:
    demo = start(Settings(port=free_port()), store, Checkpoints(Generator(JanusBackend(tiny), store)))
    yield demo
    demo.close()


@pytest.fixture
def client(studio: gr.Blocks) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{studio.server_port}", timeout=60) as client:
        yield client


def test_a_link_has_title_description_and_picture_of_its_drawing(client: httpx2.Client, store: Store):
    trajectory, pictures = aha()
    run = store.save(trajectory, pictures, owner="us")
    for page in ("/", "/gallery"):
        html = client.get(page, params={"run": run}).text
        assert f'<meta property="og:image" content="{client.base_url}' in html.replace(":80/", "/")
        assert f"card.png?run={run}" in html
        assert trajectory.prompt in html
        assert "aha moment" in html
    card = client.get("/card.png", params={"run": run})
    assert card.headers["content-type"] == "image/png"
    assert Picture.open(io.BytesIO(card.content)).size == SIZE
    moving = Picture.open(io.BytesIO(client.get("/animation.webp", params={"run": run}).content))
    assert moving.format == "WEBP" and moving.n_frames > 8


def test_a_deleted_drawing_and_one_that_never_was_have_the_same_page(client: httpx2.Client, store: Store):
    trajectory, pictures = aha(identity="hidden", last=30)
    run = store.save(trajectory, pictures, owner="us")
    store.hide(run, by="us")
    assert client.get("/", params={"run": run}).text == client.get("/").text
    assert client.get("/card.png", params={"run": run}).status_code == 404
    assert client.get("/animation.webp", params={"run": run}).status_code == 404
    assert client.get("/card.png").status_code == 404


def test_words_of_a_person_are_text_in_the_tags(client: httpx2.Client, store: Store):
    trajectory, pictures = aha(HOSTILE, identity="hostile")
    run = store.save(trajectory, pictures, owner="us")
    html = client.get("/", params={"run": run}).text
    assert "<img src" not in html.partition("</head>")[0]
    assert client.get("/card.png", params={"run": run}).status_code == 200


def test_the_description_says_what_happened():
    assert description_of(aha()[0]).startswith("An aha moment: the model said no to its draft")
