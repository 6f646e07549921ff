"""Plots show what logs and results hold, and say which file they cannot read."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image as Picture

from model.evaluation.plots import LogError, curves, panels, read_log, read_results


def written_log(path: Path) -> Path:
    rows = [{"step": step, "codes": 3 / (step + 1), "text": 1.0, "verdicts_right": 0.0} for step in range(40)]
    rows += [{"step": step, "codes": 0.5, "text": 2.0, "verdicts_right": 0.0} for step in range(30, 50)]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def result(value: float | None) -> dict:
    return {"value": value, "interval": value and [value - 0.1, value + 0.1], "prompts": 6}


def test_steps_done_again_after_a_resume_count_once(tmp_path: Path):
    log = read_log(written_log(tmp_path / "run.jsonl"))
    assert list(log.index) == list(range(50))
    assert log.loc[35, "codes"] == 0.5
    assert log.loc[29, "codes"] == 0.1


def test_a_run_gets_a_panel_for_what_it_learnt_and_none_for_what_it_did_not(tmp_path: Path):
    [panel] = curves({"run": read_log(written_log(tmp_path / "run.jsonl"))}).axes
    assert panel.get_title(loc="left") == "run: loss"
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["image codes", "text"]


def test_bars_stand_as_high_as_the_figures_and_carry_their_intervals():
    results = {
        "sft": {"hard": {"first draft": result(0.5), "final image": result(None)}},
        "rl": {"hard": {"first draft": result(0.8), "final image": result(0.9)}},
    }
    [panel] = panels(results).axes
    assert sorted(bar.get_height() for bar in panel.patches) == [0.5, 0.8, 0.9]
    ends = [tuple(segment[:, 1]) for lines in panel.collections for segment in lines.get_segments()]
    assert np.array(sorted(ends)) == pytest.approx(np.array([(0.4, 0.6), (0.7, 0.9), (0.8, 1.0)]))


def test_rows_by_number_are_lines_over_the_numbers_and_settings_without_anything_to_draw_are_left_out():
    budget = {f"edits {number}: final image": result(0.1 * number) for number in range(1, 4)}
    rows = budget | {"edits 1: images": result(2.0), "edits 2: repaired": result(None)}
    judged = {"prompt: verdict, balanced": result(0.9), "prompt: right passed": result(0.8)}
    settings = {"hard, by budget": rows, "hard, judged by": judged, "edits": {"error": result(3.0)}}
    lines, bars = panels({"sft": settings, "rl": {"hard, by budget": budget}}).axes
    drawn = {line.get_label(): list(line.get_xdata()) for line in lines.lines}
    assert drawn == {"final image, sft": [1, 2, 3], "final image, rl": [1, 2, 3]}
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["prompt"]


def test_the_command_writes_a_picture_and_names_a_file_it_cannot_read(tmp_path: Path):
    def plots(*arguments: Path | str) -> subprocess.CompletedProcess:
        return run("model.evaluation.plots", *arguments)

    out = tmp_path / "curves.png"
    assert plots(written_log(tmp_path / "run.jsonl"), "--out", out).returncode == 0
    assert Picture.open(out).width > 300
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"step": 1}\n{"st', "utf-8")
    failed = plots(broken, "--out", out)
    assert failed.returncode == 1
    assert "broken.jsonl" in failed.stderr and "Traceback" not in failed.stderr


def test_a_result_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "results.json"
    path.write_text('{"rl": {"hard": 3}}', "utf-8")
    with pytest.raises(LogError, match=r"results\.json"):
        read_results(path)
