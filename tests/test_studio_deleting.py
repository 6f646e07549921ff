"""What is deleted is gone: every address that showed it answers 404, and after a purge the disk has it no longer."""

import hashlib
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx2
import numpy as np
import pytest
from PIL import Image as Picture
from starlette.middleware import Middleware

from annotations.errors import NotFoundError
from annotations.store.store import Store, open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from model.images import PictureFileError, encode_png, read_rgb
from studio.http.request_errors import RequestErrors
from studio.image import page as image
from studio.inference import served_copies
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.inference.live_events import PageVisit, Sessions, forget
from studio.pages import build
from studio.settings import Mode, Settings

VISIT = PageVisit("ada", "tab")
SETTINGS = Settings(mode=Mode.PUBLIC)


class Studio:
    """A studio that answers at `url`, its store, and the folder that it serves."""

    def __init__(self, tiny: Janus, store: Store, served: Path) -> None:
        self.store, self.served, self.generator = store, served, Generator(JanusBackend(tiny), store)
        self.demo = build(SETTINGS, store, Checkpoints(self.generator))
        _, self.url, _ = self.demo.launch(
            prevent_thread_lock=True, quiet=True, ssr_mode=False, app_kwargs={"middleware": [Middleware(RequestErrors)]}
        )

    def upload(self, content: bytes, name: str) -> str:
        """The path of the file, as the browser is told it."""
        return httpx2.post(f"{self.url}gradio_api/upload", files={"files": (name, content)}).json()[0]

    def status(self, path: str) -> int:
        return httpx2.get(f"{self.url}gradio_api/file={path}").status_code

    def judge(self, path: str) -> str:
        given = image.ImageForm(
            image.upload(type="filepath", render=False).preprocess(gr.data_classes.ImageData(path=path)),
            "a red cat",
            "Judge it",
        )
        *_, last = image.ask(given, VISIT, Checkpoints(self.generator), Sessions(), insist=True)
        return last[0]["trajectory"]["id"]

    def delete(self, run: str) -> dict:
        asked = SimpleNamespace(run=run, receipt=self.store.receipt(run))
        return forget(asked, VISIT, self.store, SETTINGS)

    def holds(self, content: bytes) -> list[Path]:
        """Files of the data and of what is served that have these bytes in them, or these pixels."""
        wanted, pixels = hashlib.sha256(content).hexdigest(), np.asarray(read_rgb(content))
        found = []
        for file in (*self.store.database.directory.rglob("*"), *self.served.rglob("*")):
            if file.is_file():
                held = file.read_bytes()
                same = hashlib.sha256(held).hexdigest() == wanted or content[-200:-12] in held
                found += [file] if same or _shows(held, pixels) else []
        return found


def _shows(content: bytes, pixels: np.ndarray) -> bool:
    try:
        return np.array_equal(np.asarray(read_rgb(content)), pixels)
    except PictureFileError:
        return False


@pytest.fixture(scope="module")
def studio(tiny: Janus, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("studio")
    with pytest.MonkeyPatch.context() as patch, open_store(folder / "data") as store:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "served"))
        made = Studio(tiny, store, folder / "served")
        yield made
        made.demo.close()


def picture(seed: int) -> bytes:
    return encode_png(Picture.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)))


def test_a_deletion_reaches_every_copy_and_a_purge_leaves_none_on_the_disk(studio: Studio):
    content, other = picture(0), picture(1)
    uploaded, kept = studio.upload(content, "mine.png"), studio.upload(other, "other.png")
    run, of_other = studio.judge(uploaded), studio.judge(kept)
    sha256 = studio.store.trajectory(run).segments[0].sha256
    again = str(served_copies.served_file(studio.store.picture(sha256), "image.png"))  # as the page does for ?from=RUN
    served_copies.note(studio.store, run, Path(again))
    export = studio.served / served_copies.EXPORTS / "hash" / "judge_sft.zip"
    export.parent.mkdir(parents=True)
    export.write_bytes(content)
    addresses = [uploaded, again, str(export)]
    assert [studio.status(path) for path in (*addresses, kept)] == [200] * 4
    assert studio.delete(run)["gone"] == run
    assert [studio.status(path) for path in (*addresses, kept)] == [404, 404, 404, 200]
    with pytest.raises(NotFoundError):
        studio.store.picture(sha256)
    assert studio.store.purge(timedelta(seconds=-1)) == 1
    assert studio.holds(content) == []
    assert studio.holds(other)
    assert studio.store.trajectory(of_other)
    assert "no image yet" in _said(studio, uploaded) or "cannot be read" in _said(studio, uploaded)


def _said(studio: Studio, path: str) -> str:
    given = image.ImageForm(path, "a red cat", "Judge it")
    [(value, *_)] = image.ask(given, VISIT, Checkpoints(studio.generator), Sessions())
    return value["notice"]


def test_what_was_taken_over_from_the_gallery_goes_too(studio: Studio):
    list(studio.generator.stream("two cats", 1, 1, owner="ada"))
    drawn = studio.store.trajectories()[0]
    path, _ = image.last_image(studio.store, drawn.id)
    shown = image.upload(type="filepath", render=False).postprocess(path)
    assert Path(shown.path) == Path(path) and len(list(studio.served.rglob("image.png"))) == 1  # no second copy
    assert studio.status(path) == 200
    studio.delete(drawn.id)
    assert studio.status(path) == 404


def test_what_is_deleted_while_a_copy_of_it_is_made_leaves_no_copy(studio: Studio, monkeypatch: pytest.MonkeyPatch):
    list(studio.generator.stream("three cats", 2, 1, owner="ada"))
    drawn = studio.store.trajectories()[0]
    made = []

    def served_file(content: bytes, name: str) -> Path:
        made.append(served_copies.served_file(content, name))
        studio.delete(drawn.id)
        return made[0]

    monkeypatch.setattr(image, "served_file", served_file)
    with pytest.raises(NotFoundError, match="was deleted at this moment"):
        image.last_image(studio.store, drawn.id)
    assert studio.status(str(made[0])) == 404


def test_only_files_that_are_served_are_removed(studio: Studio, tmp_path: Path):
    mine = tmp_path / "mine.png"
    mine.write_bytes(picture(0))
    run = studio.judge(str(mine))
    studio.delete(run)
    assert mine.is_file()
    with pytest.raises(ValueError, match="is no id"):
        served_copies.remove(studio.store, "../x")


def test_a_file_that_is_no_picture_is_refused_in_words_not_with_error(studio: Studio):
    for content, said in ((b"", "an empty file"), (b"hello", "no picture"), (picture(0)[:900], "cut short")):
        assert said in _said(studio, image.upload(type="filepath", render=False).preprocess(_given(studio, content)))


def _given(studio: Studio, content: bytes) -> gr.data_classes.ImageData:
    file = studio.served / "given.png"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return gr.data_classes.ImageData(path=str(file), orig_name="given.png")
