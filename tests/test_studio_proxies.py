"""The studio behind the reverse proxies that studio/README.md describes, below a path and by HTTPS."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from uuid import uuid4

import gradio as gr
import httpx2
import pytest
import reverse_proxy
from running_app import free_port

from annotations.auth.accounts import add
from annotations.schema.project import Role
from annotations.store.store import open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio.auth.session_cookie import COOKIE
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import start
from studio.settings import Mode, Settings, settings_from

PASSWORD = "a long enough one"
MB = 1_000_000
BLOCKS = reverse_proxy.blocks()
PROXIES = ["nginx", "caddy", *(["the real nginx"] if reverse_proxy.NGINX else [])]


@pytest.fixture(scope="module")
def studio(tiny: Janus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """With the settings that the README names beside the blocks."""
    named = re.search(r"^    (AHA_STUDIO_.*) python app.py$", reverse_proxy.README.read_text("utf-8"), re.MULTILINE)
    assert named is not None
    said = dict(pair.split("=") for pair in named[1].split())
    given = {name.removeprefix("AHA_STUDIO_").lower(): value for name, value in said.items()}
    settings = settings_from(given | {"port": free_port(), "max_upload": 3})
    assert settings.mode is Mode.PUBLIC
    with open_store(tmp_path_factory.mktemp("data")) as store:
        add(store, "ada", Role.ANNOTATOR, PASSWORD)
        demo = start(settings, store, Checkpoints(Generator(JanusBackend(tiny), store)))
        yield demo
        demo.close()


@pytest.fixture(scope="module", params=PROXIES)
def port(request: pytest.FixtureRequest, studio: gr.Blocks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a proxy in front of it."""
    folder = tmp_path_factory.mktemp("proxy")
    block = BLOCKS["caddy" if request.param == "caddy" else "nginx"]
    identity = reverse_proxy.certificate(folder, block.name)
    if request.param == "the real nginx":
        with reverse_proxy.nginx(block, studio.server_port, identity, folder) as port:
            yield port
    else:
        with reverse_proxy.forwarding(block, studio.server_port, identity) as port:
            yield port


@pytest.fixture
def client(port: int) -> Iterator[httpx2.Client]:
    """As a browser that shows the studio's page."""
    headers = {"Host": BLOCKS["nginx"].name, "Origin": f"https://{BLOCKS['nginx'].name}"}
    address = f"https://127.0.0.1:{port}{BLOCKS['nginx'].prefix}"
    with httpx2.Client(base_url=address, headers=headers, verify=False, timeout=60, trust_env=False) as client:
        yield client


def sign_in(client: httpx2.Client) -> httpx2.Response:
    return client.post("enter", data={"name": "ada", "password": PASSWORD, "to": "annotate"})


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_says_what_the_studio_needs(block: reverse_proxy.Block):
    assert block.upstream == f"127.0.0.1:{Settings().port}" and block.prefix == "/aha/"
    assert block.largest > (Settings().max_upload + 1) * MB and not block.buffers and block.patience >= 600
    wanted = {"Host", "X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto"}
    assert wanted <= set(block.headers)


def test_the_readme_names_the_settings_of_the_web_and_no_others(thorough: bool):
    named = set(re.findall(r"^\| `(\w+)`", reverse_proxy.README.read_text("utf-8"), re.MULTILINE))
    web = {"hosts", "proxies", "root_path", "frame_ancestors", "max_upload", "limits"}
    assert named == web | {"visitors_teach", "visitors_see_results"}
    assert named <= {field.name for field in fields(Settings)}
    assert reverse_proxy.NGINX or not thorough, "nginx is not installed: apt-get install nginx-light"


def test_a_page_with_its_files_is_there_below_the_path_and_nothing_beside_it(client: httpx2.Client):
    name = BLOCKS["nginx"].name
    page = client.get("gallery")
    assert page.status_code == 200 and f'"root":"https://{name}/aha"' in page.text
    assert "max-age" in page.headers["strict-transport-security"] and page.headers["content-security-policy"]
    for address in set(re.findall(r'(?:src|href)="(\.?/?[^":#]+\.(?:js|css))', page.text)):
        assert client.get(address.removeprefix("./")).status_code == 200, address
    font = client.get("fonts/ibm-plex-sans-400.woff2")
    assert font.status_code == 200 and font.content.startswith(b"wOF2")
    assert client.get("config").json()["root"] == f"https://{name}/aha"
    outside = client.get(str(client.base_url.copy_with(path="/gallery")))
    assert outside.status_code == 404


def test_a_page_with_a_slash_too_many_is_found_below_the_path(client: httpx2.Client):
    answer = client.get("gallery/?run=1")
    assert answer.status_code == 308 and answer.headers["location"] == "/aha/gallery?run=1"
    assert client.get("gallery//").status_code == 404


def test_the_path_without_its_slash_leads_to_the_first_page(studio: gr.Blocks):
    address = f"http://127.0.0.1:{studio.server_port}/aha?run=1"
    assert httpx2.get(address).headers["location"] == "/aha/?run=1"


def test_what_a_client_says_of_itself_in_the_proxys_place_is_not_believed(client: httpx2.Client):
    forged = {"X-Forwarded-Host": "elsewhere.example", "X-Forwarded-Proto": "http"}
    assert client.get("config", headers=forged).json()["root"] == f"https://{BLOCKS['nginx'].name}/aha"
    assert client.get("config", headers={"Host": "elsewhere.example"}).status_code == 421
    assert client.post("gradio_api/cancel", headers={"Origin": "https://elsewhere.example"}, json={}).status_code == 403


def test_a_stream_comes_as_it_is_written(client: httpx2.Client):
    with client.stream("GET", f"gradio_api/heartbeat/{uuid4().hex}", timeout=20) as alive:
        assert next(alive.iter_lines()) == "data: ALIVE"  # and the stream goes on


def test_a_drawing_goes_through_the_queue_and_its_events_through_the_stream(client: httpx2.Client):
    handlers = client.get("config").json()["dependencies"]
    draw = next(each for each in handlers if each["api_name"] == "draw")
    given = ["two cars", 1, 1, None, None, None, ""]
    asked = {"data": given, "fn_index": draw["id"], "session_hash": uuid4().hex}
    assert client.post("gradio_api/queue/join", json=asked).status_code == 200
    said = []
    with client.stream("GET", "gradio_api/queue/data", params={"session_hash": asked["session_hash"]}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data:"):
                said.append(json.loads(line.removeprefix("data:")))
    kinds = [one["msg"] for one in said]
    assert kinds.count("process_generating") > 3 and kinds[-1] == "close_stream"
    assert next(one for one in said if one["msg"] == "process_completed")["success"]


def test_somebody_signs_in_by_a_cookie_that_https_alone_carries(client: httpx2.Client):
    entered = sign_in(client)
    assert entered.status_code == 303 and not entered.headers["location"].startswith("http")
    assert str(entered.next_request.url.path) == "/aha/annotate"
    cookie = entered.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=") and "Secure" in cookie and "HttpOnly" in cookie
    assert client.post("gradio_api/upload", files={"files": ("a.png", b"small")}).status_code == 200
    assert client.post("leave").status_code == 303


def test_a_file_within_the_limit_arrives_and_a_larger_one_is_refused_in_words(client: httpx2.Client):
    sign_in(client)
    (path,) = client.post("gradio_api/upload", files={"files": ("a.png", b"x" * 2 * MB)}).json()
    assert Path(path).stat().st_size == 2 * MB
    for size in (5, 30):
        refused = client.post("gradio_api/upload", files={"files": ("a.png", b"x" * size * MB)})
        assert refused.status_code == 413 and "at most 3 MB" in refused.json()["error"]
    refused = client.post("gradio_api/run/judge", content=b"x" * 30 * MB)
    assert refused.status_code == 413 and "too large" in refused.json()["error"]
