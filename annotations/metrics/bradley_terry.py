"""Bradley–Terry scores of checkpoints from blind pair votes, with 95 % intervals.

Pure arithmetic over votes; it knows no store and no page. The chance that one contestant is preferred to another is
1 / (1 + exp(other's score − one's score)).

A tie, and “both bad”, is half a win for each: it says that the two are alike, not how good they are, so “both bad” is
also counted by itself. Every contestant is given PRIOR wins and PRIOR losses against an imagined average one. That
keeps the score of somebody undefeated finite (and its interval wide), and shrinks others the less the more votes they
have. Contestants whom no chain of votes connects are in different groups: scores compare within a group only, where
their mean is zero. Intervals follow from the curvature of the likelihood; they take votes as independent, and ties as
no more telling than other votes, which makes them rather too wide where ties are many.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from annotations.errors import AnswerError

PRIOR = 0.5
Z = 1.959964  # of a 95 % interval
STEPS = 200  # of Newton's method, which needs about ten


class PairVote(StrEnum):
    """What somebody said of two pictures."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    BOTH_BAD = "both_bad"


class Vote(NamedTuple):
    """Whose pictures were shown where, and which was preferred."""

    left: str
    right: str
    choice: PairVote | str


@dataclass(frozen=True)
class RankedContestant:
    """One contestant's place. `group` numbers those who can be compared, the largest first."""

    name: str
    score: float  # natural logarithm of odds; the mean of the group is zero
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    both_bad: int
    group: int


def points(score: float) -> float:
    """A score on the scale of chess: 1000 is the mean, 400 more are odds of ten to one."""
    return 1000 + 400 / math.log(10) * score


def rank(votes: Iterable[Vote], *, prior: float = PRIOR) -> list[RankedContestant]:
    """Everybody's score, group by group, the best first. Votes of a contestant on itself count for nothing.

    Raises AnswerError for a choice that is none, and ValueError for a prior that is not positive.
    """
    if prior <= 0:
        raise ValueError(
            f"got the prior {prior}, wanted more than 0: without one an undefeated contestant has no score"
        )
    names, tallies = _tally(votes)
    wins = (
        tallies[PairVote.LEFT] + (tallies[PairVote.TIE] + tallies[PairVote.BOTH_BAD]) / 2
    )  # (N, N): of row over column
    scores, covariance = _fit(wins, prior)
    groups = _groups(wins + wins.T)
    scores, covariance = _centred(scores, covariance, groups)
    errors = Z * np.sqrt(np.maximum(np.diag(covariance), 0))
    standings = [
        RankedContestant(
            name,
            float(scores[i]),
            float(scores[i] - errors[i]),
            float(scores[i] + errors[i]),
            wins=int(tallies[PairVote.LEFT][i].sum()),
            losses=int(tallies[PairVote.LEFT][:, i].sum()),
            ties=int(tallies[PairVote.TIE][i].sum()),
            both_bad=int(tallies[PairVote.BOTH_BAD][i].sum()),
            group=int(groups[i]),
        )
        for i, name in enumerate(names)
    ]
    return sorted(standings, key=lambda s: (s.group, -s.score, s.name))


def _tally(votes: Iterable[Vote]) -> tuple[list[str], dict[PairVote, np.ndarray]]:
    """(N, N) counts: wins of row over column (by LEFT), and ties of both kinds, symmetric."""
    counted = [vote for vote in map(_checked, votes) if vote.left != vote.right]
    names = sorted({name for vote in counted for name in vote[:2]})
    place = {name: index for index, name in enumerate(names)}
    tallies = {
        choice: np.zeros((len(names), len(names))) for choice in (PairVote.LEFT, PairVote.TIE, PairVote.BOTH_BAD)
    }
    for left, right, choice in counted:
        i, j = place[left], place[right]
        match choice:
            case PairVote.LEFT:
                tallies[PairVote.LEFT][i, j] += 1
            case PairVote.RIGHT:
                tallies[PairVote.LEFT][j, i] += 1
            case _:
                tallies[choice][i, j] += 1
                tallies[choice][j, i] += 1
    return names, tallies


def _checked(vote: Vote) -> Vote:
    left, right, choice = vote
    try:
        return Vote(left, right, PairVote(choice))
    except ValueError as error:
        raise AnswerError(f"got the choice {choice!r}, wanted one of: {', '.join(PairVote)}") from error


def _fit(wins: np.ndarray, prior: float) -> tuple[np.ndarray, np.ndarray]:
    """The most probable scores (N,) and their covariance (N, N): Newton's method, a step halved until it climbs."""
    scores = np.zeros(len(wins))
    for _ in range(STEPS):
        gradient, curvature = _slope(wins, prior, scores)
        step = np.linalg.solve(curvature, gradient)
        before, size = _plausibility(wins, prior, scores), 1.0
        while _plausibility(wins, prior, scores + size * step) < before and size > 1e-6:
            size /= 2
        scores = scores + size * step
        if np.abs(step).max(initial=0) < 1e-10:
            break
    return scores, np.linalg.inv(_slope(wins, prior, scores)[1])


def _plausibility(wins: np.ndarray, prior: float, scores: np.ndarray) -> float:
    """Logarithm of likelihood and prior."""
    beats = -np.logaddexp(0, scores[None] - scores[:, None])  # (N, N): log of the chance of row over column
    average = -np.logaddexp(0, scores) - np.logaddexp(0, -scores)
    return float((wins * beats).sum() + prior * average.sum())


def _slope(wins: np.ndarray, prior: float, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of the plausibility (N,) and its negative second derivative (N, N)."""
    chance = _logistic(scores[:, None] - scores[None])
    met = wins + wins.T
    average = _logistic(scores)
    gradient = wins.sum(1) - (met * chance).sum(1) + prior * (1 - 2 * average)
    information = met * chance * chance.T
    return gradient, np.diag(information.sum(1) + 2 * prior * average * (1 - average)) - information


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def _groups(met: np.ndarray) -> np.ndarray:
    """(N,): which contestants are connected by votes; the largest group is 0."""
    left, groups = set(range(len(met))), []
    while left:
        edge = [min(left)]
        group = set(edge)
        while edge:
            near = set(np.flatnonzero(met[edge.pop()]).tolist()) - group
            group |= near
            edge += near
        left -= group
        groups.append(sorted(group))
    numbers = np.zeros(len(met), dtype=int)
    for number, group in enumerate(sorted(groups, key=lambda g: (-len(g), g))):
        numbers[group] = number
    return numbers


def _centred(scores: np.ndarray, covariance: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores relative to the mean of their group, and the covariance of that."""
    same = groups[:, None] == groups[None]
    centre = np.eye(len(groups)) - same / np.maximum(same.sum(1, keepdims=True), 1)
    return centre @ scores, centre @ covariance @ centre.T
