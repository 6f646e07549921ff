"""A change that a visitor makes in the page: the drawing goes on from there, and is stored."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from studio_samples import HOSTILE

from annotations.store.store import open_store
from model.backends.janus import Janus
from model.decoding.janus_backend import JanusBackend
from model.trajectory import Image, Origin, Reflection, Thought, Trajectory
from studio.draw import page as draw
from studio.inference.checkpoints import Checkpoints
from studio.inference.generator import Generator
from studio.inference.live_events import PageVisit, Sessions

VISIT = PageVisit("ada", "tab")


@pytest.fixture(scope="module")
def data(tiny: Janus, drawn: Trajectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one drawing."""
    folder = tmp_path_factory.mktemp("changes") / "data"
    with open_store(folder) as store:
        sampling = replace(tiny.sampling, thinks=True)
        list(Generator(JanusBackend(tiny), store).stream(drawn.prompt, drawn.seed, 2, sampling, owner="ada"))
    return folder


@pytest.fixture
def studio(tiny: Janus, data: Path, tmp_path: Path):
    with open_store(shutil.copytree(data, tmp_path / "data")) as store:
        yield Generator(JanusBackend(tiny), store), store.trajectories()[0].id


def after(generator: Generator, run: str, **asked) -> Trajectory:
    """The branch that a change leads to, as it is stored."""
    *_, (value, *_) = draw.go_on({"run": run, **asked}, VISIT, Checkpoints(generator), Sessions())
    return generator.store.trajectory(value["trajectory"]["id"])


def test_the_drawing_goes_on_from_a_changed_plan(studio):
    generator, run = studio
    branch = after(generator, run, segment=0, what="thought", text="red car at 1 1; blue car at 4 4")
    thought, image, reflection, *_ = branch.segments
    assert (type(thought), type(image), type(reflection)) == (Thought, Image, Reflection)
    assert thought.text == " red car at 1 1; blue car at 4 4"
    assert set(image.origins) == {Origin.SAMPLED}
    assert branch.parent.trajectory_id == run


def test_a_plan_is_read_line_by_line_however_it_is_written(studio):
    generator, run = studio
    branch = after(generator, run, segment=0, what="thought", text="Red  car at 1 1\n\nblue car at 4 4.;")
    assert branch.segments[0].text == " red car at 1 1; blue car at 4 4"


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("red car at 1 1; blue carr at 4 4", "line 2 of the plan is “blue carr at 4 4”: no sprite for noun 'carr'"),
        ("red car at 1 1\nred car 4 4", "line 2 of the plan is “red car 4 4”; it should read like “red apple at 2 3”"),
        ("red car at 1 1 blue car at 4 4", "line 1 of the plan is “red car at 1 1 blue"),
        ("red car at 7 1", "line 1 .*column and row go from 0 to 6"),
        ("mauve car at 1 1", "line 1 .*no colour 'mauve'; there are: red"),
        (HOSTILE * 5, "line 1 of the plan is “<img"),
        (" ;\n", "nothing is written"),
    ],
)
def test_a_line_of_a_plan_that_cannot_be_read_is_said_and_nothing_is_drawn(studio, plan: str, said: str):
    generator, run = studio
    asked = {"run": run, "segment": 0, "what": "thought", "text": plan}
    [(value, *_)] = draw.go_on(asked, VISIT, Checkpoints(generator), Sessions())
    assert re.search(said, value["notice"])
    assert len(value["notice"]) < 400
    assert len(generator.store.trajectories()) == 1


def test_a_flipped_verdict_makes_it_draw_again_and_keeps_the_picture(studio):
    generator, run = studio
    parent = generator.store.trajectory(run)
    answer = "no" if parent.reflections[-1].answer == "yes" else "yes"
    at = len(parent.segments) - 1
    branch = after(generator, run, segment=at, what="reflection", answer=answer, text="There is one car.")
    assert branch.segments[:at] == parent.segments[:at]
    assert branch.reflections[1].answer == answer
    assert len(branch.images) == (3 if answer == "no" else 2)


def test_a_planted_mistake_is_painted_and_judged(studio):
    generator, run = studio
    parent = generator.store.trajectory(run)
    codes = [(index, (parent.images[0].codes[index] + 1) % 64) for index in range(20)]
    branch = after(generator, run, segment=1, what="codes", codes=codes)
    assert branch.images[0].codes[:20] == tuple(code for _, code in codes)
    assert branch.images[0].sha256 != parent.images[0].sha256
    assert branch.reflections[0].tokens[0].origin is Origin.SAMPLED


def test_another_seed_draws_something_else_from_the_same_beginning(studio):
    generator, run = studio
    parent = generator.store.trajectory(run)
    branch = after(generator, run, segment=3, what="seed")
    assert branch.segments[:3] == parent.segments[:3]
    assert branch.seed != parent.seed


@pytest.mark.parametrize(
    "asked",
    [
        {"run": "nobody", "segment": 0, "what": "seed"},
        {"segment": "x", "what": "seed"},
        {"segment": 0, "what": "dream"},
        {"segment": 1, "what": "codes", "codes": [["a", 1]]},
        {"segment": 0, "what": "thought", "text": "<b></b>" * 200},
    ],
)
def test_what_a_page_cannot_mean_is_answered_in_words(studio, asked: dict):
    generator, run = studio
    [(value, *_)] = draw.go_on({"run": run, **asked}, VISIT, Checkpoints(generator), Sessions())
    assert value["notice"].startswith("That cannot be changed: ")
