"""Alarms of a run: what they say of metrics, and that the log and the screen have them."""

import json
from pathlib import Path

import pytest
from test_training_loop import PADDING, SquaredError, rows_at, train

from model.training.loop import ObjectiveBatches, StepData
from model.training.optimization import TrainingError
from model.training.runs.alarms import COLLAPSE, FIRST, GROWTH, WINDOW, ZERO_STEPS, Alarms


def kinds(rows: list[dict[str, float]]) -> list[list[str]]:
    alarms = Alarms()
    return [[alarm.partition(":")[0] for alarm in alarms.of(row)] for row in rows]


def test_a_gradient_of_zero_is_an_alarm_after_three_steps_and_once():
    rows = [{"gradient_norm": norm} for norm in (1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0)]
    assert ZERO_STEPS == 3
    assert kinds(rows) == [[], [], [], ["zero gradient"], [], [], [], [], ["zero gradient"]]


def test_a_divergence_that_is_large_or_grows_suddenly_is_an_alarm():
    assert kinds([{"kl": 0.5}, {"kl": 1.5}, {"kl": 1.6}]) == [[], ["kl running away"], []]
    calm = [{"distill_kl": 0.02}] * WINDOW
    assert kinds([*calm, {"distill_kl": 0.02 * GROWTH * 1.1}])[-1] == ["distill_kl running away"]
    assert kinds([*calm, {"distill_kl": 0.09}])[-1] == []


def test_an_entropy_far_below_that_of_the_first_steps_is_an_alarm():
    rows = [{"entropy": 2.0}] * FIRST + [{"entropy": 2.0 * COLLAPSE * 1.1}, {"entropy": 2.0 * COLLAPSE * 0.9}]
    assert kinds(rows)[-2:] == [[], ["entropy collapse"]]


def test_metrics_that_a_method_does_not_have_give_no_alarm():
    assert kinds([{"loss": 1.0}] * 30) == [[]] * 30


def test_alarms_stand_in_the_log_and_on_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    train(tmp_path / "run", lambda step: StepData([ObjectiveBatches(SquaredError(), [], PADDING)]))
    rows = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [bool(row.get("alarms")) for row in rows] == [False, False, True, False, False, False]
    assert rows[2]["alarms"][0].startswith("zero gradient: nothing was learnt in 3 steps")
    assert "step 2: zero gradient" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_is_the_alarm_of_the_last_row(tmp_path: Path):
    with pytest.raises(TrainingError):
        train(tmp_path / "run", lambda step: rows_at(step, scale=float("inf") if step == 3 else 1.0))
    last = json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 3 and last["alarms"][0].startswith("not finite: step 3: loss is nan")
