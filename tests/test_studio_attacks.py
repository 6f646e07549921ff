"""What somebody without an account tries over HTTP: nothing is fetched, kept, made or told for them beyond bounds."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import gradio.processing_utils
import httpx2
import pytest
from running_app import free_port
from test_annotations_samples import png
from thoroughness import few
from visiting import API, Visitor

from annotations.store.store import open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio.http import bodies, limits
from studio.http.limits import MB, Rate
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import start
from studio.settings import Mode, Settings


@pytest.fixture(scope="module")
def url(tiny: Janus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A studio that is open to everybody, with limits."""
    with pytest.MonkeyPatch.context() as patch, open_store(tmp_path_factory.mktemp("data")) as store:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("served")))
        settings = Settings(mode=Mode.PUBLIC, port=free_port(), rounds=1)
        demo = start(settings, store, Checkpoints(Generator(JanusBackend(tiny), store)))
        yield f"http://127.0.0.1:{settings.port}"
        demo.close()


@pytest.fixture
def visitor(url: str) -> Visitor:
    return Visitor(url)


@pytest.mark.parametrize("given", ["image", "file", "textbox"])
def test_a_file_that_is_named_by_an_address_is_not_fetched(visitor: Visitor, monkeypatch: pytest.MonkeyPatch, given):
    fetched = []

    async def fetch(address: str) -> httpx2.Response:
        fetched.append(address)
        return httpx2.Response(200, content=png())

    monkeypatch.setattr(gradio.processing_utils, "async_ssrf_protected_get", fetch)
    file = {"path": "https://studio.example.org/a_cat.png", "meta": {"_type": "gradio.FileData"}}
    value = [file] if given == "file" else file
    answer = visitor.ask("image", "asked", {given: value}, **({"shows": "timeline"} if given != "file" else {}))
    assert fetched == [] and not answer.ok and "upload the file" in answer.said


def test_a_page_is_made_for_a_few_hosts_only_and_stays_there_for_its_own(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(limits.RATES, "pages", Rate(5, 0.001))
    with httpx2.Client(base_url=url, timeout=60) as client:
        assert client.get("/config").status_code == 200
        answers = [client.get("/config", headers={"host": f"{os.urandom(4).hex()}.example"}) for _ in range(8)]
        assert answers[-1].status_code == 429 and "Wait" in answers[-1].json()["error"]
        assert sum(answer.status_code == 200 for answer in answers) <= 5
        assert client.get("/config").status_code == 200


def test_thousands_of_tiny_files_count_as_more_than_their_bytes(visitor: Visitor, monkeypatch: pytest.MonkeyPatch):
    visitor.ask("gallery", "begun")  # files come from open pages
    monkeypatch.setitem(limits.RATES, "uploads", Rate(2 * MB, 0.001))
    answers = [
        visitor.client.post(f"{API}/upload", files=[("files", (f"{i}.png", b"x")) for i in range(10)]) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 429, 429]


def test_no_cache_keeps_a_file_or_an_answer(visitor: Visitor, url: str):
    visitor.ask("gallery", "begun")
    path = visitor.upload(png(), "图像.png")["path"]
    answer = visitor.client.get(f"{API}/file={path}")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"] == "inline; filename*=utf-8''%E5%9B%BE%E5%83%8F.png"
    assert Path(path).read_bytes() == answer.content == png()
    assert visitor.client.post(f"{API}/run/trajectory", json={"data": ["x"]}).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", few(["upload", "run/trajectory", "queue/join"], 0, 2))
def test_a_body_that_never_arrives_gives_its_place_back(visitor: Visitor, monkeypatch: pytest.MonkeyPatch, path: str):
    visitor.ask("gallery", "begun")
    monkeypatch.setattr(bodies, "GRACE", 0.3)

    def body() -> Iterator[bytes]:
        if path == "upload":
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield b"{"
            time.sleep(0.1)

    kind = "multipart/form-data; boundary=x" if path == "upload" else "application/json"
    answer = visitor.client.post(f"{API}/{path}", content=body(), headers={"content-type": kind})
    assert answer.status_code == 429 and "too slowly" in answer.json()["error"]
