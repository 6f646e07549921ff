"""Calibration of critics: figures against scikit-learn's and statsmodels', what people say of reflections, the gate."""

import argparse
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image as Picture
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, cohen_kappa_score
from test_annotations_samples import aha, judged

from annotations.calibration.judgements import judgements
from annotations.calibration.report import file_of, write
from annotations.calibration.scores import CriticScore, add, scores
from annotations.errors import AnswerError
from annotations.metrics.calibration import Judgement, best_threshold, calibration, calibrations, cohens_kappa, drift
from annotations.store.store import open_store
from model.images import encode_png
from model.training.rewards.janus_pro_r1 import RewardError
from model.training.rewards.registry import read_choice
from model.training.safeguards.critic_agreement import FEWEST, add_agreement, check_agreement, read_kappas
from model.trajectory import Image
from model.world.plan import read_plan
from model.world.scene import render
from studio.calibration.__main__ import main
from studio.calibration.page import CalibrationHandlers
from studio.settings import Mode, Settings

START = datetime(2026, 3, 1, tzinfo=UTC)


def judged_by(count: int, *, seed: int = 0, slope: float = 1.0) -> list[Judgement]:
    """A critic that is right about as often as it says, but for `slope`."""
    rng = np.random.default_rng(seed)
    probabilities = rng.uniform(size=count)
    people = rng.uniform(size=count) < 0.5 + slope * (probabilities - 0.5)
    rows = enumerate(zip(probabilities, people, strict=True))
    return [
        Judgement("critic:a", ("counting", "colours")[number % 2], float(p), bool(yes), START + timedelta(hours=number))
        for number, (p, yes) in rows
    ]


def columns(judgements: list[Judgement]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([each.p_yes for each in judgements]), np.array([each.person for each in judgements])


def test_figures_equal_those_of_scikit_learn() -> None:
    p_yes, people = columns(judgements := judged_by(500))
    result = calibration(judgements)
    assert result.kappa.value == pytest.approx(cohen_kappa_score(p_yes >= 0.5, people))
    assert result.brier == pytest.approx(brier_score_loss(people, p_yes))
    shares, means = calibration_curve(people, p_yes, n_bins=10, strategy="uniform")
    assert [each.p_yes for each in result.bins] == pytest.approx(list(means))
    assert [each.person.value for each in result.bins] == pytest.approx(list(shares))
    counts = np.histogram(p_yes, 10, (0, 1))[0]
    assert result.expected_error == pytest.approx(np.average(np.abs(shares - means), weights=counts))


def test_the_interval_of_kappa_equals_that_of_statsmodels() -> None:
    """statsmodels 0.15.0, inter_rater.cohens_kappa([[45, 15], [25, 35]]): kappa, kappa_low, kappa_upp."""
    critic = np.repeat([0, 0, 1, 1], [45, 15, 25, 35]).astype(bool)
    people = np.repeat([0, 1, 0, 1], [45, 15, 25, 35]).astype(bool)
    kappa = cohens_kappa(critic, people)
    assert (kappa.value, kappa.low, kappa.high) == pytest.approx((1 / 3, 0.16700586, 0.49966080), abs=1e-6)


def test_kappa_is_not_defined_where_both_always_say_the_same() -> None:
    assert cohens_kappa(np.ones(20, bool), np.ones(20, bool)) is None
    assert best_threshold(np.linspace(0, 1, 20), np.ones(20, bool)) is None


def test_the_threshold_is_the_one_of_the_highest_kappa_of_all() -> None:
    p_yes, people = columns(judged_by(120, seed=3))
    people = people | (p_yes > 0.3)
    result = best_threshold(p_yes, people)
    every = [cohen_kappa_score(p_yes >= cut, people) for cut in np.sort(p_yes)]
    assert result.kappa == pytest.approx(max(every))
    assert cohen_kappa_score(p_yes >= result.p_yes, people) == pytest.approx(result.kappa)


def test_a_critic_that_becomes_worse_drifts() -> None:
    right = np.concatenate([np.ones(60, bool), np.arange(60) % 3 == 0])
    assert drift(right).high < 0
    assert drift(right[:60]).low < 0 < drift(right[:60]).high
    assert drift(right[:10]) is None


def test_every_critic_is_told_of_all_prompts_and_by_category() -> None:
    told = calibrations([*judged_by(60), *[Judgement("verifier", "counting", 1.0, True, START)]])
    assert [(each.critic, each.category) for each in told] == [
        ("critic:a", None),
        ("critic:a", "colours"),
        ("critic:a", "counting"),
        ("verifier", None),
    ]
    assert sum(period.accuracy.of for period in told[0].periods) == 60


def test_people_and_critics_are_compared_on_the_same_pictures(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        ids = [store.save(*aha(number, checkpoint="painter+embedded"), owner="visitor") for number in range(3)]
        store.annotate(judged(ids[0], 2, "ann", verdict_right="yes"))  # “No” is right: it does not show the prompt
        store.annotate(judged(ids[0], 4, "ann", verdict_right="no"))  # tie with bob's
        store.annotate(judged(ids[0], 4, "bob", verdict_right="yes"))
        store.annotate(judged(ids[1], 4, "ann", verdict_right="yes"))
        store.annotate(judged(ids[2], 4, "ann", verdict_right="yes"))
        store.hide(ids[2], "visitor")
        add(
            store,
            [
                CriticScore(ids[0], 1, "verifier", 1.0),
                CriticScore(ids[0], 1, "verifier", 0.0),
                CriticScore(ids[1], 1, "x", 0.9),
            ],
        )
        result = {(each.critic, each.p_yes, each.person) for each in judgements(store)}
        assert result == {
            ("critic:embedded", 0.25, False),
            ("verifier", 0.0, False),
            ("critic:embedded", 0.25, True),
        }
        with pytest.raises(AnswerError, match="wanted one from 0 to 1"):
            add(store, [CriticScore(ids[0], 1, "verifier", float("nan"))])


def test_scores_of_a_critic_leave_the_disk_with_the_drawing(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        id = store.save(*aha(), owner="visitor")
        add(store, [CriticScore(id, 1, "verifier", 1.0)])
        store.hide(id, "visitor")
        assert scores(store) == []
        assert store.purge(timedelta(0)) == 1


def test_the_command_scores_measures_and_writes_the_report_of_the_trainer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = encode_png(Picture.fromarray(render(read_plan("red cat at 0 0"))))
    sha256 = hashlib.sha256(picture).hexdigest()
    trajectory, pictures = aha(prompt="a red cat")
    drawn = (trajectory.segments[0], Image((), sha256), *trajectory.segments[2:])
    with open_store(tmp_path) as store:
        id = store.save(replace(trajectory, segments=drawn), pictures | {sha256: picture}, owner="visitor")
        store.annotate(judged(id, 2, "ann", verdict_right="no"))
    assert main(["verifier", "--data", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["critic"]: row["accuracy"]["value"] for row in told} == {"critic:tiny": 0.0, "verifier": 1.0}
    assert json.loads((tmp_path / "calibration.json").read_text())["critics"] == told
    assert main(["--data", str(tmp_path)]) == 0
    assert "no kappa below 30 pictures" in capsys.readouterr().out
    assert main(["verifier:2", "--data", str(tmp_path)]) == 1
    assert "without a weight" in capsys.readouterr().err


def test_the_page_tells_of_every_critic_and_has_others_judge(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        id = store.save(*aha(checkpoint="<b>tiny"), owner="visitor")
        store.annotate(judged(id, 2, "ann", verdict_right="yes"))
        page, here = CalibrationHandlers(store, Settings()), SimpleNamespace(headers={})
        shown, written = page.start(here)
        assert "critic:&lt;b&gt;tiny" in shown and "<b>tiny" not in shown and "No report" in written
        assert "1 picture is judged by people and by this critic, 1 of them alike. An interval says" in shown
        assert "judged all" in [*page.judge("verifier", here)][-1][1]
        assert "without a weight" in [*page.judge("verifier:2", here)][-1][1]
        assert "There is no reward" in [*page.judge("emperor", here)][-1][1]
        with pytest.raises(gr.Error):
            CalibrationHandlers(store, Settings(mode=Mode.PUBLIC)).write(here)


def test_below_thirty_pictures_there_is_no_interval_and_no_report(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        page, here = CalibrationHandlers(store, Settings()), SimpleNamespace(headers={})
        for number in range(FEWEST - 1):
            id = store.save(*aha(number, prompt="a red cat" if number % 3 else "two cats"), owner="visitor")
            store.annotate(judged(id, 4, "ann", verdict_right="no" if number % 4 else "yes"))
        shown, written, told = page.write(here)
        assert f"{FEWEST - 1} pictures are judged" in shown and f"from {FEWEST} pictures on" in shown
        assert "svg" not in shown and "kappa" not in shown
        assert "No report is written: no critic" in told and "No report" in written
        assert not file_of(store).exists()
        id = store.save(*aha(FEWEST, prompt="two cats"), owner="visitor")
        store.annotate(judged(id, 4, "ann", verdict_right="yes"))
        shown, written, told = page.write(here)
        assert "kappa" in shown and "svg" in shown and "The report that training goes by" in written
        assert f"Fewer than {FEWEST} pictures, so no interval: " in shown and "<bdi>counting</bdi> 11" in shown
        assert list(read_kappas(file_of(store))) == ["critic:tiny"]


@pytest.mark.parametrize(
    ("reward", "options", "refused"),
    [
        ("critic:good", (), None),
        ("critic:bad", (), "kappa ≥"),
        ("verifier critic:bad:0.5", ("--uncalibrated",), None),
        ("critic:bad", ("--least-agreement", "-2"), None),
        ("reward_model:somewhere", (), "not at all"),
        ("critic:few", (), "too few"),
        ("verifier", (), None),
    ],
)
def test_a_critic_that_agrees_too_little_is_no_reward(
    tmp_path: Path, reward: str, options: tuple[str, ...], refused: str | None
) -> None:
    good = [replace(each, critic="critic:good", person=each.p_yes >= 0.5) for each in judged_by(100)]
    bad = [replace(each, critic="critic:bad", person=each.p_yes < 0.5) for each in judged_by(100)]
    few = [replace(each, critic="critic:few") for each in good[:10]]
    write(calibrations([*good, *bad, *few]), tmp_path / "report.json", START)
    parser = argparse.ArgumentParser()
    add_agreement(parser)
    arguments = parser.parse_args(["--calibration", str(tmp_path / "report.json"), *options])
    if refused is None:
        assert "agreement" in check_agreement(arguments, read_choice(reward))
    else:
        with pytest.raises(RewardError, match=refused):
            check_agreement(arguments, read_choice(reward))


def test_what_is_no_report_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"critics": [1]}')
    with pytest.raises(RewardError, match="is no calibration report"):
        read_kappas(tmp_path / "report.json")
