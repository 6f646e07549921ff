"""The figures: counted from hand-made trajectories, and the same prompts for every checkpoint."""

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run

from model.evaluation.bootstrap import Proportion
from model.evaluation.figures import Edited, Judged, edit_figures, figures, held_out_edits, verdict_auroc
from model.evaluation.report import cell, changes, record, table, to_json
from model.trajectory import Image, Reflection, Sampling, Thought, Token, Trajectory
from model.world.defects import spoil
from model.world.edits import apply_edit, read_edit
from model.world.language import parse
from model.world.plan import read_plan, write_plan
from model.world.random_scenes import sample_scene
from model.world.scene import Scene, render
from model.world.splits import GENEVAL
from model.world.verifier import Reading, read


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


def four(pictures) -> list[Judged]:
    """Right at once; wrong, flagged and mended; wrong and passed; right, but judged no and spoiled."""
    right, wrong, plan = pictures
    return [
        judged("two red apples", (right, "yes", ", there are two red apples."), thought=plan),
        judged(
            "two red apples",
            (wrong, "no", ", there are three apples instead of two."),
            (right, "yes", "."),
            thought=plan,
        ),
        judged("two red apples", (wrong, "yes", ", I see two red apples."), thought=plan),
        judged("two red apples", (right, "no", ", there is no apple."), (wrong, "no", ", gibberish."), thought=plan),
    ]


def test_figures_are_counted_as_they_are_named(pictures):
    found = {name: figure.value for name, figure in figures(four(pictures)).items()}
    assert found == {
        "first draft": 0.5,
        "  mixed": 0.5,
        "final image": 0.5,
        "drawing follows thought": 1.0,
        "verdict, balanced": pytest.approx(2 / 3),
        "  wrong images flagged": pytest.approx(2 / 3),
        "  right images passed": pytest.approx(2 / 3),
        "reasons for no, true": pytest.approx(1 / 3),
        "flagged wrong images, a real defect named": 0.5,
        "flagged drafts repaired": 1.0,
        "right drafts damaged": 0.5,
        "images per prompt": 1.5,
    }


def test_a_thought_that_cannot_be_read_is_not_followed(pictures):
    right, _, _ = pictures
    one = judged("two red apples", (right, "yes", "."), thought="apples, I think")
    assert figures([one])["drawing follows thought"].value == 0.0


def test_a_thought_after_a_draft_without_one_is_compared_with_the_drawing_after_it(pictures):
    right, _, plan = pictures
    elsewhere = read(render(sample_scene(random.Random(1), parse("two red apples"))))
    both = judged("two red apples", (elsewhere, "no", ", they are elsewhere."), (right, "yes", "."), thought=plan)
    first, *others = both.trajectory.segments
    assert isinstance(first, Thought)
    bare = replace(both, trajectory=replace(both.trajectory, segments=tuple(others)))
    assert figures([bare])["drawing follows thought"].value == 1.0
    assert figures([both])["drawing follows thought"].value < 1.0


def test_nothing_to_count_is_none_and_prints_as_a_dash(pictures):
    right, _, plan = pictures
    found = figures([judged("two red apples", (right, "yes", "."), thought=plan)])
    assert found["verdict, balanced"].value is None
    assert cell("verdict, balanced", found["verdict, balanced"]) == "–"
    assert cell("final image", found["final image"]) == "100.0% 100.0–100.0"


def test_p_yes_is_measured_over_all_thresholds(pictures):
    right, wrong, plan = pictures
    one = judged("two red apples", (wrong, "no", "."), (right, "yes", "."), thought=plan)
    segments = list(one.trajectory.segments)
    segments[2], segments[5] = replace(segments[2], p_yes=0.3), replace(segments[5], p_yes=0.4)
    assert verdict_auroc([replace(one, trajectory=replace(one.trajectory, segments=tuple(segments)))]) == 1.0
    assert verdict_auroc([one]) == 0.5


def test_edits_are_right_when_only_what_was_asked_changed_and_errors_are_measured_where_nothing_should():
    before = read_plan("red apple at 0 0; blue car at 4 4")
    edit = read_edit("make the apple pink")
    after = apply_edit(random.Random(0), before, edit)
    done, undone = Edited(edit, before, render(after)), Edited(edit, before, render(before))
    assert (done.right, undone.right) == (True, False)
    assert done.untouched_error[0] == 0
    moved = Scene((after.items[0], replace(after.items[1], column=3)))
    assert not Edited(edit, before, render(moved)).right
    assert Edited(edit, before, render(moved)).untouched_error[0] > 0
    found = edit_figures([done, undone])
    assert found["edits right"].value == found["  recolour"].value == 0.5


def test_test_edits_never_change_and_can_be_done():
    assert held_out_edits(40) == held_out_edits(40)
    for scene, edit in held_out_edits(40):
        after = apply_edit(random.Random(0), scene, edit)
        assert Edited(edit, scene, render(after)).right


MANY = {"old": [(i < 5, 1) for i in range(20)], "new": [(1, 1)] * 20, "newer": [(i < 8, 1) for i in range(20)]}


def test_checkpoints_stand_side_by_side_and_are_compared_in_pairs(pictures):
    better, worse = figures(four(pictures)[:2]), figures(four(pictures)[2:])
    results = {"old": {"hard, thinking first": worse}, "new": {"hard, thinking first": better}}
    lines = table(results).splitlines()
    assert lines[0].split() == ["hard,", "thinking", "first", "(2)", "old", "new"]
    assert any(line.startswith("final image") and "0.0%" in line and "100.0%" in line for line in lines)
    compared = changes(results).splitlines()
    assert compared[0] == "new − old, hard, thinking first"
    [final] = [line.split() for line in compared if line.startswith("final image")]
    assert final[:9] == ["final", "image", "0.0%", "100.0%", "+100.0", "points", "(+100.0", "to", "+100.0)"]
    assert final[9:] == ["no", "clear", "difference"]  # of two prompts
    assert changes({"old": results["old"]}) == ""  # nothing before it
    same = changes({"old": results["old"], "the same": results["old"]}).splitlines()
    assert len(same) > 3 and all("+0.0 points (+0.0 to +0.0)" in line for line in same[1:])
    assert all(line.endswith("no clear difference") for line in same[1:])
    many = {name: {"hard": {"final image": Proportion.from_pairs(pairs)}} for name, pairs in MANY.items()}
    assert [line.split()[-1] for line in changes(many).splitlines() if line.startswith("final")] == ["higher", "lower"]
    assert json.loads(json.dumps(to_json(results)))["new"]["hard, thinking first"]["final image"]["value"] == 1.0


def test_the_record_sums_up_training_and_the_two_by_two_of_thought_and_reflection(pictures):
    good, bad = figures(four(pictures)[:2]), figures(four(pictures)[2:])
    with_thought, without = "GenEval-like, thinking first", "GenEval-like, without the thought"
    lines = record({"sft": {with_thought: bad, without: bad}, "rl": {with_thought: good, without: bad}}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["", "first draft", "final image", "verdict, balanced", "reasons for no, true"]
    assert (cells[2][0], cells[3][0]) == ("sft", "rl")
    assert cells[3][2] == "100.0%"
    assert cells[5] == ["rl", "first draft", "after reflection"]
    assert cells[7][0] == "without the thought" and cells[8][0] == "thinking first"
    assert cells[8][1:] == cells[3][1:3]


def test_the_command_prints_the_ways_of_drawing(tiny_checkpoint: Path):
    few = ("--prompts", "6", "--rounds", "1", "--edits", "2", "--plan-after-no")
    done = run("model.evaluate", "--compare", tiny_checkpoint, *few, "--json")
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout).values()
    ways = ("thinking first", "without the thought")
    drawn = [f"GenEval-like, {way}" for way in (*ways, "thinking after a no")]
    assert list(found) == drawn + [f"edits, {way}" for way in ways]
    assert found["GenEval-like, without the thought"]["drawing follows thought"]["value"] is None
    assert found["GenEval-like, thinking first"]["first draft"]["prompts"] == 6
    assert set(GENEVAL) <= {name.strip() for name in found["GenEval-like, thinking first"]}


def test_without_thoughts_nothing_is_drawn_after_one(tiny_checkpoint: Path):
    done = run(
        "model.evaluate", "--checkpoint", tiny_checkpoint, "--prompts", "6", "--rounds", "1", "--no-thought", "--json"
    )
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout).values()
    assert list(found) == ["GenEval-like, without the thought"]
