"""Reflection by budget of edits against independent drafts, judging contexts, and recorded rollouts."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run

from model.backends.request import Request
from model.distributed.append_log import RecordError
from model.evaluation.budgets import Attempts, attempt_requests, attempts_of, budget_figures, fact_figures
from model.evaluation.figures import Judged
from model.evaluation.judging_contexts import CONTEXTS, context_figures, context_requests, planned_drafts
from model.evaluation.recorded import RecordedRollouts
from model.evaluation.report import comparisons, table
from model.trajectory import Image, Reflection, Sampling, Segment, Thought, Token, Trajectory
from model.world.language import parse, write
from model.world.random_scenes import sample_scene
from model.world.scene import Item, render
from model.world.splits import FACTS, fact_count, held_out, never_trained_prompts, prompts_by_facts
from model.world.verifier import Reading, accepted, check, read

PROMPT = "a red apple"
RIGHT = Reading((Item("apple", "red", 1, 1),))
WRONG = Reading((Item("apple", "blue", 1, 1),))
PLAN = Thought((Token(1, "red apple at 1 1"),))


def rollout(*images: tuple[bool, float], plan: bool = False) -> Judged:
    """A trajectory of images that are right or wrong, each with the P(yes) of its verdict; ½ or more is a yes."""
    segments: list[Segment] = []
    for right, p_yes in images:
        answer = "yes" if p_yes >= 0.5 else "no"
        segments += [PLAN] * plan
        segments += [Image((int(right),) * 4, "00"), Reflection(answer, p_yes, (Token(2, answer.capitalize()),))]
    trajectory = Trajectory(PROMPT, 7, len(images), Sampling(), "hand-made", tuple(segments))
    return Judged(parse(PROMPT), trajectory, tuple(RIGHT if right else WRONG for right, _ in images))


REPAIRED_AT_THE_SECOND_EDIT = rollout((False, 0.1), (False, 0.2), (True, 0.9))
DAMAGED_AT_THE_FIRST = rollout((True, 0.4), (False, 0.8))
DRAFTS = (rollout((False, 0.6)), rollout((True, 0.7)))
ATTEMPTS = [Attempts(REPAIRED_AT_THE_SECOND_EDIT, DRAFTS), Attempts(DAMAGED_AT_THE_FIRST, DRAFTS)]


def test_repair_and_damage_are_counted_for_every_budget_of_edits():
    rows = {name: figure.value for name, figure in budget_figures(ATTEMPTS, 2).items()}
    assert [rows[f"edits {budget}: final image"] for budget in range(3)] == [0.5, 0.0, 0.5]
    assert [rows[f"edits {budget}: repaired"] for budget in (1, 2)] == [0.0, 1.0]
    assert [rows[f"edits {budget}: damaged"] for budget in (1, 2)] == [1.0, 1.0]
    assert [rows[f"edits {budget}: images"] for budget in (1, 2)] == [2.0, 2.5]


def test_independent_drafts_are_first_drafts_whatever_comes_after_a_no():
    after_no = Sampling(thinks=False, thinks_after_no=True)
    requests = attempt_requests([parse(PROMPT)], after_no, 3, 3, 0)
    assert [request.sampling.thinks_after_no for request in requests] == [True, False, False]
    assert requests[1:] == attempt_requests([parse(PROMPT)], replace(after_no, thinks_after_no=False), 3, 3, 0)[1:]


def test_independent_drafts_are_chosen_by_p_yes_by_the_verifier_or_end_with_the_first_yes():
    rows = {name: figure.value for name, figure in budget_figures(ATTEMPTS, 2).items()}
    own = [rows[f"edits {budget}: best of as many, own verdict"] for budget in (1, 2)]
    verifier = [rows[f"edits {budget}: best of as many, verifier"] for budget in (1, 2)]
    until_yes = [rows[f"edits {budget}: afresh until yes"] for budget in (1, 2)]
    assert (own, verifier, until_yes) == ([0.0, 1.0], [0.5, 1.0], [0.0, 0.0])
    assert rows["edits 2: images until yes"] == 2.0


def test_a_budget_with_more_images_than_drafts_has_no_independent_rows_and_the_table_compares_the_others():
    rows = budget_figures(ATTEMPTS, 3)
    assert "edits 2: afresh until yes" in rows and "edits 3: afresh until yes" not in rows
    results = {"hand-made": {"hard, by budget": rows}}
    lines = comparisons(results).splitlines()
    assert lines[1].startswith("hand-made, hard, by budget, edits 1: reflection − afresh until yes +0.0 points")
    assert lines[2].startswith("hand-made, hard, by budget, edits 2: reflection − best of as many, own verdict -50.0")
    assert any(line.split() == ["edits", "2:", "images", "2.500"] for line in table(results).splitlines())


def test_the_first_draft_of_a_rollout_is_the_first_independent_draft_and_none_is_asked_for_twice():
    prompts = [parse(text) for text in (PROMPT, "two cats")]
    requests = attempt_requests(prompts, Sampling(), rounds=3, drafts=3, seed=5)
    assert [request.rounds for request in requests] == [3, 3, 1, 1, 1, 1]
    assert len({(request.prompt, request.seed) for request in requests}) == 6
    judged = [rollout((True, 0.1 * number)) for number in range(6)]
    assert [each.drafts[2].p_yes for each in attempts_of(judged, 2)] == pytest.approx([0.4, 0.5])


def test_the_curve_counts_every_prompt_under_its_number_of_facts():
    rows = {name: figure.value for name, figure in fact_figures(ATTEMPTS, [2, 9]).items()}
    assert [rows[f"facts {count}: first draft"] for count in (2, 9)] == [0.0, 1.0]
    assert [rows[f"facts {count}: final image"] for count in (2, 9)] == [1.0, 0.0]
    assert [rows[f"facts {count}: verdict on the first draft"] for count in (2, 9)] == [1.0, 0.0]


def test_drafts_are_judged_by_prompt_and_plan_and_by_the_plan_alone():
    attempts = [Attempts(rollout((True, 0.9), plan=True), (rollout((False, 0.8), plan=True),)), ATTEMPTS[0]]
    drafts = planned_drafts(attempts)
    requests, descriptions = context_requests(drafts, Sampling(thinks=True))
    assert [request.prompt for request in requests[1:3]] == ["a red apple: red apple at 1 1", "red apple at 1 1"]
    assert all(isinstance(request.prefix[0], Image) and not request.sampling.thinks for request in requests)
    assert len(descriptions) == len(requests) == len(drafts) * len(CONTEXTS) == 4
    asked = [rollout((draft.judged.first, p)) for draft, p in zip(drafts * 2, (0.9, 0.1, 0.2, 0.3), strict=True)]
    rows = {name: figure.value for name, figure in context_figures(drafts, asked, len(attempts)).items()}
    contexts = ("prompt", "prompt and thought", "thought alone")
    assert [rows[f"{name}: verdict, balanced"] for name in contexts] == [0.5, 1.0, 0.5]
    assert rows["thought alone: right passed"] == 0.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "rollouts.jsonl"


def test_recorded_rollouts_are_found_by_all_that_determines_them(file: Path):
    request = Request(PROMPT, 7, 3, Sampling())
    RecordedRollouts(file, "one").add(request, REPAIRED_AT_THE_SECOND_EDIT)
    recorded = RecordedRollouts(file, "one")
    assert recorded.find(replace(request, id="another")) == REPAIRED_AT_THE_SECOND_EDIT
    others = (replace(request, seed=8), replace(request, prefix=(PLAN,)), replace(request, sampling=Sampling(2.0)))
    assert [recorded.find(other) for other in others] == [None] * 3
    assert RecordedRollouts(file, "trained further").find(request) is None


def test_a_line_cut_off_by_a_kill_is_written_anew_and_another_file_is_refused(file: Path):
    first, second = Request(PROMPT, 1, 1, Sampling()), Request(PROMPT, 2, 1, Sampling())
    recorded = RecordedRollouts(file, "one")
    for request in (first, second):
        recorded.add(request, DRAFTS[0])
    file.write_bytes(file.read_bytes()[:-9])
    recorded = RecordedRollouts(file, "one")
    assert (recorded.find(first), recorded.find(second)) == (DRAFTS[0], None)
    recorded.add(second, DRAFTS[1])
    assert RecordedRollouts(file, "one").find(second) == DRAFTS[1]
    file.write_text('{"prompt": "a cat"}\n', "utf-8")
    with pytest.raises(RecordError, match=r"rollouts\.jsonl, line 1"):
        RecordedRollouts(file, "one")


def test_prompts_by_facts_and_of_four_kinds_can_be_written_read_and_drawn_and_are_held_out():
    by_facts, unseen, rng = prompts_by_facts(4), never_trained_prompts(8), random.Random(0)
    assert [fact_count(description) for description in by_facts] == [count for count in FACTS for _ in range(4)]
    assert {len(description.groups) for description in unseen} == {4}
    for description in by_facts + unseen:
        assert held_out(description) and parse(write(description)) == description
    for description in by_facts[::4] + unseen[:2]:
        facts = check(description, read(render(sample_scene(rng, description))))
        assert accepted(facts) and len(facts) == fact_count(description)


def test_the_command_goes_on_from_recorded_rollouts(tiny_checkpoint: Path, tmp_path: Path):
    few = ("--prompts", 0, "--hard", 2, "--rounds", 2, "--best-of", 2, "--contexts", "--record", tmp_path)
    done = run("model.evaluate", "--checkpoint", tiny_checkpoint, *few)
    assert done.returncode == 0, done.stderr
    assert "edits 1: best of as many, own verdict" in done.stdout
    again = run("model.evaluate", "--checkpoint", tiny_checkpoint, *few)
    assert again.stdout == done.stdout
    assert "of" in done.stderr and not again.stderr.strip()
