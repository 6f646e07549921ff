"""Proportions, means and bootstrap confidence intervals over prompts.

Shapes: N prompts, R resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

# Rows of evaluation tables by the names that older runs wrote.
FORMER_ROWS = {"flagged drafts mended": "flagged drafts repaired", "right drafts spoiled": "right drafts damaged"}

RESAMPLES = 2000
LEVEL = 0.95
FEWEST = 6  # prompts before a difference is called one: if 5 all change alike, a sign test says p = 0.06
NO_DIFFERENCE = "no clear difference"  # in tables


class Figure(Protocol):
    """A number that was counted over prompts, and can be counted again over others drawn from them."""

    @property
    def prompts(self) -> int: ...

    @property
    def value(self) -> float | None: ...

    def resampled(self, picks: np.ndarray) -> np.ndarray:
        """(R,) values for int (R, N) prompt indices; NaN where there is nothing to count."""


@dataclass(frozen=True, eq=False)
class Proportion:
    """How many of how many, per prompt: two arrays (N,)."""

    counted: np.ndarray
    of: np.ndarray

    @staticmethod
    def from_pairs(pairs: Sequence[tuple[float, float]]) -> "Proportion":
        counted, of = np.array(list(pairs), dtype=float).reshape(-1, 2).T
        return Proportion(counted, of)

    @property
    def prompts(self) -> int:
        return len(self.of)

    @property
    def value(self) -> float | None:
        return float(self.counted.sum() / self.of.sum()) if self.of.sum() else None

    def resampled(self, picks: np.ndarray) -> np.ndarray:
        of = self.of[picks].sum(1)
        return np.divide(self.counted[picks].sum(1), of, out=np.full(len(picks), np.nan), where=of > 0)


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of several figures over the same prompts, such as balanced accuracy."""

    parts: tuple[Figure, ...]

    @property
    def prompts(self) -> int:
        return self.parts[0].prompts

    @property
    def value(self) -> float | None:
        values = [part.value for part in self.parts]
        return None if None in values else sum(values) / len(values)

    def resampled(self, picks: np.ndarray) -> np.ndarray:
        return np.mean([part.resampled(picks) for part in self.parts], axis=0)


def to_counts(figure: Figure) -> dict[str, Any]:
    """A figure as plain values, per prompt, from which `from_counts` makes it again."""
    if isinstance(figure, Mean):
        return {"parts": [to_counts(part) for part in figure.parts]}
    assert isinstance(figure, Proportion)
    return {"counted": figure.counted.tolist(), "of": figure.of.tolist()}


def from_counts(counts: Mapping[str, Any]) -> Figure:
    if "parts" in counts:
        return Mean(tuple(from_counts(part) for part in counts["parts"]))
    return Proportion(np.array(counts["counted"], dtype=float), np.array(counts["of"], dtype=float))


def interval(figure: Figure, seed: int = 0) -> tuple[float, float] | None:
    """The bootstrap interval of a figure; None where there is nothing to count."""
    return None if figure.value is None else _middle(figure.resampled(_picks(figure.prompts, seed)))


def difference(figure: Figure, other: Figure, seed: int = 0) -> tuple[float, float, float] | None:
    """one − other over the same prompts: its value and its paired bootstrap interval."""
    if figure.prompts != other.prompts:
        raise ValueError(
            f"got figures over {figure.prompts} and {other.prompts} prompts; a pair must share its prompts"
        )
    if figure.value is None or other.value is None:
        return None
    picks = _picks(figure.prompts, seed)
    return (figure.value - other.value, *_middle(figure.resampled(picks) - other.resampled(picks)))


def clear_sign(figure: Figure, other: Figure) -> int | None:
    """Whether one − other is clearly above 0 (1) or below it (−1): its paired interval leaves out 0, and FEWEST prompts
    or more count in both; else 0. None where either has no value."""
    change = difference(figure, other)
    if change is None:
        return None
    _, low, high = change
    if min(counting(figure), counting(other)) < FEWEST:
        return 0
    return (low > 0) - (high < 0)


def counting(figure: Figure) -> int:
    """How many prompts have something that is counted; of a mean, in the part that has the fewest."""
    if isinstance(figure, Mean):
        return min(map(counting, figure.parts))
    return int((figure.of > 0).sum()) if isinstance(figure, Proportion) else figure.prompts


def _picks(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))


def _middle(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """The chance that a positive's score is above a negative's, ties half; None without both kinds."""
    scores, positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        return None
    return float(((above[:, None] > below).mean() + (above[:, None] >= below).mean()) / 2)


def points(interval: tuple[float, float, float] | None) -> str:
    """“+1.2 points (-0.3 to +2.7)” of a paired difference of shares and its interval; a dash for None."""
    return (
        "–" if interval is None else "{:+.1f} points ({:+.1f} to {:+.1f})".format(*(100 * value for value in interval))
    )
