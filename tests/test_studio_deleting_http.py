"""What a browser or a program has seen of a drawing over HTTP is there no more once it is deleted, by any address."""

import base64
import io
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from running_app import free_port
from test_annotations_samples import aha
from thoroughness import few
from visiting import API, Answer, Visitor

from annotations.auth.accounts import add
from annotations.schema.annotation import Annotation
from annotations.schema.default_projects import READY_MADE
from annotations.schema.project import Role
from annotations.store.items import NewItem
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from model.images import PictureFileError, encode_png, read_rgb
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.server import start
from studio.settings import Mode, Settings

PASSWORD = "a long enough one"


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
        store.create_project(next(project for project in READY_MADE if project.id == "arena"))
        settings = Settings(mode=Mode.PUBLIC, port=free_port(), limits=False, rounds=1)
        demo = start(settings, store, Checkpoints(Generator(JanusBackend(tiny), store)))
        yield Studio(f"http://127.0.0.1:{settings.port}", store, folder)
        demo.close()


@pytest.fixture(scope="module")
def visitor(studio: Studio) -> Visitor:
    return Visitor(studio.url)


@pytest.fixture(scope="module")
def admin(studio: Studio) -> Visitor:
    return signed_in(studio.url)


def signed_in(url: str) -> Visitor:
    bob = Visitor(url)
    entered = bob.client.post("/enter", data={"name": "bob", "password": PASSWORD})
    assert entered.status_code < 400 and bob.client.cookies
    return bob


def png(seed: int) -> bytes:
    return encode_png(Picture.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 48, 3), np.uint8)))


def look_everywhere(visitor: Visitor, admin: Visitor, run: str, sha256s: list[str]) -> list[Answer]:
    """Every page that shows a drawing, to a visitor who knows its address and to an admin; and what programs get."""
    seen = [
        visitor.ask("gallery", "begun"),
        visitor.ask("gallery", "newest_first"),
        visitor.ask("gallery", "linked", run=run),
        visitor.ask("gallery", "opened", event={"run": run}),
        visitor.ask("", "linked", run=run),
        visitor.ask("compare", "linked", left=run, right=run),
        visitor.ask("image", "linked", **{"from": run}),
        visitor.call("trajectory", run),
        visitor.tool("trajectory", run=run),
        *(visitor.got("GET", path) for path in (f"/?run={run}", f"/gallery?run={run}", f"/image?from={run}")),
        *(visitor.call("picture", sha256) for sha256 in sha256s),
        *(visitor.tool("picture", sha256=sha256) for sha256 in sha256s),
        admin.ask("annotate", "start", shows="annotate-prompt"),
        admin.ask("arena", "start", shows="arena-prompt"),
        admin.ask("review", "start", shows="review-stage", project="reflections"),
        admin.ask("review", "start", shows="review-stage", trajectory=run),
        admin.ask("review", "look", {"textbox": run}),
        admin.ask("project", "start", shows="project-board", id="reflections"),
        admin.ask("datasets", "export"),
    ]
    files = {path for answer in seen for path in answer.paths}
    return seen + [visitor.got("GET", f"{API}/file={path}") for path in files]


@pytest.mark.parametrize("way", few(["drawn", "judged", "annotated"], 1, 2))
def test_what_was_seen_of_a_drawing_by_any_address_is_gone_by_all_of_them(studio: Studio, way: str):
    visitor, admin = Visitor(studio.url), signed_in(studio.url)
    words, content = (
        {
            "drawn": "three cats below a red key",
            "judged": "four fish left of a star",
            "annotated": "two keys right of a tree",
        }[way],
        png(11),
    )
    before = set().union(*(answer.pictures for answer in look_everywhere(visitor, admin, "none", [])))
    visitor.asked.clear(), admin.asked.clear()
    if way == "judged":
        upload = visitor.upload(content, "mine.png")
        heard = [visitor.ask("image", "insisted", {"image": upload, "textbox": words})]
        heard.append(visitor.got("GET", f"{API}/file={upload['path']}"))
        visitor.asked.pop(0)
    else:
        heard = [visitor.ask("", "insisted", {"textbox": words})]
        visitor.asked.pop(0)
    run = studio.store.trajectories(limit=1)[0].id
    trajectory = studio.store.trajectory(run)
    assert trajectory.prompt == words
    other = pair(studio.store, run, words)
    if way == "annotated":
        annotate(studio.store, run)
    sha256s = sorted({one.sha256 for one in trajectory.segments if getattr(one, "sha256", None)})
    heard += look_everywhere(visitor, admin, run, sha256s)
    pictures = set().union(*(answer.pictures for answer in heard)) - before
    showed = [answer for answer in heard if answer.pictures & pictures]
    assert len(showed) >= 10, [answer.said[:80] for answer in heard if answer not in showed]

    for each in (other, run):
        visitor.delete(each, studio.store.receipt(each))
        visitor.asked.pop()
    again = [ask() for ask in (*visitor.asked, *admin.asked)]
    assert [a.said[:300] for a in again if a.pictures & pictures or words in a.said] == []
    assert studio.store.purge(timedelta(seconds=-1)) == (2 if way != "annotated" else 1)
    if way != "annotated":  # what others have worked on is kept, and shown to nobody
        kept = [base64.b64decode(one) for one in pictures]
        assert studio.holding([np.asarray(read_rgb(one)) for one in kept], [*kept, words.encode()]) == []


def pair(store: Store, run: str, words: str) -> str:
    """Have it compared with another drawing of its prompt."""
    other, pictures = aha(len(words), words)
    made = store.save(other, pictures, owner="visitor")
    store.add_items("arena", [NewItem(run, made)])
    return made


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.png", content)
    return buffer.getvalue()


def test_of_many_that_were_judged_one_deleted_takes_its_upload_its_zip_and_the_table(studio: Studio, visitor: Visitor):
    alone, other, packed = (
        visitor.upload(png(2), "a_blue_dog_below_a_key.png"),
        visitor.upload(png(3), "a_car.png"),
        png(4),
    )
    folder = visitor.upload(zipped(a_red_tree_left_of_a_dog=packed, a_house=png(5)), "many.zip")
    judged = visitor.judge_many(alone, other, folder)
    runs = {one.prompt: one.id for one in studio.store.trajectories(limit=4)}
    [table] = {path for path in judged.paths if path.endswith("judgements.csv")}
    assert len(runs) == 4 and visitor.status(table) == 200
    paths = [alone["path"], other["path"], folder["path"]]
    assert [visitor.status(path) for path in paths] == [200] * 3
    visitor.delete(runs["a blue dog below a key"], studio.store.receipt(runs["a blue dog below a key"]))
    assert [visitor.status(path) for path in (*paths, table)] == [404, 200, 200, 404]
    visitor.delete(runs["a red tree left of a dog"], studio.store.receipt(runs["a red tree left of a dog"]))
    assert [visitor.status(path) for path in paths] == [404, 200, 404]
    assert studio.store.purge(timedelta(seconds=-1)) == 2
    gone = [png(2), packed]
    assert (
        studio.holding(
            [np.asarray(read_rgb(one)) for one in gone], [*gone, b"a blue dog below a key", b"a red tree left of a dog"]
        )
        == []
    )
    assert not visitor.judge_many(folder).ok
    assert studio.store.trajectory(runs["a car"])


def test_an_export_with_a_deleted_drawing_is_shown_and_packed_no_more(studio: Studio, admin: Visitor):
    runs = []
    for prompt in ("a hen", "a fox"):
        assert admin.judge_many(admin.upload(png(len(runs) + 7), f"{prompt.replace(' ', '_')}.png")).ok
        run = studio.store.trajectories(limit=1)[0]
        runs.append(run.id)
        annotate(studio.store, run.id)
    made = exported(admin)
    [packed] = {path for path in made.paths if path.endswith(".zip")}
    assert admin.status(packed) == 200 and "a hen" in made.said
    admin.delete(runs[0], studio.store.receipt(runs[0]))
    assert admin.status(packed) == 404
    again = admin.ask("datasets", "start", shows="datasets-block")
    assert "deleted since" in again.said and "a hen" not in again.said and not again.paths
    assert admin.status(packed) == 404
    made = exported(admin)
    assert "a fox" in made.said and "a hen" not in made.said
    assert {admin.status(path) for path in made.paths if path.endswith(".zip")} == {200}


def exported(admin: Visitor) -> Answer:
    """What the page shows once an export has ended."""
    admin.ask("datasets", "export")
    for _ in range(100):
        if (answer := admin.ask("datasets", "look")).paths:
            return answer
        time.sleep(0.1)
    raise AssertionError("the export did not end within ten seconds")


def annotate(store: Store, run: str) -> None:
    [index] = [i for i, segment in enumerate(store.trajectory(run).segments) if segment.kind == "reflection"]
    words = {"reason_rating": 1, "reason_correction": "it is there."}  # an untrained network's own may be no text
    store.annotate(Annotation(run, index, "bob", {"verdict_right": "yes"} | words))
