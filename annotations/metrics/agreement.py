"""Agreement statistics: Krippendorff's alpha, percent agreement, accuracy on gold.

Pure functions over answers given as (item, annotator, answer); None is a missing answer. They know arithmetic only: no
store, no questions. Only items with two answers or more count. A coefficient is None where it is not defined: nobody
answered with somebody else, or, for those that take chance into account, all answers are the same (chance alone would
make them agree). Intervals are bootstrapped over items, 95 % wide; resamples in which nothing varies are left out.

Shapes: N items, C different answers, K items that differ in their counts of answers, R resamples.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from annotations.errors import AnswerError
from annotations.schema.forms.question_form import MeasurementLevel
from model.examples import is_number

Given = Iterable[tuple[Hashable, Hashable, str | float | None]]  # item, annotator, answer
Value = str | float

RESAMPLES = 1000
QUANTILES = (0.025, 0.975)
AT_ONCE = 4_000_000  # numbers of one bootstrap step in memory


@dataclass(frozen=True)
class Agreement:
    """A coefficient and its interval, None where fewer than two items or nothing that varies leave it open."""

    value: float
    low: float | None
    high: float | None
    items: int  # with two answers or more
    answers: int  # about these


@dataclass(frozen=True)
class Accuracy:
    """How many gold items one annotator answered as they are known to be, with Wilson's 95 % interval."""

    right: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.right / self.of


def percent_agreement(ratings: Given) -> Agreement | None:
    """The share of pairs of answers about an item that are the same, a mean over items."""
    return _bootstrapped(_counts(_by_item(ratings)), _observed, RESAMPLES, 0)


def krippendorff_alpha(
    ratings: Given, level: MeasurementLevel = MeasurementLevel.NOMINAL, *, resamples: int = RESAMPLES, seed: int = 0
) -> Agreement | None:
    """Krippendorff's alpha (2011): 1 − observed / expected disagreement, for any number of annotators and missing
    answers. Raises AnswerError for text where numbers are wanted.

    Every level is a squared distance between places: an answer's own axis (nominal), its mean rank among all
    (ordinal), its value (interval). So sums of places and of their squares say all, and no pair is looked at.
    """
    by_item = _by_item(ratings)
    if level is not MeasurementLevel.NOMINAL:
        _check_numbers(by_item)
    if level is MeasurementLevel.INTERVAL:
        sums = _sums(by_item)
        return _bootstrapped(sums, _alpha_interval, resamples, seed, answers=int(sums[:, 0].sum()))
    alpha = _alpha_nominal if level is MeasurementLevel.NOMINAL else _alpha_ordinal
    return _bootstrapped(_counts(by_item), alpha, resamples, seed)


def gold_accuracy(ratings: Given, gold: Mapping[Hashable, Value]) -> dict[Hashable, Accuracy]:
    """Per annotator, how many items whose right answer is known they got right; nobody without such an item."""
    right, of = Counter(), Counter()
    for item, by_annotator in _by_item((i, a, v) for i, a, v in ratings if i in gold).items():
        for annotator, answer in by_annotator.items():
            of[annotator] += 1
            right[annotator] += answer == gold[item]
    return {annotator: Accuracy(right[annotator], n, *wilson(right[annotator], n)) for annotator, n in of.items()}


def _by_item(ratings: Given) -> dict[Hashable, dict[Hashable, Value]]:
    """What each annotator answered about each item. Raises AnswerError for two answers of one annotator."""
    by_item: dict[Hashable, dict[Hashable, Value]] = defaultdict(dict)
    for item, annotator, answer in ratings:
        if answer is None or (isinstance(answer, float) and math.isnan(answer)):
            continue
        if annotator in by_item[item]:
            raise AnswerError(f"got two answers of {annotator!r} about {item!r}, wanted one: the current one")
        by_item[item][annotator] = answer
    return by_item


def _check_numbers(by_item: Mapping[Hashable, Mapping[Hashable, Value]]) -> None:
    for item, answers in by_item.items():
        for answer in answers.values():
            if not is_number(answer):
                raise AnswerError(
                    f"got the answer {answer!r:.60} about {item!r}, wanted a number; use the nominal level"
                )


def _counts(by_item: Mapping[Hashable, Mapping[Hashable, Value]]) -> np.ndarray:
    """(N, C): how often each answer, in their order, was given about each item that has two or more."""
    shared = [Counter(answers.values()) for answers in by_item.values() if len(answers) > 1]
    answers = sorted({answer for counter in shared for answer in counter}, key=lambda a: (isinstance(a, str), a))
    place = {answer: index for index, answer in enumerate(answers)}
    counts = np.zeros((len(shared), len(answers)))
    for row, counter in enumerate(shared):
        for answer, count in counter.items():
            counts[row, place[answer]] = count
    return counts


def _sums(by_item: Mapping[Hashable, Mapping[Hashable, Value]]) -> np.ndarray:
    """(N, 4) of items with two answers or more: how many, their sum and sum of squares about the mean of all (so that
    no digit is lost), and the squared distances within.
    """
    shared = [np.array(list(answers.values()), dtype=float) for answers in by_item.values() if len(answers) > 1]
    middle = np.concatenate(shared).mean() if shared else 0.0
    centred = [values - middle for values in shared]
    rows = [(len(v), v.sum(), (v**2).sum(), len(v) * ((v - v.mean()) ** 2).sum() / (len(v) - 1)) for v in centred]
    return np.array(rows).reshape(-1, 4)


Coefficient = Callable[[np.ndarray, np.ndarray], np.ndarray]  # patterns (K, C), weights (R, K) → (R,), NaN: undefined


def _bootstrapped(
    items: np.ndarray, coefficient: Coefficient, resamples: int, seed: int, *, answers: int | None = None
) -> Agreement | None:
    """The coefficient of all items, and of resamples of them. Equal items are drawn as one, as often as they are."""
    if not len(items):
        return None
    patterns, weights = np.unique(items, axis=0, return_counts=True)
    value = coefficient(patterns, weights[None].astype(float))[0]
    if np.isnan(value):
        return None
    low, high = _interval(patterns, weights, coefficient, resamples, seed)
    return Agreement(float(value), low, high, len(items), int(items.sum()) if answers is None else answers)


def _interval(
    patterns: np.ndarray, weights: np.ndarray, coefficient: Coefficient, resamples: int, seed: int
) -> tuple[float | None, float | None]:
    items = int(weights.sum())
    if items < 2 or resamples < 1:
        return None, None
    rng = np.random.default_rng(seed)
    step = max(1, AT_ONCE // (patterns.size + 1))
    drawn = []
    for start in range(0, resamples, step):
        picks = rng.multinomial(items, weights / items, size=min(step, resamples - start))
        drawn.append(coefficient(patterns, picks.astype(float)))
    values = np.concatenate(drawn)
    values = values[~np.isnan(values)]
    return tuple(float(q) for q in np.quantile(values, QUANTILES)) if len(values) else (None, None)


def _observed(patterns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,): the share of agreeing pairs, a mean over items."""
    raters = patterns.sum(1)
    agreeing = (patterns * (patterns - 1)).sum(1) / (raters * (raters - 1))
    return weights @ agreeing / weights.sum(1)


def _alpha_nominal(patterns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    raters, totals = patterns.sum(1), weights @ patterns  # (K,), (R, C)
    within = (raters**2 - (patterns**2).sum(1)) / (raters - 1)
    all_said = totals.sum(1)
    return _less_than(weights @ within, (all_said**2 - (totals**2).sum(1)) / (all_said - 1))


def _alpha_ordinal(patterns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ranks change with what is drawn; they are taken about their mean, so that no digit is lost."""
    raters, totals = patterns.sum(1), weights @ patterns  # (K,), (R, C)
    all_said = totals.sum(1)
    ranks = np.cumsum(totals, 1) - totals / 2 - all_said[:, None] / 2
    sums, squares = ranks @ patterns.T, ranks**2 @ patterns.T  # (R, K)
    within = np.maximum(raters * squares - sums**2, 0) / (raters - 1)
    return _less_than((weights * within).sum(1), all_said * (totals * ranks**2).sum(1) / (all_said - 1))


def _alpha_interval(patterns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    raters, sums, squares, within = (weights @ patterns).T  # (R,) each
    return _less_than(within, (raters * squares - sums**2) / (raters - 1))


def _less_than(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    varies = expected > 1e-12 * np.maximum(1, observed)
    return 1 - np.divide(observed, expected, out=np.full(len(expected), np.nan), where=varies)


def wilson(right: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.959964
    share, room = right / of, z * z / of
    middle = (share + room / 2) / (1 + room)
    half = z * math.sqrt(share * (1 - share) / of + room / (4 * of)) / (1 + room)
    return max(0.0, middle - half), min(1.0, middle + half)
