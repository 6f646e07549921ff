"""Shares and their intervals, against numbers worked out by hand."""

import numpy as np
import pytest

from model.evaluation.bootstrap import Mean, Proportion, auroc, difference, interval


def test_a_share_is_counted_over_all_prompts_together():
    assert Proportion.from_pairs([(1, 1), (0, 3), (2, 2)]).value == pytest.approx(3 / 6)
    assert Proportion.from_pairs([(0, 0), (0, 0)]).value is None
    assert interval(Proportion.from_pairs([(0, 0)])) is None


def test_the_interval_of_a_share_is_the_binomial_s():
    rng = np.random.default_rng(0)
    hits = rng.random(600) < 0.8
    low, high = interval(Proportion.from_pairs([(hit, 1) for hit in hits]))
    spread = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 600)
    assert (low, high) == pytest.approx((hits.mean() - spread, hits.mean() + spread), abs=0.006)


def test_a_paired_difference_is_narrower_than_its_parts_where_prompts_are_alike():
    rng = np.random.default_rng(1)
    hard = rng.random(400) < 0.5
    one = Proportion.from_pairs([(hit, 1) for hit in hard])
    better = Proportion.from_pairs([(hit or rng.random() < 0.1, 1) for hit in hard])
    value, low, high = difference(better, one)
    assert value == pytest.approx(better.value - one.value)
    assert 0 < low < value < high
    assert high - low < 0.5 * np.ptp(interval(one))
    with pytest.raises(ValueError, match="400 and 2 prompts"):
        difference(one, Proportion.from_pairs([(1, 1), (1, 1)]))


def test_balanced_accuracy_is_the_mean_of_two_shares():
    flagged, passed = Proportion.from_pairs([(1, 2), (0, 0)]), Proportion.from_pairs([(0, 0), (3, 3)])
    assert Mean((flagged, passed)).value == pytest.approx(0.75)
    assert Mean((flagged, Proportion.from_pairs([(0, 0), (0, 0)]))).value is None


def test_auroc_counts_the_pairs_in_order_and_ties_half():
    assert auroc([0.9, 0.8, 0.3], [True, True, False]) == 1.0
    assert auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert auroc([0.5], [True]) is None
