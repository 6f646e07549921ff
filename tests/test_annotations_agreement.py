"""Agreement against published worked examples, established libraries, and cases in which it is not defined."""

import time

import krippendorff
import numpy as np
import pytest

from annotations.errors import AnswerError
from annotations.metrics.agreement import (
    MeasurementLevel,
    gold_accuracy,
    krippendorff_alpha,
    percent_agreement,
)

# Krippendorff (2011), “Computing Krippendorff's Alpha-Reliability”, section C: four observers, twelve units.
OBSERVERS = {
    "A": "1 2 3 3 2 1 4 1 2 . . .",
    "B": "1 2 3 3 2 2 4 1 2 5 . 3",
    "C": ". 3 3 3 2 3 4 2 2 5 1 .",
    "D": "1 2 3 3 2 4 4 1 2 5 1 .",
}

# Fleiss (1971), “Measuring nominal scale agreement among many raters”, table 1: thirty patients, six raters each, who
# say depression, personality disorder, schizophrenia, neurosis or other.
DIAGNOSES = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""

# Cohen (1960), “A coefficient of agreement for nominal scales”, table 1, of two hundred cases.
COHEN = ((88, 14, 18), (10, 40, 10), (2, 6, 12))

Rows = list[tuple[int, str, float | None]]


def observed() -> Rows:
    return [
        (unit, name, None if said == "." else int(said))
        for name, line in OBSERVERS.items()
        for unit, said in enumerate(line.split())
    ]


def from_counts(table: list[list[int]]) -> Rows:
    """Answers of as many nameless raters as an item has."""
    rows = []
    for item, counts in enumerate(table):
        said = [answer for answer, count in enumerate(counts) for _ in range(count)]
        rows += [(item, f"rater {rater}", answer) for rater, answer in enumerate(said)]
    return rows


def from_pairs(table: tuple[tuple[int, ...], ...]) -> Rows:
    pairs = [(i, j) for i, line in enumerate(table) for j, count in enumerate(line) for _ in range(count)]
    return [(n, name, pair[k]) for n, pair in enumerate(pairs) for k, name in enumerate(("one", "other"))]


def diagnoses() -> list[list[int]]:
    return [[int(digit) for digit in patient] for patient in DIAGNOSES.split()]


def made_up(items: int, annotators: int, answers: int, seed: int, missing: float = 0.0) -> Rows:
    """People who see one truth and err now and then."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, answers + 1, items)
    rows = []
    for item in range(items):
        for annotator in range(annotators):
            said = truth[item] if rng.random() < 0.7 else rng.integers(1, answers + 1)
            rows.append((item, f"person {annotator}", None if rng.random() < missing else int(said)))
    return rows


def as_matrix(rows: Rows) -> np.ndarray:
    people, items = list(dict.fromkeys(r[1] for r in rows)), list(dict.fromkeys(r[0] for r in rows))
    matrix = np.full((len(people), len(items)), np.nan)
    for item, person, said in rows:
        matrix[people.index(person), items.index(item)] = np.nan if said is None else said
    return matrix


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_what_krippendorff_computed(level: str, published: float):
    alpha = krippendorff_alpha(observed(), MeasurementLevel(level))
    assert round(alpha.value, 3) == published
    assert (alpha.items, alpha.answers) == (11, 40)  # unit 12 has one answer and pairs with nothing


def test_percent_agreement_is_what_fleiss_and_cohen_computed():
    assert np.sum(diagnoses(), axis=0).tolist() == [26, 26, 30, 55, 43]  # the totals that Fleiss prints
    assert round(percent_agreement(from_counts(diagnoses())).value, 4) == 0.5556
    assert round(percent_agreement(from_pairs(COHEN)).value, 6) == 0.7


@pytest.mark.parametrize("level", list(MeasurementLevel))
@pytest.mark.parametrize("seed", range(5))
def test_alpha_equals_an_established_library(level: MeasurementLevel, seed: int):
    rows = made_up(40 + seed, 2 + seed, 2 + seed, seed, missing=0.3)
    theirs = krippendorff.alpha(reliability_data=as_matrix(rows), level_of_measurement=level.value)
    assert krippendorff_alpha(rows, level).value == pytest.approx(theirs, abs=1e-6)


def test_alpha_of_numbers_far_from_zero_loses_no_digits():
    rng = np.random.default_rng(0)
    rows = [(item, f"p{p}", 1e6 + item + rng.normal()) for item in range(50) for p in range(3)]
    theirs = krippendorff.alpha(reliability_data=as_matrix(rows) - 1e6, level_of_measurement="interval")
    assert krippendorff_alpha(rows, MeasurementLevel.INTERVAL).value == pytest.approx(theirs, abs=1e-6)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    truth = krippendorff_alpha(made_up(40_000, 3, 4, seed=99), resamples=1).value
    held = 0
    for seed in range(100):
        alpha = krippendorff_alpha(made_up(80, 3, 4, seed), resamples=300, seed=seed)
        held += alpha.low <= truth <= alpha.high
    assert 88 <= held <= 100


def test_the_interval_is_that_of_items_drawn_one_by_one():
    rows = made_up(60, 3, 4, seed=1, missing=0.2)
    alpha = krippendorff_alpha(rows, MeasurementLevel.ORDINAL, resamples=2000)
    matrix, rng, slow = as_matrix(rows), np.random.default_rng(5), []
    for _ in range(2000):
        drawn = matrix[:, rng.integers(0, 60, 60)]
        slow.append(krippendorff_alpha(to_rows(drawn), MeasurementLevel.ORDINAL, resamples=0).value)
    assert (alpha.low, alpha.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.03)


def to_rows(matrix: np.ndarray) -> Rows:
    people, items = matrix.shape
    return [(i, f"person {p}", float(matrix[p, i])) for i in range(items) for p in range(people)]


def test_nothing_is_defined_without_a_second_annotator():
    alone = [(item, "ann", item % 3) for item in range(9)]
    assert percent_agreement(alone) is None
    assert krippendorff_alpha(alone, MeasurementLevel.INTERVAL) is None
    assert krippendorff_alpha([]) is None


def test_where_all_say_the_same_chance_explains_it_and_only_percent_is_defined():
    same = [(item, name, "yes") for item in range(5) for name in ("ann", "bob", "eve")]
    assert percent_agreement(same).value == 1
    assert krippendorff_alpha(same) is None
    numbers = [(item, name, 0.1 + 0.2) for item, name, _ in same]
    assert [krippendorff_alpha(numbers, level) for level in MeasurementLevel] == [None] * 3


def test_one_item_has_a_value_and_no_interval():
    alpha = krippendorff_alpha([("x", "ann", "yes"), ("x", "bob", "no")])
    assert (alpha.value, alpha.low, alpha.high) == (0, None, None)


def test_two_answers_of_one_annotator_and_words_as_numbers_are_refused():
    with pytest.raises(AnswerError, match="two answers of 'ann' about 1"):
        percent_agreement([(1, "ann", "yes"), (1, "ann", "no")])
    with pytest.raises(AnswerError, match="wanted a number"):
        krippendorff_alpha([(1, "ann", "good"), (1, "bob", "bad")], MeasurementLevel.ORDINAL)


def test_accuracy_on_gold_is_counted_per_annotator_over_gold_items_only():
    rows = [
        (1, "ann", "yes"),
        (2, "ann", "no"),
        (3, "ann", "no"),
        (1, "bob", "no"),
        (3, "bob", "yes"),
        (4, "eve", "no"),
    ]
    found = gold_accuracy(rows, {1: "yes", 2: "no"})
    assert {name: (a.right, a.of) for name, a in found.items()} == {"ann": (2, 2), "bob": (0, 1)}
    assert found["ann"].low == pytest.approx(0.342, abs=1e-3)  # Wilson (1927), two of two
    assert found["ann"].high == 1


@pytest.mark.parametrize("level", list(MeasurementLevel))
def test_ten_thousand_items_take_seconds(level: MeasurementLevel):
    began = time.perf_counter()
    alpha = krippendorff_alpha(made_up(10_000, 3, 5, seed=0, missing=0.1), level, resamples=1000)
    assert alpha.high - alpha.low < 0.03
    assert time.perf_counter() - began < 20  # a second on an idle machine; the bound is for busy ones


def test_answers_that_are_all_different_take_seconds_too():
    rng = np.random.default_rng(0)
    rows = [(item, f"p{p}", float(item % 100 + rng.normal())) for item in range(10_000) for p in range(3)]
    began = time.perf_counter()
    assert krippendorff_alpha(rows, MeasurementLevel.INTERVAL, resamples=1000).value > 0.99
    assert time.perf_counter() - began < 60
