"""Exports to the Hub: the library's own protocol, spoken with a server on this machine."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from test_annotations_samples import aha, judged

from annotations.errors import ExportError
from annotations.export.exporter import export
from annotations.export.push import push
from annotations.store.store import open_store

TOKEN = "hf_may_write"


@dataclass
class Hub:
    """The dataset repositories of a Hub that takes one token: who may read them, and their files."""

    url: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        path = path.partition("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            known = name in self.private
            visibility = asked.get("visibility") or ("private" if asked.get("private") else "public")
            self.private.setdefault(name, visibility == "private")
            self.files.setdefault(name, {})
            return (409 if known else 200), {"url": f"{self.url}/datasets/{name}"}
        if path == "/api/validate-yaml":  # of the card
            return 200, {"errors": [], "warnings": []}
        name = "/".join(path.split("/")[3:5])
        if name not in self.private:
            return 404, {"error": "Repository not found"}
        if path.endswith("/preupload/main"):
            listed = [{"path": f["path"], "uploadMode": "regular"} for f in json.loads(body)["files"]]
            return 200, {"files": [one | {"shouldIgnore": False} for one in listed]}
        if path.endswith("/commit/main"):
            for line in body.decode().splitlines():
                said = json.loads(line)
                if said["key"] == "file":
                    self.files[name][said["value"]["path"]] = base64.b64decode(said["value"]["content"])
                elif said["key"] == "deletedFile":
                    self.files[name].pop(said["value"]["path"])
            oid = "c" * 40
            return 200, {
                "commitUrl": f"{self.url}/datasets/{name}/commit/{oid}",
                "commitOid": oid,
                "pullRequestUrl": None,
            }
        tree = [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in self.files[name].items()]
        if "/tree/" in path:
            return 200, tree
        return 200, {
            "id": name,
            "sha": "c" * 40,
            "private": self.private[name],
            "siblings": [{"rfilename": f["path"]} for f in tree],
        }


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, said = hub.answer(self.command, self.path, self.headers.get("authorization", ""), body)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()


@pytest.fixture
def folder(tmp_path):
    with open_store(tmp_path / "data") as store:
        trajectory, pictures = aha()
        store.annotate(judged(store.save(trajectory, pictures, owner="me"), 2, verdict_right="yes", reason_rating=5))
        export(store, "judge_sft", tmp_path / "out")
    return tmp_path / "out"


def test_an_export_becomes_a_private_repository_with_the_same_files(hub, folder):
    address = push(folder, "me/reflections", TOKEN, endpoint=hub.url)
    assert address.endswith("/datasets/me/reflections") and hub.private == {"me/reflections": True}
    assert hub.files["me/reflections"] == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pushed_again_it_replaces_the_rows_of_before(hub, folder):
    push(folder, "me/reflections", TOKEN, endpoint=hub.url)
    hub.files["me/reflections"]["train-00000-of-00002.parquet"] = b"rows of an earlier export"
    push(folder, "me/reflections", TOKEN, endpoint=hub.url)
    assert set(hub.files["me/reflections"]) == {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("repository", "token", "why"),
    [
        ("me/reflections", "hf_another", "Invalid username or password"),
        ("me/reflections", "", "got no token"),
        ("no such name/at all/", TOKEN, "did not take no such name"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_line_without_the_token(hub, folder, repository, token, why):
    with pytest.raises(ExportError, match=why) as told:
        push(folder, repository, token, endpoint=hub.url)
    assert "\n" not in str(told.value) and (not token or token not in str(told.value))
    assert hub.files.get("me/reflections", {}) == {}


def test_a_folder_that_is_no_export_is_not_pushed(hub, tmp_path):
    with pytest.raises(ExportError, match="is no export"):
        push(tmp_path, "me/reflections", TOKEN, endpoint=hub.url)
    assert hub.private == {}


def test_a_hub_that_cannot_be_reached_is_said_to_be_so(folder):
    with pytest.raises(ExportError, match="did not take me/reflections"):
        push(folder, "me/reflections", TOKEN, endpoint="http://127.0.0.1:9")
