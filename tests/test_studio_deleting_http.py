"""What a browser or a program has seen of a drawing over HTTP is there no more once it is deleted, by any address."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from PIL import Image as Picture
from running_app import free_port

from annotations.annotation import Annotation
from annotations.people import add
from annotations.project import Role
from annotations.store import Store, open_store
from model.janus import Janus
from model.pictures import PictureFileError, encode_png, read_rgb
from studio.checkpoints import Checkpoints
from studio.generator import Generator
from studio.server import start
from studio.settings import Mode, Settings

API = "/gradio_api"
PASSWORD = "a long enough one"


@dataclass
class Answer:
    """What a handler has said: all of its stream, and whether it did what was asked."""

    said: str
    ok: bool

    @property
    def paths(self) -> list[str]:
        """Of files that it names."""
        return re.findall(r'"path": ?"([^"]+)"', self.said)


class Visitor:
    """Somebody at a running studio, who calls its handlers as its pages do."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60, headers={"origin": url})
        config = self.client.get("/config").json()
        self._pages = {name: set(page["dependencies"]) for name, page in config["page"].items()}
        self._handlers = [one for one in config["dependencies"] if one["backend_fn"]]
        self._defaults = {one["id"]: one["props"].get("value") for one in config["components"]}
        self._ids = {one["id"]: one["props"].get("elem_id") for one in config["components"]}
        self._types = {one["id"]: one["type"] for one in config["components"]}

    def ask(
        self,
        page: str,
        name: str,
        given: dict[str, Any] | None = None,
        *,
        event: Any = None,
        shows: str = "",
        session: str = "",
        **query: str,
    ) -> Answer:
        """Call a page's handler of that name; `given`: values by the type of the component, others are as they begin.

        Of several, the one that has an input of each type given, and an output of the id `shows`.
        """
        given, session = given or {}, session or uuid4().hex
        [handler] = [
            one
            for one in self._handlers
            if one["id"] in self._pages[page] and re.fullmatch(rf"{name}(_[0-9]+)?", one["api_name"] or "")
            and given.keys() <= {self._types[each] for each in one["inputs"]}
            and (not shows or shows in {self._ids[each] for each in one["outputs"]})
        ]  # fmt: skip
        data = [given.get(self._types[each], self._defaults[each]) for each in handler["inputs"]]
        body = {"data": data, "fn_index": handler["id"], "session_hash": session, "event_data": event}
        assert self.client.post(f"{API}/queue/join", params=query, json=body).status_code == 200
        lines, last = [], {}
        with self.client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                last = json.loads(line.removeprefix("data:")) if line.startswith("data:") else last
                lines.append(json.dumps(last))
                if last.get("msg") in ("process_completed", "unexpected_error", "close_stream"):
                    break
        return Answer("\n".join(lines), bool(last.get("success")))

    def upload(self, content: bytes, name: str) -> dict[str, Any]:
        [path] = self.client.post(f"{API}/upload", files={"files": (name, content)}).json()
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def status(self, path: str) -> int:
        return self.client.get(f"{API}/file={path}").status_code

    def judge_many(self, *files: dict[str, Any]) -> Answer:
        return self.ask("image", "asked", {"file": list(files)})

    def delete(self, run: str, receipt: str) -> None:
        assert '"gone"' in self.ask("image", "forgotten", event={"run": run, "receipt": receipt}).said


@dataclass
class Studio:
    url: str
    store: Store
    folder: Path  # of its data, what it serves, and its temporary files

    def holding(self, pictures: list[np.ndarray], contents: list[bytes]) -> list[Path]:
        """Files that have one of these contents in them, or show one of these pictures."""
        return [file for file in self.folder.rglob("*") if file.is_file() and _holds(file, pictures, contents)]


def _holds(file: Path, pictures: list[np.ndarray], contents: list[bytes]) -> bool:
    held = file.read_bytes()
    if any(content in held for content in contents):
        return True
    try:
        shown = np.asarray(read_rgb(held))
    except PictureFileError:
        return False
    return any(np.array_equal(shown, picture) for picture in pictures)


@pytest.fixture(scope="module")
def studio(tiny: Janus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    (folder / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch, open_store(folder / "data") as store:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "served"))
        patch.setattr("tempfile.tempdir", str(folder / "tmp"))
        add(store, "bob", Role.ADMIN, PASSWORD)
        settings = Settings(mode=Mode.PUBLIC, port=free_port(), limits=False, rounds=1)
        demo = start(settings, store, Checkpoints(Generator(tiny, store)))
        yield Studio(f"http://127.0.0.1:{settings.port}", store, folder)
        demo.close()


@pytest.fixture(scope="module")
def visitor(studio: Studio) -> Visitor:
    return Visitor(studio.url)


@pytest.fixture(scope="module")
def admin(studio: Studio) -> Visitor:
    bob = Visitor(studio.url)
    entered = bob.client.post("/enter", data={"name": "bob", "password": PASSWORD})
    assert entered.status_code < 400 and bob.client.cookies
    return bob


def png(seed: int) -> bytes:
    return encode_png(Picture.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 48, 3), np.uint8)))


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.png", content)
    return buffer.getvalue()


def test_of_many_that_were_judged_one_deleted_takes_its_upload_its_zip_and_the_table(studio: Studio, visitor: Visitor):
    alone, other, packed = visitor.upload(png(2), "a_dog.png"), visitor.upload(png(3), "a_car.png"), png(4)
    folder = visitor.upload(zipped(a_tree=packed, a_house=png(5)), "many.zip")
    judged = visitor.judge_many(alone, other, folder)
    runs = {one.prompt: one.id for one in studio.store.trajectories(limit=4)}
    [table] = {path for path in judged.paths if path.endswith("judgements.csv")}
    assert len(runs) == 4 and visitor.status(table) == 200
    paths = [alone["path"], other["path"], folder["path"]]
    assert [visitor.status(path) for path in paths] == [200] * 3
    visitor.delete(runs["a dog"], studio.store.receipt(runs["a dog"]))
    assert [visitor.status(path) for path in (*paths, table)] == [404, 200, 200, 404]
    visitor.delete(runs["a tree"], studio.store.receipt(runs["a tree"]))
    assert [visitor.status(path) for path in paths] == [404, 200, 404]
    assert studio.store.purge(timedelta(seconds=-1)) == 2
    gone = [png(2), packed]
    assert studio.holding([np.asarray(read_rgb(one)) for one in gone], [*gone, b"a dog", b"a tree"]) == []
    assert not visitor.judge_many(folder).ok
    assert studio.store.trajectory(runs["a car"])


def test_an_export_with_a_deleted_drawing_is_shown_and_packed_no_more(studio: Studio, admin: Visitor):
    runs = []
    for prompt in ("a hen", "a fox"):
        assert admin.judge_many(admin.upload(png(len(runs) + 7), f"{prompt.replace(' ', '_')}.png")).ok
        run = studio.store.trajectories(limit=1)[0]
        runs.append(run.id)
        annotate(studio.store, run.id)
    made = admin.ask("datasets", "export")
    [packed] = {path for path in made.paths if path.endswith(".zip")}
    assert admin.status(packed) == 200 and "a hen" in made.said
    admin.delete(runs[0], studio.store.receipt(runs[0]))
    assert admin.status(packed) == 404
    again = admin.ask("datasets", "start", shows="datasets-block")
    assert "deleted since" in again.said and "a hen" not in again.said and not again.paths
    assert admin.status(packed) == 404
    made = admin.ask("datasets", "export")
    assert "a fox" in made.said and "a hen" not in made.said
    assert {admin.status(path) for path in made.paths if path.endswith(".zip")} == {200}


def annotate(store: Store, run: str) -> None:
    [index] = [i for i, segment in enumerate(store.trajectory(run).segments) if segment.kind == "reflection"]
    store.annotate(Annotation(run, index, "bob", {"verdict_right": "yes", "reason_rating": 5}))
