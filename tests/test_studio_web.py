"""What stands before the pages, over real HTTP: hosts, origins, routes, sizes, limits, headers; a session's cost."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import gradio as gr
import httpx2
import pytest
from running_app import free_port

from annotations.auth.accounts import add, person
from annotations.schema.project import Role
from annotations.scratch_folders import scratch_folder
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from studio import access
from studio.auth.identity import REFUSAL
from studio.auth.session_cookie import COOKIE, new_session
from studio.http import compression, limits, temp_files
from studio.http.addresses import TrustedProxies, is_allowed, rate_limit_key
from studio.http.limits import Caller, LimitError, Limits, Rate
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import reach_itself, start
from studio.settings import Mode, Settings

MB = 1_000_000
SCRIPTS = Path(gr.__file__).parent / "templates/frontend/assets"
STYLES = re.compile(r'"css":"(?:[^"\\]|\\.)*"')
HOSTS = "studio.example, *.example.org"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("data")) as store:
        add(store, "ada", Role.ANNOTATOR, "a long enough one")
        yield store


@pytest.fixture(scope="module")
def studio(tiny: Janus, store: Store) -> Iterator[gr.Blocks]:
    """Below a path, which may be named after a protocol, behind a proxy on this machine."""
    settings = Settings(mode=Mode.PUBLIC, port=free_port(), hosts=HOSTS, proxies="127.0.0.1", root_path="/mcp-aha")
    demo = start(settings, store, Checkpoints(Generator(JanusBackend(tiny), store)))
    yield demo
    demo.close()


@pytest.fixture
def client(studio: gr.Blocks) -> Iterator[httpx2.Client]:
    """From an address of its own, so that no test has the limits of another."""
    headers = {"X-Forwarded-For": f"203.0.113.{next(ADDRESSES)}"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{studio.server_port}", timeout=60, headers=headers) as client:
        yield client


ADDRESSES = iter(range(1, 255))


def index_of(studio: gr.Blocks, page: str, event: str) -> int:
    return next(id for id, fn in studio.fns.items() if fn.page == page and any(e == event for _, e in fn.targets))


def opened(client: httpx2.Client, studio: gr.Blocks, session: str = "", **headers: str) -> httpx2.Response:
    """What a page asks when it is opened."""
    asked = {"data": [], "fn_index": index_of(studio, "", "load"), "session_hash": session or uuid4().hex}
    return client.post("/gradio_api/run/predict", json=asked, headers=headers)


def raw(studio: gr.Blocks, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", studio.server_port), timeout=20) as connection:
        connection.sendall(request)
        return connection.recv(4000)


def test_a_request_without_a_host_is_a_bad_one(studio: gr.Blocks):
    assert raw(studio, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert b" 400 " in raw(studio, b"GET / HTTP/1.0\r\nOrigin: http://a.example\r\n\r\n")
    assert b" 400 " in raw(studio, b"GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n")


def test_what_stands_after_a_body_is_no_header(studio: gr.Blocks):
    """A proxy that passes trailers on has looked at the headers only."""
    head = (
        b"POST /mcp-aha/enter HTTP/1.1\r\nHost: studio.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
    )
    trailers = b"Host: elsewhere.example\r\nOrigin: http://elsewhere.example\r\nX-Forwarded-Proto: https\r\n"
    answer = raw(studio, head + b"\r\n3\r\nto=\r\n0\r\n" + trailers + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 303") and b"strict-transport-security" not in answer
    assert b"strict-transport-security" in raw(studio, head + b"X-Forwarded-Proto: https\r\n\r\n3\r\nto=\r\n0\r\n\r\n")


def test_the_head_of_what_can_be_fetched_says_what_the_whole_says(client: httpx2.Client):
    for path in ("/", "/?run=none", "/gallery", "/config", "/favicon.ico", "/robots.txt", "/gradio_api/info"):
        whole = client.get(path, headers={"Accept-Encoding": "identity"})
        head = client.head(path, headers={"Accept-Encoding": "identity"})
        assert (head.status_code, head.content) == (200, b""), path
        assert int(head.headers["content-length"]) == len(whole.content), path
    assert client.head("/card.png?run=none").status_code == 404 and client.head("/nothing").status_code == 404


def test_a_page_is_there_whatever_its_address_says_of_a_page(client: httpx2.Client):
    assert {client.get(f"/{address}").status_code for address in ("?page=2", "gallery?page=2", "?page=%00")} == {200}


@pytest.mark.parametrize("path", ["run/%0d%0aERROR:forged", "call/draw/%1b[31m%0aERROR:forged"])
def test_an_address_makes_no_line_of_the_log(client: httpx2.Client, caplog: pytest.LogCaptureFixture, path: str):
    lines = []
    with caplog.at_level(logging.WARNING), client.stream("GET", f"/gradio_api/{path}", timeout=3):
        client.post(f"/gradio_api/{path}", json={"data": []})
        until = time.monotonic() + 20  # another thread writes it
        while not any("ERROR:forged" in line for line in lines) and time.monotonic() < until:
            lines = [record.getMessage() for record in caplog.records]
            time.sleep(0.01)
    assert any("ERROR:forged" in line for line in lines)
    assert not any(set(line) & {"\n", "\r", "\x1b"} for line in lines)


@pytest.mark.parametrize("path", ["run/predict", "mcp"])
def test_a_body_of_too_many_brackets_is_a_bad_request(client: httpx2.Client, caplog, path: str):
    assert client.post(f"/gradio_api/{path}", content=b"[" * 100_000).status_code == 400
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("path", ["/", "/gallery", "/config", "/gradio_api/mcp", "/gradio_api/info"])
def test_a_name_that_is_not_the_studios_is_refused_everywhere(client: httpx2.Client, path: str):
    assert client.get(path, headers={"Host": "rebound.example"}).status_code == 421
    assert client.post("/gradio_api/mcp", headers={"Host": "rebound.example"}, json={}).status_code == 421
    assert client.get("/config", headers={"Host": "a.example.org:8443"}).status_code == 200


def test_in_mode_local_only_names_of_this_machine_are_answered():
    local = Settings()
    assert all(is_allowed(host, local) for host in ("localhost:7860", "127.0.0.1", "[::1]:7860", "LOCALHOST."))
    rebound = ("rebound.example", "127.0.0.1.nip.io", "192.168.1.2", "", "localhost@a.example", "localhost.a.example")
    assert not any(is_allowed(host, local) for host in rebound)
    assert is_allowed("localhost", Settings(mode=Mode.PUBLIC, hosts="a.example"))
    assert is_allowed("anything.example", Settings(mode=Mode.PUBLIC))


ELSEWHERE = [
    {"Origin": "http://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1"},  # another port
    {"Origin": "http://sub.studio.example", "Host": "studio.example"},
    {"Origin": "http://studio.example", "Host": "studio.example", "X-Forwarded-Proto": "https"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
    [("Host", "studio.example"), ("Origin", "http://studio.example"), ("Origin", "http://elsewhere.example")],
]


@pytest.mark.parametrize("headers", ELSEWHERE)
def test_no_page_of_another_origin_changes_or_follows_anything(client: httpx2.Client, headers):
    for path in ("run/predict", "queue/join", "call/trajectory", "upload", "cancel", "reset", "mcp"):
        assert client.post(f"/gradio_api/{path}", json={}, headers=headers).status_code == 403, path
    for path in ("/enter", "/leave"):
        assert client.post(path, headers=headers).status_code == 403
    for path in ("queue/data?session_hash=a", "heartbeat/a", "call/trajectory/a", "mcp"):
        answer = client.get(f"/gradio_api/{path}", headers=headers)
        assert answer.status_code == 403, path
        assert not any(name.startswith("access-control-allow") for name in answer.headers)


def test_the_own_origin_and_programs_are_let_through_and_others_are_allowed_nothing(client, studio):
    own = f"http://127.0.0.1:{studio.server_port}"
    assert opened(client, studio, Origin=own, **{"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert opened(client, studio).status_code == 200
    behind = {"Host": "studio.example", "X-Forwarded-Proto": "https", "Origin": "https://studio.example"}
    assert opened(client, studio, **behind).status_code == 200
    asked = client.options("/gradio_api/run/predict", headers={"Origin": "http://elsewhere.example"})
    read = client.get("/config", headers={"Origin": "http://elsewhere.example"})
    assert not any(name.startswith("access-control-allow") for name in (*asked.headers, *read.headers))


@pytest.mark.parametrize(
    "path",
    [
        *("/gradio_api/deep_link?session_hash=a", "/gradio_api/proxy=http://a.hf.space/", "/gradio_api/dev/reload"),
        *("/monitoring/summary", "/login", "/logout", "/gradio_api/token", "/docs", "/nothing", "/gradio_api/runs"),
    ],
)
def test_what_nobody_needs_is_not_there(client: httpx2.Client, path: str):
    assert client.get(path).status_code == 404
    assert client.post(path).status_code == 404


def test_a_browser_is_told_of_an_error_on_a_page_and_a_program_in_json(client: httpx2.Client, monkeypatch):
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/nothing", "/gallery/<b>", "/scripts/nothing.js"):
        page = client.get(path, headers=browser)
        assert page.status_code == 404 and page.headers["content-type"] == "text/html; charset=utf-8"
        assert "<h1>There is nothing here</h1>" in page.text and 'href="/mcp-aha/"' in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"] and "--paper: #" in page.text
        assert '<base href="/mcp-aha/">' in page.text and "<b>" not in page.text
    assert client.get("/nothing").json()["detail"] == "There is nothing at this address."
    assert client.head("/nothing", headers=browser).content == b""
    named = client.get("/", headers=browser | {"Host": "rebound.example"})
    assert named.status_code == 421 and "add it to the setting “hosts”" in named.text
    assert client.get("/gradio_api/nothing", headers=browser).json()["detail"]
    assert client.get("/gallery", headers=browser).status_code == 200
    form = client.post("/enter", headers=browser | {"Origin": "http://elsewhere.example"})
    assert form.status_code == 403 and "<h1>This is not open to you</h1>" in form.text
    monkeypatch.setitem(limits.RATES, "requests", Rate(0.001, 1))
    answers = [client.get("/gallery", headers=browser) for _ in range(3)]
    assert answers[-1].status_code == 429 and "<h1>Please wait a moment</h1>" in answers[-1].text
    assert int(answers[-1].headers["retry-after"]) > 0 and "from your network" in answers[-1].text


def test_every_answer_has_the_headers_that_protect(client: httpx2.Client):
    for path in ("/", "/config", "/nothing", "/theme.css"):
        headers = client.get(path, headers={"X-Forwarded-Proto": "https", "Host": "studio.example"}).headers
        assert headers["x-content-type-options"] == "nosniff" and "referrer-policy" in headers
        assert "max-age" in headers["strict-transport-security"]
        is_json = headers["content-type"].startswith("application/json")
        allowed = "default-src 'none'" if is_json else "script-src 'self'"
        assert allowed in headers["content-security-policy"]
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert "strict-transport-security" not in client.get("/").headers


def test_a_file_that_lasts_has_no_more_headers_than_it_needs_and_is_kept_by_browsers(client: httpx2.Client):
    for path in ("fonts/studio-sans-english.woff2", f"assets/{next(SCRIPTS.glob('index-*.js')).name}"):
        answer = client.get(path, headers={"Accept-Encoding": "br"})
        assert "immutable" in answer.headers["cache-control"] and answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers.get("content-encoding") == ("br" if path.endswith("js") else None)
        assert not answer.headers.keys() & {"content-security-policy", "etag", "last-modified"}
    assert "content-security-policy" in client.get("assets/nothing.js").headers


def test_what_is_asked_for_again_is_compressed_better(client: httpx2.Client):
    def size() -> int:
        return int(client.get("compare", headers={"Accept-Encoding": "br"}).headers["content-length"])

    first = size()
    for _ in range(100):
        if size() < first:
            break
        time.sleep(0.1)
    assert size() < first


def test_a_page_brings_its_styles_and_a_visitors_page_not_those_of_the_desks(client: httpx2.Client):
    visitors, annotators = client.get("").text, client.get("annotate").text
    for text in (visitors, annotators):
        assert ".masthead{" in text and "studio-sans-english.woff2" in text and "/*" not in STYLES.search(text)[0]
    assert ".learnt td" in STYLES.search(annotators)[0] and ".learnt td" not in STYLES.search(visitors)[0]
    assert ".gallery .card" in client.get("gallery").text and ".gallery .card" not in visitors


def test_a_page_is_told_of_no_other_page(client: httpx2.Client):
    told = re.search(r"window\.gradio_config = ({.*?});?\s*</script>", client.get("compare").text, re.S)
    assert set(json.loads(told[1])["page"]) == {"compare"}


def test_answers_of_handlers_are_compressed_for_who_takes_it(client: httpx2.Client, studio: gr.Blocks):
    plain = opened(client, studio, **{"Accept-Encoding": "identity"})
    compressed = opened(client, studio, **{"Accept-Encoding": "br"})
    assert plain.json()["data"][1:] == compressed.json()["data"][1:]
    for answer in (plain, compressed):
        expected = "br" if answer is compressed and len(plain.content) >= compression.SMALLEST else None
        assert answer.headers.get("content-encoding") == expected


def test_everything_works_below_a_path_whether_the_proxy_cuts_it_off_or_not(client: httpx2.Client):
    for before in ("", "/mcp-aha"):
        page = client.get(f"{before}/gallery", headers={"X-Forwarded-Host": "studio.example"})
        assert page.status_code == 200 and '"root":"http://studio.example/mcp-aha"' in page.text, page.text[
            page.text.index('"root":') :
        ][:90]
        assert client.get(f"{before}/fonts/ibm-plex-sans-400.woff2").status_code == 200
        assert client.get(f"{before}/gradio_api/mcp/schema").status_code == 200
        assert client.get(f"{before}/config").json()["root"].endswith("/mcp-aha")
    assert "manifest.json" not in page.text


def test_a_body_that_is_too_large_is_refused_however_it_is_sent(client: httpx2.Client, studio: gr.Blocks):
    opened(client, studio)
    large, parts = b"x" * (25 * MB), (b"x" * MB for _ in range(25))
    for sent in (large, parts):
        answer = client.post("/gradio_api/run/judge", content=sent)
        assert answer.status_code == 413 and "too large" in answer.json()["error"]
    named = {"Content-Type": "multipart/form-data; boundary=b"}
    near = client.headers["X-Forwarded-For"]
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: a.example.org\r\nX-Forwarded-For: {near}"
    assert b" 413 " in raw(studio, f"{head}\r\nContent-Length: 300000000\r\n\r\n--b".encode())
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    streamed = (part for part in [head, *[b"x" * MB] * 66])
    answer = client.post("/gradio_api/upload", content=streamed, headers=named)
    assert answer.status_code == 413 and "visitors may send 64 MB" in answer.json()["error"]


def test_files_come_from_an_open_page_or_from_somebody_who_has_signed_in(client, studio, store: Store):
    files = {"files": ("a.png", b"small")}
    refused = client.post("/gradio_api/upload", files=files)
    assert refused.status_code == 403 and "open page" in refused.json()["error"]
    cookie = {"Cookie": f"{COOKIE}={new_session(store, person(store, 'ada'))}"}
    assert client.post("/gradio_api/upload", files=files, headers=cookie).status_code == 200
    opened(client, studio)
    assert client.post("/gradio_api/upload", files=files).status_code == 200


def test_what_is_old_is_removed_from_the_folder_of_files(tmp_path: Path):
    for name, age in (("a/old.png", 4000), ("b/new.png", 10), ("tmpunfinished", 700), ("tmpnow", 10)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    os.utime(tmp_path / "a", (time.time() - 4000,) * 2)
    assert temp_files.remove_old(tmp_path) == 2
    temp_files.remove_old(tmp_path, time.time() + temp_files.UNFINISHED + 1)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "new.png"]


def test_what_a_killed_process_unpacked_is_removed_at_the_next_start(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "chosen"))
    code = (
        "import os; from annotations.scratch_folders import *; left = scratch_folder(); left.__enter__(); os._exit(9)"
    )
    given = {"cwd": Path(__file__).parents[1], "env": {**os.environ, "TMPDIR": str(tmp_path)}}
    assert subprocess.run([sys.executable, "-c", code], **given, check=False).returncode == 9
    with scratch_folder() as mine:
        assert len([*tmp_path.iterdir()]) == 2
        assert temp_files.process_folder() == tmp_path / "chosen" and [*tmp_path.iterdir()] == [Path(mine)]


def test_a_visitor_who_asks_too_much_is_told_and_others_are_not_slowed(client, studio, monkeypatch, store: Store):
    monkeypatch.setitem(limits.RATES, "pages", Rate(3, 0.01))
    answers = [opened(client, studio).status_code for _ in range(5)]
    assert answers == [200] * 3 + [429] * 2
    refused = opened(client, studio)
    assert "Too many pages from your network. Wait" in refused.json()["error"] and int(refused.headers["retry-after"])
    assert opened(client, studio, **{"X-Forwarded-For": "198.51.100.7"}).status_code == 200
    spoofed = {"X-Forwarded-For": f"198.51.100.8, {client.headers['X-Forwarded-For']}"}
    assert opened(client, studio, **spoofed).status_code == 429
    cookie = {"Cookie": f"{COOKIE}={new_session(store, person(store, 'ada'))}"}
    assert {opened(client, studio, **cookie).status_code for _ in range(5)} == {200}


def test_what_proxies_say_is_believed_of_trusted_ones_only():
    trusted = TrustedProxies(["10.0.0.0/8", "::1"])
    assert "10.1.2.3" in trusted and "[::1]:80" in trusted and "192.0.2.1" not in trusted and "" not in trusted
    assert trusted.client_address(["1.1.1.1", "192.0.2.1", "10.0.0.1"]) == "192.0.2.1"
    assert "172.16.0.1" in TrustedProxies(["private"]) and "8.8.8.8" not in TrustedProxies(["private"])
    assert rate_limit_key("2001:db8::1") == rate_limit_key("2001:db8::2:0:1") != rate_limit_key("2001:db8:0:1::1")
    assert rate_limit_key("::ffff:192.0.2.1") == "192.0.2.1"


def test_drawings_of_one_page_and_of_one_address_are_limited_and_end():
    clock = [0.0]
    known = Limits(lambda: clock[0])
    running = [Caller("a", known).drawing(iter("ab"), f"page{n}") for n in range(limits.MAX_RUNNING["drawings"])]
    assert [next(one) for one in running] == ["a"] * len(running)
    with pytest.raises(LimitError, match="12 drawings of your network are under way"):
        next(Caller("a", known).drawing(iter("a")))
    assert list(Caller("b", known).drawing(iter("ab"))) == ["a", "b"]
    running.pop().close()
    assert list(Caller("a", known).drawing(iter("ab"))) == ["a", "b"]
    more = [Caller("c", known).drawing(iter("ab"), "one") for _ in range(limits.DRAWINGS_OF_A_PAGE + 1)]
    with pytest.raises(LimitError, match="of this page"):
        [next(one) for one in more]
    assert list(Caller().drawing(iter("ab"))) == ["a", "b"]


def test_every_handler_is_in_the_table_and_a_visitor_is_refused_what_is_not_for_visitors(client, studio, monkeypatch):
    monkeypatch.setattr(studio, "api_open", True)  # else handlers of the queue are not found before anybody is asked
    assert {page for page, *_ in studio.pages} == set(access.ROLES)
    assert {fn.api_name for fn in studio.fns.values() if not fn.targets and fn.fn} == set(access.ENDPOINTS)
    for index, fn in studio.fns.items():
        if fn.fn is None or access.role_for(fn) is Role.VISITOR:
            continue
        asked = {"data": [None] * len(fn.inputs), "fn_index": index, "session_hash": "walk"}
        answer = client.post("/gradio_api/run/predict", json=asked)
        assert answer.status_code == 422 and answer.json()["error"] == REFUSAL, fn.api_name


def test_every_route_of_the_application_is_in_the_table_or_closed(client, studio):
    known = {"/", "/config", "/gradio_api/info", "/gradio_api/upload", "/gradio_api/queue/join", "/enter", "/leave"}
    inside = [r for one in studio.app.routes if hasattr(one, "original_router") for r in one.original_router.routes]
    open_ = {
        route.path
        for route in [*studio.app.routes, *inside]
        for method in getattr(route, "methods", None) or ()
        if access.is_route(method, route.path)
    }
    assert known <= open_
    closed = (
        "deep_link",
        "proxy",
        "component_server",
        "dev/reload",
        "monitoring",
        "stream/",
        "/login",
        "vibe",
        "token",
    )
    assert not [path for path in open_ if any(word in path for word in closed)]


@pytest.mark.parametrize("data", [[3], [{}], [], "text", [None] * 40, [["a"]]])
def test_values_of_a_wrong_kind_are_told_and_logged_in_a_line(client, capfd, caplog, data):
    with caplog.at_level(logging.ERROR):
        answer = client.post("/gradio_api/run/trajectory", json={"data": data})
    assert answer.status_code == 422 and (answer.json().get("error") or answer.json()["detail"])
    assert "Traceback" not in capfd.readouterr().err and not any(one.exc_info for one in caplog.records)


@pytest.mark.parametrize("asked", [("run/nothing", {"data": []}), ("run/predict", {"data": [], "fn_index": 9999})])
def test_an_endpoint_that_is_not_there_is_said_not_to_be(client, capfd, asked):
    answer = client.post(f"/gradio_api/{asked[0]}", json=asked[1])
    assert answer.status_code in (400, 404) and answer.json()["detail"]
    assert client.post("/gradio_api/run/predict", content=b"[1").status_code == 400
    assert client.post("/gradio_api/run/predict", json={"data": [], "session_hash": 3}).status_code == 400
    assert "Traceback" not in capfd.readouterr().err


def test_a_new_session_costs_little_and_there_are_only_so_many(client, studio, monkeypatch):
    states = studio.state_holder
    monkeypatch.setitem(limits.RATES, "pages", Rate(1000, 1000))
    monkeypatch.setitem(limits.RATES, "requests", Rate(1000, 1000))
    monkeypatch.setattr("studio.site.CAPACITY", 20)
    opened(client, studio)
    began = time.thread_time()
    for number in range(200):
        _ = states[f"session{number}"]
    assert (time.thread_time() - began) / 200 < 0.002  # s; it took 0.07 when each copied all components
    for number in range(40):
        states.opened(f"session{number}", "a", keep=False)
    assert not states.has("session19") and states.has("session20") and "session19" not in states
    states.opened("kept", "b", keep=True)
    for number in range(200):
        states.opened(f"other{number}", "a", keep=False)
    assert states.has("kept") and states.any_of("a")
    for number in range(200):
        states.forget(f"session{number}"), states.forget(f"other{number}")
    assert not states.any_of("a")


def test_what_fills_the_front_page_is_sent_as_it_is(client, studio, monkeypatch):
    looked = []
    for name in ("async_move_files_to_cache", "add_root_url"):
        monkeypatch.setattr(f"gradio.processing_utils.{name}", lambda *given, name=name, **_: looked.append(name))
    index = next(i for i, fn in studio.fns.items() if fn.page == "" and fn.name == "linked")
    asked = {"data": [], "fn_index": index, "session_hash": uuid4().hex}
    answer = client.post("/gradio_api/run/predict", json=asked).raise_for_status().json()
    assert answer["data"][1:] == [{"__type__": "update"}] * (len(studio.fns[index].outputs) - 1) and looked == []


def test_it_starts_where_the_environment_names_a_proxy(monkeypatch, tiny: Janus, tmp_path: Path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with open_store(tmp_path) as store:
        demo = start(Settings(port=free_port()), store, Checkpoints(Generator(JanusBackend(tiny), store)))
        assert httpx2.get(f"http://127.0.0.1:{demo.server_port}/config", trust_env=False).status_code == 200
        demo.close()
    reach_itself()
    assert os.environ["no_proxy"] == "localhost,127.0.0.1"
