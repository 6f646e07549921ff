"""Pipelines (of one family, with `--all` of three) and a vision-language critic in the real studio: drawn before the
eye, redrawn after a no, watched again after a restart, annotated by keyboard, exported by the command, loaded by
`datasets`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import commands
import numpy as np
import pytest
import tiny_pipelines
from browsing import as_it_comes, judge
from datasets import Dataset, load_dataset
from PIL import Image as Picture
from playwright.sync_api import Page, expect
from running_app import Server
from thoroughness import few

from annotations.schema.annotation import Status
from annotations.schema.default_projects import RICH
from annotations.store.items import NewItem
from annotations.store.store import open_store
from model.backends.registry import open_backend
from model.backends.request import Request
from model.events import fold
from model.images import read_rgb
from model.trajectory import Trajectory

FAMILIES = {"class_conditional": "dog", "stable_diffusion": "a red car", "flow": "two apples"}
ROUNDS = 3
UNDECIDED = {"seed": 1, "spread": 0.6}  # a critic of which some pictures get a yes and some a no
SHOWN = """() => { window.shown = []; window.setInterval(() => {
  const canvas = document.querySelector('#timeline canvas');
  if (!canvas || !canvas.width) return;
  const picture = canvas.toDataURL();
  if (picture !== window.shown.at(-1)) window.shown.push(picture);
}, 5); }"""


@dataclass(frozen=True)
class Studio:
    """The app with a pair of each family, and what these draw outside of it."""

    server: Server
    pairs: dict[str, str]  # by family, as the settings call them

    def expected(self, family: str) -> Trajectory:
        return first_aha(self.pairs[family], FAMILIES[family])


@cache
def first_aha(pair: str, prompt: str) -> Trajectory:
    """Of the first seed by which a drawing is rejected and a later one accepted."""
    backend = open_backend(pair)
    for seed in range(40):
        made = fold(backend.events(Request(prompt, seed, ROUNDS)))
        if made.aha:
            return made
    raise AssertionError("no seed of forty leads from a no to a yes")


@pytest.fixture(scope="module")
def studio(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, thorough: bool) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("pipelines")
    critic = tiny_pipelines.vision_language_model(folder / "critic", **UNDECIDED)
    families = FAMILIES if thorough else ["flow"]
    made = {family: getattr(tiny_pipelines, family)(folder / family) for family in families}
    pairs = {family: f"diffusion:{path}?steps={tiny_pipelines.STEPS}&size=32+{critic}" for family, path in made.items()}
    with open_store(folder / "data") as store:
        store.create_project(replace(RICH, overlap=1))
    server = Server(folder / "data", ",".join([*pairs.values(), str(tiny_checkpoint)]), folder / "app.log")
    server.start()
    yield Studio(server, pairs)
    server.stop()


def choose(page: Page, checkpoint: str) -> None:
    page.click("#checkpoint input")
    page.get_by_role("option", name=checkpoint, exact=True).click()


def draw(page: Page, studio: Studio, family: str, expected: Trajectory, *, watched: bool = True) -> Trajectory:
    """On Draw, by the seed of what is expected, to the end; what was stored."""
    page.goto(studio.server.url)
    page.click("#settings button")
    choose(page, f"{family}+critic")
    guidance = page.get_by_label("number input for Guidance")
    expect(guidance).to_have_value(f"{expected.sampling.guidance:g}")  # the pipeline's own
    page.fill("#prompt textarea", FAMILIES[family])
    page.get_by_label("New seed each time").uncheck()
    page.get_by_label("Seed", exact=True).fill(str(expected.seed))
    page.evaluate(SHOWN)
    page.click("#draw")
    if not watched:
        as_it_comes(page)
    expect(page.locator("#timeline .ending .link").first).to_be_visible()
    with studio.server.store() as store:
        return store.trajectory(store.trajectories()[0].id)


def changes(page: Page) -> int:
    """How many different pictures the first canvas has shown."""
    return len(set(page.evaluate("window.shown")))


def test_a_plan_is_offered_where_the_checkpoint_chosen_writes_one(page: Page, studio: Studio, tiny_checkpoint: Path):
    page.goto(studio.server.url)
    plan = page.locator("#plan-first")
    page.click("#settings button")
    expect(plan).to_be_hidden()
    choose(page, tiny_checkpoint.name)
    expect(plan).to_be_visible()
    choose(page, "flow+critic")
    expect(plan).to_be_hidden()


@pytest.mark.parametrize("family", few(FAMILIES, 2))
def test_a_pair_draws_before_the_eye_and_draws_again_after_a_no(page: Page, studio: Studio, family: str):
    expected = studio.expected(family)
    drawn = draw(page, studio, family, expected)
    words = page.locator("#timeline .verdict .word")
    expect(words).to_have_text(["Yes" if each.answer == "yes" else "No" for each in expected.reflections])
    expect(page.locator("#timeline .verdict .aha")).to_have_text("aha moment")
    assert changes(page) > 3
    assert drawn.checkpoint == f"{family}+critic"
    assert [image.sha256 for image in drawn.images] == [image.sha256 for image in expected.images]
    assert drawn.images[0].sha256 != drawn.images[1].sha256


def test_a_drawing_outlives_the_studio_and_what_is_said_of_it_trains_others(page: Page, studio: Studio, tmp_path: Path):
    drawn = draw(page, studio, "flow", studio.expected("flow"), watched=False)
    studio.server.stop()
    with open_store(studio.server.data) as store:
        store.add_items(RICH.id, [NewItem(drawn.id)])
    studio.server.start()
    page.add_init_script(f"({SHOWN})()")  # before the replay begins
    page.goto(f"{studio.server.url}/?run={drawn.id}")
    expect(page.locator("#timeline .verdict .aha")).to_have_text("aha moment")
    assert changes(page) > 3

    page.goto(f"{studio.server.url}/annotate?trajectory={drawn.id}")
    expect(page.locator("#annotate-submit")).to_be_visible()
    judge(page, "no")
    page.keyboard.press("c")
    page.keyboard.type("it is a yellow dog")
    submit(page)
    page.goto(f"{studio.server.url}/annotate?project={RICH.id}")
    expect(page.locator(".sheet .question.current")).to_be_visible()
    for number in range(len(drawn.images)):
        if number:  # leads to what is missing, which is the next picture
            page.keyboard.press("Control+Enter")
            expect(page.locator(".sheet .missing")).to_contain_text(f"Image {number + 1}")
        page.keyboard.press(str(2 + number))
        page.keyboard.press("3")
    submit(page)
    with studio.server.store() as store:
        pictures = [read_rgb(store.picture(image.sha256)) for image in drawn.images]
        assert {a.segment for a in store.annotations(drawn.id, status=Status.SUBMITTED)} >= {0, 1}

    [said] = exported("judge_sft", studio, tmp_path)
    assert drawn.prompt in str(said["prompt"]) and same(said["images"][-1], pictures[0])
    assert "it is a yellow dog" in str(said["completion"])
    pair, *others = exported("image_pref", studio, tmp_path)
    assert (pair["criterion"], pair["chosen_codes"], pair["chosen_checkpoint"]) == ("alignment", [], "flow+critic")
    assert same(pair["chosen"], pictures[1]) and same(pair["rejected"], pictures[0])
    assert len(others) == len(pictures) * (len(pictures) - 1) // 2 - 1


def same(picture: Picture.Image, other: Picture.Image) -> bool:
    return np.array_equal(np.asarray(picture.convert("RGB")), np.asarray(other))


def submit(page: Page) -> None:
    """By keyboard, until something else is shown."""
    showing = page.locator("#annotate-token :is(input, textarea)")
    before = showing.input_value()
    page.keyboard.press("Control+Enter")
    expect(showing).not_to_have_value(before)


def exported(kind: str, studio: Studio, folder: Path) -> Dataset:
    out = folder / kind
    ended = commands.run("annotations.export", "--kind", kind, "--out", out, "--data", studio.server.data)
    assert ended.returncode == 0, ended.stderr
    return load_dataset(str(out), split="train", cache_dir=str(folder / "cache"))
