"""A backend whose images have no codes, registered as any other: drawn, shown, kept, replayed, branched, annotated,
exported; and refused, in a sentence, what it cannot do."""

import itertools
import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import gradio as gr
import numpy as np
import pyarrow.parquet as pq
import pytest
from browsing import as_it_comes
from playwright.sync_api import Browser, Page, expect
from running_app import free_port
from scene_backend import STEPS, SceneBackend
from test_annotations_samples import judged

from annotations.doctor import examine
from annotations.export.exporter import export
from annotations.export.manifest import PARQUET
from annotations.importing.importer import bring_in
from annotations.schema.annotation import Status
from annotations.store.store import Store, open_store
from model import evaluate, generate
from model.backends import registry
from model.backends.contract import CheckpointError
from model.backends.registry import backend_name, open_backend
from model.backends.request import Request, RequestError, Task
from model.branches import BranchError, afresh, with_codes, with_reflection
from model.events import FrameAdded, fold, from_dict, replay
from model.images import read_rgb
from model.trajectory import Image, Reflection, Sampling, StopReason, Trajectory
from model.world.language import parse
from model.world.verifier import accepted, check, read
from studio.components import render
from studio.inference.generator import Generator
from studio.main import drawing
from studio.server import start
from studio.settings import Settings

SOURCE = "scenes:blocks"
PROMPT = "two red apples above a blue car"
PATIENCE = 60_000  # ms


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.OPENERS, "scenes", "scene_backend:open_scenes")


@pytest.fixture
def backend() -> SceneBackend:
    return SceneBackend("blocks")


@pytest.fixture
def generator(backend: SceneBackend, store: Store) -> Generator:
    return Generator(backend, store)


def drawn(generator: Generator, seed: int = 1, **how: object) -> Trajectory:
    return fold(generator.stream(PROMPT, seed, 3, owner="ada", **how))


def test_it_is_opened_by_its_kind_and_named_by_its_source():
    assert isinstance(open_backend(SOURCE), SceneBackend)
    assert backend_name(SOURCE) == open_backend(SOURCE).name == "blocks"
    with pytest.raises(CheckpointError):
        open_backend("unknown:blocks")


def test_its_events_and_its_trajectory_are_inverse(backend: SceneBackend):
    events = list(backend.events(Request(PROMPT, 1)))
    trajectory = fold(events)
    assert [segment.kind for segment in trajectory.segments] == ["image", "reflection"] * 2
    assert trajectory.aha and trajectory.stop_reason is StopReason.CONTENT
    assert [(image.codes, len(image.frames)) for image in trajectory.images] == [((), STEPS - 1)] * 2
    assert fold(replay(trajectory)) == trajectory
    assert Trajectory.from_dict(json.loads(json.dumps(trajectory.to_dict()))) == trajectory
    assert [from_dict(json.loads(json.dumps(event.to_dict()))) for event in events] == events


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("a zebra"), "blocks paints the embedded world only"),
        (Request(PROMPT, task=Task.EDIT, source=np.zeros((64, 64, 3), np.uint8)), "cannot edit; it can: draw, judge"),
        (Request(PROMPT, sampling=Sampling(thinks=True)), "blocks writes no thought"),
        (Request(PROMPT, rounds=99), "number of rounds is 99"),
    ],
)
def test_what_it_cannot_do_is_said_before_the_first_event(backend: SceneBackend, request_: Request, message: str):
    with pytest.raises(RequestError, match=message):
        next(backend.events(request_))


def test_it_is_kept_and_replayed_frame_by_frame(generator: Generator, store: Store):
    trajectory = drawn(generator)
    assert store.trajectory(trajectory.id) == trajectory
    played = list(replay(store.trajectory(trajectory.id), store.picture))
    frames = [event for event in played if isinstance(event, FrameAdded)]
    assert len(frames) == 2 * (STEPS - 1)
    assert all(event.png == store.picture(event.sha256) for event in frames)
    rows = render.replay_value(trajectory, store.picture, run="x", pace=1.0)
    assert [row["is"] for row in rows["rows"]].count("frame") == len(frames)
    assert [row["is"] for row in rows["whole"]].count("picture") == 2
    assert accepted(check(parse(PROMPT), read(read_array(store, trajectory.images[1]))))


def read_array(store: Store, image: Image):
    return SceneBackend("").read_source(store.picture(image.sha256), Task.JUDGE)


def test_who_stops_keeps_the_frames_until_then(generator: Generator, store: Store):
    asked = itertools.count()
    stopped = drawn(generator, stop=lambda: next(asked) >= 2)
    assert stopped.stop_reason is StopReason.CANCELLED
    image = store.trajectory(stopped.id).images[0]
    assert (image.sha256, len(image.frames), image.finished) == (None, 2, False)
    [listed] = store.trajectories()
    assert listed.cover == image.frames[-1]
    assert "data:image/png" in render.still(stopped, store.picture)


def test_another_seed_or_another_reason_goes_on_from_a_segment(generator: Generator, store: Store):
    first = drawn(generator)
    branch = afresh(first, 2)
    again = drawn(generator, 9, branch=branch)
    assert again.segments[:2] == first.segments[:2] and again.segments[2] != first.segments[2]
    branch = with_reflection(generator.backend, first, 3, "no", "there are three apples")
    other = fold(generator.stream(PROMPT, 1, 3, owner="ada", branch=branch))
    reflection = other.segments[3]
    assert isinstance(reflection, Reflection)
    assert (reflection.text, reflection.reason) == ("No, there are three apples.", "there are three apples.")
    assert len(other.images) == 3 and store.trajectory(other.id).parent.segment == 3
    with pytest.raises(BranchError, match="the images of blocks have no codes to change"):
        with_codes(generator.backend, first, 0, {0: 1})


def test_what_is_annotated_is_exported_with_its_pictures(generator: Generator, store: Store, tmp_path: Path):
    trajectory = drawn(generator)
    store.annotate(judged(trajectory.id, 1, "ada", verdict_right="yes", reason_rating=5))
    export(store, "judge_sft", tmp_path / "out")
    [row] = pq.read_table(tmp_path / "out" / PARQUET).to_pylist()
    assert [image["bytes"] for image in row["images"]] == [store.picture(trajectory.images[0].sha256)]


def test_frames_go_with_their_trajectory_and_nothing_of_it_is_left(generator: Generator, store: Store, tmp_path: Path):
    trajectory = drawn(generator)
    assert all(finding.level.value == "fine" for finding in examine(tmp_path / "data") if finding.check == "copies")
    assert store.counts().images == 2  # frames are none
    store.hide(trajectory.id, by="ada")
    store.purge(timedelta(days=-1))
    assert not list((tmp_path / "data" / "images").rglob("*.png"))


def test_its_drawings_are_written_by_the_command_and_brought_in_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["generate", PROMPT, "--checkpoint", SOURCE, "--seed", "1", "--out", str(out)])
    generate.main()
    made = Trajectory.from_dict(json.loads((out / "trajectory.json").read_text()))
    assert {file.name for file in out.glob("*.png")} >= {"image-1.png", "image-2-frame-05.png"}
    bring_in(store, out, "ours", owner="ada")
    assert store.trajectory(made.id) == made
    assert read_rgb(store.picture(made.images[0].frames[0])).size == (64, 64)


def test_it_is_evaluated_as_any_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["evaluate", "--checkpoint", SOURCE, "--prompts", "12", "--json"])
    evaluate.main()
    [figures] = json.loads(capsys.readouterr().out)["blocks"].values()
    assert (figures["first draft"]["value"], figures["final image"]["value"]) == (0.0, 1.0)


def test_a_backend_that_breaks_ends_as_a_failed_trajectory(generator: Generator, store: Store, monkeypatch):
    monkeypatch.setattr("scene_backend.judge", lambda *_: 1 / 0)
    told = drawn(generator)
    assert (told.stop_reason, told.error) == (StopReason.FAILED, "ZeroDivisionError: division by zero")
    assert store.trajectory(told.id) == told


def test_one_after_another_is_served_in_order(generator: Generator):
    first = generator.stream(PROMPT, 1, 3, owner="ada")
    next(first)
    assert fold(event for event in generator.stream(PROMPT, 2, 3, owner="bob") if hasattr(event, "t_ms")).images


# In a browser


class Studio:
    """The studio with this backend, which can be started once more on the same data."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.store = open_store(data)
        self.demo: gr.Blocks = start(
            Settings(port=free_port(), checkpoint=SOURCE, pace=4.0),
            self.store,
            drawing(Settings(checkpoint=SOURCE), self.store, on_loan=False),
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.demo.server_port}"

    def close(self) -> None:
        self.demo.close()
        self.store.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


PERCENT = """() => { window.shares = []; window.setInterval(() => {
  const text = document.querySelector('#timeline .progress')?.textContent || '';
  if (text.includes('%') && window.shares.at(-1) !== text) window.shares.push(text);
}, 5); }"""


def test_it_is_drawn_watched_again_after_a_restart_and_annotated(page: Page, tmp_path: Path):
    studio = Studio(tmp_path / "data")
    page.goto(studio.url)
    page.evaluate(PERCENT)
    page.fill("#prompt textarea", PROMPT)
    page.click("#draw")
    expect(page.locator("#timeline .verdict .aha")).to_have_text("aha moment")
    expect(page.locator("#timeline .ending .link").first).to_be_visible()
    assert page.evaluate("window.shares")
    expect(page.locator("#timeline .mind button", has_text="Try another")).to_have_count(2)
    expect(page.locator("#timeline .mind button", has_text="Rub out patches")).to_have_count(0)
    expect(page.locator("#timeline .compare")).to_be_visible()
    expect(page.locator("#timeline .mark-changes")).to_be_hidden()
    [listed] = studio.store.trajectories()
    page.locator("#timeline .mind button", has_text="Disagree").last.click()
    page.fill("#timeline textarea.said", "the car is missing")
    page.click("#timeline .changing .go")
    as_it_comes(page)
    expect(page.locator("#timeline .reason.by-person")).to_contain_text("the car is missing")
    expect(page.locator("#timeline .ending .link").first).to_be_visible()
    studio.close()

    studio = Studio(tmp_path / "data")
    assert len(studio.store.trajectories()) == 2
    page.add_init_script(f"({PERCENT})()")  # before the replay begins
    page.goto(f"{studio.url}/?run={listed.id}")
    expect(page.locator("#timeline .verdict .aha")).to_have_text("aha moment")
    assert page.evaluate("window.shares")
    page.goto(f"{studio.url}/gallery")
    expect(page.locator(".gallery .card img")).to_have_count(2)
    page.goto(f"{studio.url}/compare?left={listed.id}&right={listed.id}")
    expect(page.locator("#right .verdict .aha")).to_have_text("aha moment")
    page.goto(f"{studio.url}/annotate?trajectory={listed.id}")
    expect(page.locator("#annotate-submit")).to_be_visible()
    showing = page.locator("#annotate-token :is(input, textarea)")
    token = showing.input_value()
    page.keyboard.press("n")  # the draft does not fit, as the model said
    page.keyboard.press("4")
    expect(page.get_by_role("radio", name="4", exact=True)).to_be_checked()
    page.keyboard.press("Control+Enter")
    expect(showing).not_to_have_value(token)
    [annotation] = studio.store.annotations(listed.id, status=Status.SUBMITTED)
    assert annotation.answers == {"verdict_right": "yes", "reason_rating": 4}
    export(studio.store, "judge_sft", tmp_path / "out")
    assert len(pq.read_table(tmp_path / "out" / PARQUET)) == 1
    studio.close()
