"""Evaluations of a run: paired changes, which checkpoint is the best, what is written, and what a resume finds."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from test_training_loop import SETTINGS, rows_at, train

from model.backends.contract import CheckpointError
from model.evaluation.bootstrap import Proportion, from_counts, to_counts
from model.evaluation.fixed_prompts import Sample
from model.training.loop import Evaluation
from model.training.runs.folder import RunPaths
from model.training.safeguards.evaluations import Evaluations, markdown

HARD = "hard, without the thought"
BLACK = np.zeros((4, 4, 3), np.uint8)
SAMPLE = Sample(HARD, 0, "a cat", (BLACK, BLACK), ("No, it is blue.", "Yes, a cat."), (False, True))


def figures(first: int, spoiled: int = 0, of: int = 20) -> dict:
    """`first` of `of` first drafts right, `spoiled` of as many spoiled."""
    counts = {"first draft": first, "right drafts damaged": spoiled}
    return {HARD: {row: Proportion.from_pairs([(i < count, 1) for i in range(of)]) for row, count in counts.items()}}


def evaluated(folder: Path, criterion: str, *steps: tuple[int, int, int]) -> Evaluations:
    evaluations = Evaluations(folder, criterion)
    for step, first, spoiled in steps:
        evaluations.add(step, figures(first, spoiled), [SAMPLE])
    return evaluations


def test_a_change_is_one_whose_paired_interval_leaves_out_zero(tmp_path: Path):
    evaluations = evaluated(tmp_path, "guarded", (0, 5, 0), (50, 15, 10), (100, 6, 0))
    assert evaluations.change(0, 50, HARD, "first draft") == "better"
    assert evaluations.change(50, 0, HARD, "first draft") == "worse"
    assert evaluations.change(0, 50, HARD, "right drafts damaged") == "worse"
    assert evaluations.change(0, 100, HARD, "first draft") == "same"


def test_nothing_is_called_better_or_worse_where_fewer_than_six_prompts_count(tmp_path: Path):
    evaluations = Evaluations(tmp_path, "guarded")
    for step, right in ((0, 0), (50, 5)):
        evaluations.add(step, figures(right, of=5), [])
    assert evaluations.paired(0, 50, HARD, "first draft") == (1, 1, 1)
    assert evaluations.change(0, 50, HARD, "first draft") == "same"
    told = markdown(evaluations.table())
    assert "| no clear difference |" in told and "Better: nothing." in told


@pytest.mark.parametrize(("criterion", "best"), [("guarded", 100), ("mean", 50), ("last", 150)])
def test_the_best_is_chosen_by_the_criterion_and_never_the_start(tmp_path: Path, criterion: str, best: int):
    steps = ((0, 10, 0), (50, 20, 6), (100, 12, 0), (150, 11, 0))
    assert evaluated(tmp_path, criterion, *steps).best == best
    assert evaluated(tmp_path / "worse", criterion, (0, 20, 0), (50, 1, 0)).best == 50
    assert Evaluations(tmp_path / "none", criterion).best is None


def test_figures_tables_and_samples_are_written_as_documented(tmp_path: Path):
    row = evaluated(tmp_path, "guarded", (0, 5, 0), (50, 15, 0)).add(100, figures(16), [SAMPLE])
    assert row["evaluation"] == {"step": 100, HARD: {"first draft": 0.8, "right drafts damaged": 0.0}}
    assert row["evaluated_mean"] == pytest.approx(0.4)
    step = json.loads((tmp_path / "000050.json").read_text())
    assert step["figures"][HARD]["first draft"]["value"] == 0.75
    table = json.loads((tmp_path / "table.json").read_text())
    assert (table["before"], table["best"], table["last"], table["steps"]) == (0, 100, 100, [0, 50, 100])
    first, spoiled = table["rows"]
    assert (first["before"], first["best"], first["change"]) == (0.25, 0.8, "better")
    assert first["best_minus_before"][0] == pytest.approx(0.55) and not spoiled["higher_is_better"]
    assert "| first draft | 25.0% | 80.0% | 80.0% | +55.0 (" in (tmp_path / "table.md").read_text()
    assert "Better: first draft (hard, without the thought)." in markdown(table)
    assert "Worse: nothing." in markdown(table)
    index = json.loads((tmp_path / "samples" / "index.json").read_text())
    assert list(index) == ["000000", "000050", "000100"]
    assert index["000050"][0]["pictures"] == ["000050/00-0.png", "000050/00-1.png"]
    assert Picture.open(tmp_path / "samples" / "000050" / "00-1.png").size == (4, 4)


def test_a_resumed_run_keeps_what_was_evaluated_before_and_a_new_one_nothing(tmp_path: Path):
    evaluated(tmp_path, "mean", (0, 5, 0), (50, 15, 0), (100, 6, 0))
    again = Evaluations(tmp_path, "mean")
    again.begin(50)
    assert set(again.figures) == {0, 50} and again.change(0, 50, HARD, "first draft") == "better"
    assert not (tmp_path / "000100.json").exists() and not (tmp_path / "samples" / "000100").exists()
    anew = Evaluations(tmp_path, "mean")
    anew.begin(0)
    assert not anew.figures and not list(tmp_path.glob("0*.json"))
    (tmp_path / "000000.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"000000\.json is damaged"):
        Evaluations(tmp_path, "mean").begin(50)


def test_evaluations_of_an_older_run_go_on_under_the_names_of_today(tmp_path: Path):
    evaluated(tmp_path, "guarded", (0, 5, 0), (50, 15, 0))
    for path in tmp_path.glob("*.json"):
        path.write_text(path.read_text().replace("right drafts damaged", "right drafts spoiled"))
    again = Evaluations(tmp_path, "guarded")
    again.begin(50)
    again.add(100, figures(16, 10), [SAMPLE])
    assert again.change(50, 100, HARD, "right drafts damaged") == "worse"


def test_counts_make_the_same_figure_again():
    [rows] = figures(7).values()
    again = from_counts(to_counts(rows["first draft"]))
    assert again.value == rows["first draft"].value and again.prompts == 20


def test_a_run_does_not_write_into_a_foreign_folder(tmp_path: Path):
    evaluated(tmp_path / "run.evaluation", "mean", (0, 5, 0))
    RunPaths(tmp_path / "run").check()
    (tmp_path / "run.evaluation" / "thesis.tex").touch()
    with pytest.raises(CheckpointError, match=r"holds thesis\.tex, which no run has written"):
        RunPaths(tmp_path / "run").check()


def test_the_loop_keeps_the_best_checkpoint_and_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of six steps, evaluated after each second one, that after four is the best; the state is that after six."""
    finished, saved, firsts = [], [], {0: 5, 2: 6, 4: 18, 6: 7}
    evaluations = Evaluations(tmp_path / "run.evaluation", "mean")
    hook = Evaluation(
        2,
        lambda step: evaluations.add(step, figures(firsts[step]), []),
        evaluations.begin,
        lambda step: evaluations.best == step,
        lambda: finished.append(evaluations.best),
    )
    monkeypatch.setattr("test_training_loop.Evaluation", lambda every, run: hook)
    train(tmp_path / "run", rows_at, SETTINGS, saved)
    assert [about["step"] for about in saved] == [2, 4] and finished == [4]
    rows = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [row["evaluation"]["step"] for row in rows if "evaluation" in row] == [0, 2, 4, 6]
    train(tmp_path / "run", rows_at, SETTINGS, saved, resume=True)
    assert [about["step"] for about in saved] == [2, 4]
