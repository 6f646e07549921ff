"""The study of corrections: who answers what, what is trained on it, and what is reported."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from commands import run as run_command

from annotations.schema.questions import NO, REASON_CORRECTION, REASON_RATING, VERDICT_RIGHT, YES
from model.evaluation.bootstrap import Proportion
from model.evaluation.simulated_annotators import AgreeingAnnotator, CriticAnnotator, VerifierAnnotator
from model.trajectory import Image, Reflection, Sampling, Token, Trajectory
from model.world.defects import spoil
from model.world.language import parse
from model.world.random_scenes import sample_scene
from model.world.scene import render
from studio.study.__main__ import parser, run
from studio.study.arms import Arm, StudyError, StudyStage, training_command, with_rows
from studio.study.labelling import answers
from studio.study.report import Results, lines, to_json

PROMPT = "two red apples above a blue car"


def said(answer: str, reason: str = ", as asked.", number: int = 0) -> Trajectory:
    """A drawing on which this was said."""
    reflection = Reflection(answer, 0.5, (Token(1, answer.capitalize()), Token(2, reason)))
    segments = (Image((), "00"), reflection)
    return Trajectory(PROMPT, 0, 1, Sampling(), "sft", segments, id=f"drawing-{number}")


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """A right drawing, and one with a defect."""
    rng, description = random.Random(0), parse(PROMPT)
    scene = sample_scene(rng, description)
    return render(scene), spoil(rng, description, scene)[1]


def answered(trajectory: Trajectory, picture: np.ndarray, simulated) -> list[dict]:
    return [dict(annotation.answers) for annotation in answers(trajectory, [picture], simulated, "simulated-1")]


def test_a_simulated_annotator_corrects_verdicts_and_reasons_and_scores_the_drawing(pictures):
    right, wrong = pictures
    verifier = VerifierAnnotator(0.0)
    assert answered(said("yes"), right, verifier) == [{VERDICT_RIGHT: YES, REASON_RATING: 5}, {"alignment": 5}]
    reflection, image = answered(said("yes"), wrong, verifier)
    assert (reflection[VERDICT_RIGHT], reflection[REASON_RATING]) == (NO, 1)
    assert reflection[REASON_CORRECTION] and image["alignment"] <= 3
    reflection, _ = answered(said("no", ", there is no boat."), wrong, verifier)
    assert reflection[VERDICT_RIGHT] == YES and reflection[REASON_CORRECTION]
    again, _ = answered(said("no", f", {reflection[REASON_CORRECTION]}"), wrong, verifier)
    assert again == {VERDICT_RIGHT: YES, REASON_RATING: 5}


def test_so_many_answers_are_wrong_as_the_error_rate_says_and_always_the_same_ones(pictures):
    right, wrong = pictures
    simulated = VerifierAnnotator(0.2, seed=3)
    seen = [simulated.answer(said("yes", number=number), 0, right).right for number in range(300)]
    assert 0.14 < seen.count(False) / 300 < 0.26
    assert seen == [simulated.answer(said("yes", number=number), 0, right).right for number in range(300)]
    assert VerifierAnnotator(1.0).answer(said("no"), 0, wrong).right


def test_the_control_confirms_and_a_critic_says_what_it_thinks(pictures):
    right, wrong = pictures
    assert answered(said("yes"), wrong, AgreeingAnnotator()) == [{VERDICT_RIGHT: YES, REASON_RATING: 5}]
    thinks = Reflection("no", 0.25, (Token(1, "No"), Token(2, ", there is no car.")))
    critic = CriticAnnotator("rl", {("drawing-0", 0): thinks})
    reflection, image = answered(said("yes"), right, critic)
    expected = {VERDICT_RIGHT: NO, REASON_RATING: 1, REASON_CORRECTION: "there is no car."}
    assert (reflection, image) == (expected, {"alignment": 1})


def test_a_stage_without_rows_is_as_many_steps_of_fine_tuning():
    stages = (StudyStage("sft", 7, ("--batch", "4")), StudyStage("dpo", 9, ("--beta", "1")))
    exports = {"judge_sft": Path("a"), "draw_sft": Path("b")}
    stage = with_rows(stages[1], exports, stages)
    assert stage == StudyStage("sft", 9, ("--batch", "4"))
    command = training_command(stage, exports, "parent", Path("out"), 3)
    expected = "model.training.sft --data a b --checkpoint parent --out out --steps 9 --seed 3 --batch 4"
    assert " ".join(command) == expected
    exports |= {"image_pref": Path("c"), "judge_pref": Path("d")}
    assert with_rows(stages[1], exports, stages) is stages[1]
    images = StudyStage("dpo", 9, only=("image_pref",))
    command = training_command(images, exports, "parent", Path("out"), 3)
    assert " ".join(command).startswith("model.training.dpo --data c --checkpoint parent ")


def figures(right: Sequence[bool]) -> dict:
    return {"hard": {"final image": Proportion.from_pairs([(each, 1) for each in right])}}


def test_the_table_has_paired_differences_from_start_stage_before_and_control_and_the_gain_per_hundred():
    start, better, control = figures([False] * 10), figures([True] * 5 + [False] * 5), figures([True] + [False] * 9)
    dpo = figures([True] * 8 + [False] * 2)
    arms = {Arm("corrections", 200, 0): {"sft": better, "dpo": dpo}, Arm("control", 1000, 0): {"sft": control}}
    results = Results(start, arms)
    row = next(line for line in lines(results) if "corrections 200, seed 0, sft" in line)
    assert "50.0%" in row and "+50.0 (" in row and "+40.0 (" in row and row.endswith("+25.00")
    later = next(line for line in lines(results) if "corrections 200, seed 0, dpo" in line)
    assert "+80.0 (" in later and "+30.0 (" in later and later.endswith("+40.00")
    [first, _, _] = json.loads(json.dumps(to_json(results, {})))["arms"]
    assert first["differences"]["hard"]["final image"]["minus_control"][0] == pytest.approx(0.4)


def test_a_study_runs_through_store_queue_export_and_trainer_and_is_not_done_twice(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trained = []

    def train(command: Sequence[str], log: Path) -> None:
        trained.append(command)
        done = run_command(*command)
        assert done.returncode == 0, done.stderr

    options = {"--out": tmp_path / "study", "--checkpoint": tiny_checkpoint, "--sizes": 2, "--seeds": 1, "--prompts": 2}
    options |= {"--steps": 1, "--rounds": 1, "--stages": "sft", "--sources": "corrections"}
    options["--sft-options"] = "--batch 2 --distill 0 --evaluate-prompts 0 --warmup 0"
    words = [str(word) for pair in options.items() for word in pair]
    results = run(parser().parse_args(words), train)
    [(arm, stages)] = results.arms.items()
    assert (arm.size, list(stages)) == (2, ["sft"])
    assert [rows["final image"].prompts for rows in stages["sft"].values()] == [1, 1, 2]  # each split, both
    said = (tmp_path / "study" / "seed-0" / "corrections-2" / "exports" / "done").read_text("utf-8")
    assert said.startswith(
        "annotators simulated by the verifier, 5% of their answers wrong; 2 drawings answered; judge_sft"
    )
    assert (tmp_path / "study" / "results.png").stat().st_size > 1000
    run(parser().parse_args(words), train)
    assert len(trained) == 1
    with pytest.raises(StudyError, match="another steps"):
        run(parser().parse_args([*words, "--steps", "2"]), train)
    with pytest.raises(StudyError, match="2 drawings of corrections are answered, not 1"):
        run(parser().parse_args([*words, "--sizes", "1"]), train)
