"""Branches: what a person changes stands in the new trajectory as a person's, and all before it as it was."""

from dataclasses import replace
from pathlib import Path

import pytest

from annotations.store import open_store
from model.branches import BranchError, afresh, with_codes, with_reflection, with_thought, written_thought
from model.decoding.grammar import Request
from model.decoding.rollout import rollout
from model.events import fold
from model.janus import Janus
from model.templates import BEGIN_IMAGE, EOS
from model.trajectory import Image, Origin, Parent, Reflection, Thought, Trajectory
from studio.generator import Generator
from studio.pages import draw
from studio.pages.draw import Stops, Visit

VISIT = Visit("ada", "tab")


@pytest.fixture(scope="module")
def drawn(tiny: Janus) -> Trajectory:
    """Thought, image and verdict, for two rounds."""
    sampling = replace(tiny.sampling, thinks=True)
    for seed in range(50):
        trajectory = fold(rollout(tiny, [Request("two cars", seed, 2, sampling, id="parent")]))
        if len(trajectory.images) == 2:
            return trajectory
    raise AssertionError("no seed of fifty gave a verdict of no")


def origins(segment) -> set[Origin]:
    return {token.origin for token in segment.tokens}


def test_a_written_thought_says_what_was_written(tiny: Janus):
    thought = written_thought(tiny, "  red apple\n at 2 3 🍎")
    assert thought.text == " red apple at 2 3 🍎"
    assert origins(thought) == {Origin.PERSON}


def test_special_tokens_in_a_written_thought_are_words(tiny: Janus):
    ids = {token.id for token in written_thought(tiny, f"red {BEGIN_IMAGE} apple {EOS}").tokens}
    assert ids.isdisjoint(tiny.tokenize(BEGIN_IMAGE + EOS))


def test_a_branch_keeps_what_was_before_the_change(tiny: Janus, drawn: Trajectory):
    branch = with_thought(tiny, drawn, 3, "red car at 1 1")
    assert branch.given[:3] == drawn.segments[:3]
    assert branch.given[3].text == " red car at 1 1"
    assert branch.parent == Parent("parent", 3, 0)
    assert afresh(drawn, 1).given == drawn.segments[:1]


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        ("no", "There is one car.", "No, there is one car."),
        ("no", "I see no car", "No, I see no car."),
        ("no", "Where are they?!", "No, where are they."),
        ("yes", ", the picture shows two cars.", "Yes, the picture shows two cars."),
    ],
)
def test_a_written_reason_reads_as_the_model_would_write_it(tiny: Janus, drawn: Trajectory, answer, reason, text):
    reflection = with_reflection(tiny, drawn, 2, answer, reason).given[2]
    assert (reflection.answer, reflection.text) == (answer, text)
    assert reflection.tokens[0].id == (tiny.ids.yes if answer == "yes" else tiny.ids.no)
    assert origins(reflection) == {Origin.PERSON}


def test_changed_codes_are_a_person_s_and_the_others_are_not(tiny: Janus, drawn: Trajectory):
    branch = with_codes(tiny, drawn, 1, {5: 7, 9: 3})
    image = branch.given[1]
    assert [i for i, origin in enumerate(image.origins) if origin is Origin.PERSON] == [5, 9]
    assert (image.codes[5], image.codes[9], image.sha256) == (7, 3, None)
    assert branch.parent.token == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda janus, t: with_thought(janus, t, 1, "a"), "segment 1 is no finished thought"),
        (lambda janus, t: with_thought(janus, t, 99, "a"), "there is no segment 99"),
        (lambda janus, t: with_thought(janus, t, 0, "  "), "nothing is written"),
        (lambda janus, t: with_thought(janus, t, 0, "a" * 601), "at most 600"),
        (lambda janus, t: with_thought(janus, t, 0, "漢" * 200), "at most 96 are read"),
        (lambda janus, t: with_reflection(janus, t, 2, "no", "漢" * 200), "at most 80 are read"),
        (lambda janus, t: with_reflection(janus, t, 2, "no", "...?!"), "nothing is written"),
        (lambda janus, t: with_reflection(janus, t, 2, "maybe", "a"), "“yes” or “no”"),
        (lambda janus, t: with_codes(janus, t, 1, {}), "no patch is changed"),
        (lambda janus, t: with_codes(janus, t, 1, {64: 1}), "got code 1 for patch 64"),
        (lambda janus, t: with_codes(janus, t, 1, {0: 1024}), "got code 1024 for patch 0"),
    ],
)
def test_a_change_that_is_not_possible_says_so(tiny: Janus, drawn: Trajectory, change, message: str):
    with pytest.raises(BranchError, match=message):
        change(tiny, drawn)


@pytest.fixture
def studio(tiny: Janus, drawn: Trajectory, tmp_path: Path):
    with open_store(tmp_path / "data") as store:
        generator = Generator(tiny, store)
        sampling = replace(tiny.sampling, thinks=True)
        list(generator.stream(drawn.prompt, drawn.seed, 2, sampling, owner="ada"))
        yield generator, store.trajectories()[0].id


def after(generator: Generator, run: str, **asked) -> Trajectory:
    """The branch that a change leads to, as it is stored."""
    *_, (value, *_) = draw.go_on({"run": run, **asked}, VISIT, generator, Stops())
    return generator.store.trajectory(value["trajectory"]["id"])


def test_the_drawing_goes_on_from_a_changed_plan(studio):
    generator, run = studio
    branch = after(generator, run, segment=0, what="thought", text="red car at 1 1; blue car at 4 4")
    thought, image, reflection, *_ = branch.segments
    assert (type(thought), type(image), type(reflection)) == (Thought, Image, Reflection)
    assert thought.text == " red car at 1 1; blue car at 4 4"
    assert set(image.origins) == {Origin.SAMPLED}
    assert branch.parent.trajectory_id == run


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
    [(value, *_)] = draw.go_on({"run": run, **asked}, VISIT, generator, Stops())
    assert value["notice"].startswith("That cannot be changed: ")
