"""The figures: counted from hand-made trajectories, and the same prompts for every checkpoint."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from model.evaluate import GENEVAL, Judged, descriptions, report, table
from model.trajectory import Image, Reflection, Sampling, Thought, Token, Trajectory
from model.world.defects import spoil
from model.world.language import category_of, parse, sample_scene, write
from model.world.plan import write_plan
from model.world.scene import render
from model.world.verifier import Reading, read

ROOT = Path(__file__).parent.parent


def judged(prompt: str, *rounds: tuple[Reading, str, str], thought: str = "") -> Judged:
    """A trajectory whose rounds show these readings and say these texts."""
    segments: list = []
    for reading, answer, reason in rounds:
        segments.append(Thought((Token(1, thought),)))
        segments.append(Image((), hashlib.sha256(repr(reading).encode()).hexdigest()))
        segments.append(Reflection(answer, 0.5, (Token(2, answer.capitalize()), Token(3, reason))))
    trajectory = Trajectory(prompt, 0, 3, Sampling(), "hand-made", tuple(segments))
    return Judged(parse(prompt), trajectory, tuple(reading for reading, _, _ in rounds))


@pytest.fixture
def pictures() -> tuple[Reading, Reading, str]:
    """A right drawing of “two red apples”, one with three, and the plan of the right one."""
    description = parse("two red apples")
    scene = sample_scene(random.Random(0), description)
    right = read(render(scene))
    rng = random.Random(0)
    wrong = right
    while len(wrong.items) != 3 or len({(i.noun, i.colour) for i in wrong.items}) != 1:
        _, image = spoil(rng, description, scene)
        wrong = read(image)
    return right, wrong, write_plan(scene)


def test_figures_are_counted_as_they_are_named(pictures):
    right, wrong, plan = pictures
    found = report(
        [
            judged("two red apples", (right, "yes", ", there are two red apples."), thought=plan),
            judged(
                "two red apples",
                (wrong, "no", ", there are three apples instead of two."),
                (right, "yes", "."),
                thought=plan,
            ),
            judged("two red apples", (wrong, "yes", ", I see two red apples."), thought=plan),
            judged(
                "two red apples", (right, "no", ", there is no apple."), (wrong, "no", ", gibberish."), thought=plan
            ),
        ]
    )
    assert (found.prompts, found.first, found.final) == (4, 0.5, 0.5)
    assert found.flagged == pytest.approx(2 / 3)
    assert found.passed == pytest.approx(2 / 3)
    assert found.balanced_accuracy == pytest.approx(2 / 3)
    assert found.reasons_true == (1, 3)
    assert found.images == 1.5
    assert found.faithful == 1.0


def test_a_thought_that_cannot_be_read_is_not_followed(pictures):
    right, _, _ = pictures
    assert report([judged("two red apples", (right, "yes", "."), thought="apples, I think")]).faithful == 0.0


def test_nothing_to_count_is_none_and_prints_as_a_dash(pictures):
    right, _, plan = pictures
    found = report([judged("two red apples", (right, "yes", "."), thought=plan)])
    assert found.balanced_accuracy is None
    assert "–" in table({"only right ones": found})


def test_test_prompts_cover_the_categories_evenly_and_never_change_with_the_checkpoint():
    wanted = descriptions(60, GENEVAL, seed=0)
    assert [category_of(d) for d in wanted[:6]] == list(GENEVAL)
    assert [write(d) for d in wanted] == [write(d) for d in descriptions(60, GENEVAL, seed=0)]
    assert wanted != descriptions(60, GENEVAL, seed=1)


def test_the_command_prints_both_ways_of_drawing(tiny_checkpoint: Path):
    command = [sys.executable, "-m", "model.evaluate", "--checkpoint", str(tiny_checkpoint), "--prompts", "6", "--json"]
    done = subprocess.run([*command, "--rounds", "1"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"with the thought", "without"}
    assert found["without"]["faithful"] is None
    assert found["without"]["prompts"] == 6
