"""Calibration of critics: agreement with people, reliability of their p_yes, the threshold that fits best, drift.

Pure functions over judgements: what a critic's p_yes says of a picture, and what people say. The critic's verdict is
yes from p_yes = 0.5 on. Intervals are 95 % wide. Shapes: N judgements.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from annotations.metrics.agreement import wilson

BINS = 10  # of equal width, of the reliability curve
PERIODS = 8  # of the curve over time, at most
PER_PERIOD = 10  # judgements, at least
EVEN = 0.5  # the p_yes from which on a verdict is yes
Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Judgement:
    """One picture: what a critic says of it, and what people do."""

    critic: str
    category: str  # of the prompt
    p_yes: float
    person: bool  # whether the picture shows what was asked for
    at: datetime  # of the people's last answer


@dataclass(frozen=True)
class EstimatedShare:
    """A share with Wilson's interval."""

    value: float
    low: float
    high: float
    of: int

    @staticmethod
    def counted(hits: int, of: int) -> "EstimatedShare":
        return EstimatedShare(hits / of, *wilson(hits, of), of)


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa with its large-sample interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Judgements of about the same p_yes: its mean, and the share that people say yes to."""

    p_yes: float
    person: EstimatedShare


@dataclass(frozen=True)
class Period:
    """Judgements one after another: until when, and the share on which critic and people agree."""

    until: datetime
    accuracy: EstimatedShare


@dataclass(frozen=True)
class Drift:
    """How much more often critic and people agree in the later half of the judgements than in the earlier one."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Threshold:
    """The p_yes from which on yes agrees best with people, and kappa there: measured on what it was chosen by."""

    p_yes: float
    kappa: float


@dataclass(frozen=True)
class Calibration:
    """What is known of one critic, of all prompts or of one category. None where it is not defined."""

    critic: str
    category: str | None
    judgements: int
    accuracy: EstimatedShare
    kappa: Kappa | None  # None: critic or people always say the same
    expected_error: float  # expected calibration error
    brier: float  # mean squared difference between p_yes and what people say
    threshold: Threshold | None
    bins: tuple[Bin, ...]
    periods: tuple[Period, ...]
    drift: Drift | None  # None: too few to be halved

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        periods = [asdict(period) | {"until": period.until.isoformat()} for period in self.periods]
        return asdict(self) | {"bins": [asdict(each) for each in self.bins], "periods": periods}


def calibrations(judgements: Iterable[Judgement]) -> list[Calibration]:
    """Of each critic, by name: of all prompts, then of each category where there are several."""
    by_critic: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_critic[judgement.critic].append(judgement)
    made = []
    for _, judged in sorted(by_critic.items()):
        by_category: dict[str, list[Judgement]] = defaultdict(list)
        for judgement in judged:
            by_category[judgement.category].append(judgement)
        made.append(calibration(judged))
        if len(by_category) > 1:
            made += [calibration(some, category) for category, some in sorted(by_category.items())]
    return made


def calibration(judgements: Sequence[Judgement], category: str | None = None) -> Calibration:
    """Of judgements of one critic, at least one."""
    ordered = sorted(judgements, key=lambda judgement: judgement.at)
    p_yes = np.array([judgement.p_yes for judgement in ordered])
    people = np.array([judgement.person for judgement in ordered])
    right = (p_yes >= EVEN) == people
    bins = reliability(p_yes, people)
    return Calibration(
        critic=ordered[0].critic,
        category=category,
        judgements=len(ordered),
        accuracy=EstimatedShare.counted(int(right.sum()), len(right)),
        kappa=cohens_kappa(p_yes >= EVEN, people),
        expected_error=sum(abs(each.person.value - each.p_yes) * each.person.of for each in bins) / len(right),
        brier=float(((p_yes - people) ** 2).mean()),
        threshold=best_threshold(p_yes, people),
        bins=bins,
        periods=_periods([judgement.at for judgement in ordered], right),
        drift=drift(right),
    )


def cohens_kappa(critic: np.ndarray, people: np.ndarray) -> Kappa | None:
    """Of two (N,) booleans, with the variance of Fleiss, Cohen and Everitt (1969); None where chance explains all."""
    table = np.array([[np.sum((critic == row) & (people == column)) for column in (0, 1)] for row in (0, 1)])
    table = table / len(critic)
    rows, columns = table.sum(1), table.sum(0)
    chance = float(rows @ columns)
    if chance > 1 - 1e-12:
        return None
    value = float((np.trace(table) - chance) / (1 - chance))
    agreeing = sum(table[i, i] * (1 - (rows[i] + columns[i]) * (1 - value)) ** 2 for i in (0, 1))
    differing = (1 - value) ** 2 * sum(table[i, 1 - i] * (columns[i] + rows[1 - i]) ** 2 for i in (0, 1))
    variance = (agreeing + differing - (value - chance * (1 - value)) ** 2) / ((1 - chance) ** 2 * len(critic))
    half = Z * math.sqrt(max(0.0, float(variance)))
    return Kappa(value, value - half, value + half)


def reliability(p_yes: np.ndarray, people: np.ndarray) -> tuple[Bin, ...]:
    """The bins of equal width that have judgements, in order of p_yes."""
    of_bin = np.minimum((p_yes * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(float(p_yes[inside].mean()), EstimatedShare.counted(int(people[inside].sum()), int(inside.sum())))
        for inside in (of_bin == number for number in range(BINS))
        if inside.any()
    )


def best_threshold(p_yes: np.ndarray, people: np.ndarray) -> Threshold | None:
    """The threshold of the highest kappa, the nearest to ½ of several; None where people always say the same."""
    if people.all() or not people.any():
        return None
    order = np.argsort(p_yes, kind="stable")
    ranked, yes = p_yes[order], people[order]
    between = np.flatnonzero(np.diff(ranked)) + 1  # the judgements from here on are yes
    cuts = np.concatenate([[EVEN], (ranked[between - 1] + ranked[between]) / 2])
    first = np.concatenate([[np.searchsorted(ranked, EVEN)], between])
    said_yes = len(ranked) - first
    both = yes.sum() - np.concatenate([[0], np.cumsum(yes)])[first]
    share, all_yes = said_yes / len(ranked), yes.mean()
    observed = 1 - (said_yes + yes.sum() - 2 * both) / len(ranked)
    chance = share * all_yes + (1 - share) * (1 - all_yes)
    kappas = (observed - chance) / (1 - chance)
    best = kappas >= kappas.max() - 1e-12
    at = int(np.flatnonzero(best)[np.argmin(np.abs(cuts[best] - EVEN))])
    return Threshold(float(cuts[at]), float(kappas[at]))


def drift(right: np.ndarray) -> Drift | None:
    """Of (N,) agreements in the order of time, with Newcombe's (1998) interval of a difference of two shares."""
    half = len(right) // 2
    if half < PER_PERIOD:
        return None
    earlier, later = (EstimatedShare.counted(int(part.sum()), len(part)) for part in (right[:half], right[half:]))
    value = later.value - earlier.value
    below = math.hypot(later.value - later.low, earlier.high - earlier.value)
    above = math.hypot(later.high - later.value, earlier.value - earlier.low)
    return Drift(value, value - below, value + above)


def _periods(times: Sequence[datetime], right: np.ndarray) -> tuple[Period, ...]:
    """Of about as many judgements each."""
    parts = np.array_split(np.arange(len(right)), max(1, min(PERIODS, len(right) // PER_PERIOD)))
    return tuple(Period(times[part[-1]], EstimatedShare.counted(int(right[part].sum()), len(part))) for part in parts)
