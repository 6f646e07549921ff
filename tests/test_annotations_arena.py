"""Bradley–Terry scores against arithmetic by hand, a published table, and contestants whose strength is known."""

import math

import numpy as np
import pytest

from annotations.errors import AnswerError
from annotations.metrics.bradley_terry import PairVote, RankedContestant, Vote, points, rank

# Agresti, “Categorical Data Analysis”: games of the American League's eastern division in 1987, row over column, and
# the scores he reports relative to Baltimore.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
GAMES = (
    (0, 7, 9, 7, 7, 9, 11),
    (6, 0, 7, 5, 11, 9, 9),
    (4, 6, 0, 7, 7, 8, 12),
    (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12),
    (4, 4, 5, 6, 6, 0, 6),
    (2, 4, 1, 3, 1, 7, 0),
)
PUBLISHED = (1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0)


def votes(winner: str, loser: str, count: int) -> list[Vote]:
    """Wins, half of them on each side."""
    return [Vote(winner, loser, "left") if n % 2 else Vote(loser, winner, "right") for n in range(count)]


def simulated(strengths: dict[str, float], count: int, seed: int, ties: float = 0.0) -> list[Vote]:
    """Votes drawn from the model; a share of them ties (Davidson's model, in which likelier equals tie more)."""
    rng, names, made = np.random.default_rng(seed), list(strengths), []
    for _ in range(count):
        left, right = rng.choice(len(names), 2, replace=False)
        a, b = (math.exp(strengths[names[i]]) for i in (left, right))
        weights = np.array([a, b, ties * math.sqrt(a * b)])
        choice = rng.choice(["left", "right", "tie"], p=weights / weights.sum())
        made.append(Vote(names[left], names[right], choice))
    return made


def lead(standings: list[RankedContestant], first: str, other: str) -> float:
    """How far one contestant is ahead of another."""
    scores = {standing.name: standing.score for standing in standings}
    return scores[first] - scores[other]


def test_two_contestants_by_hand():
    standings = rank(votes("a", "b", 3) + votes("b", "a", 1), prior=1e-9)
    first = standings[0]
    assert lead(standings, "a", "b") == pytest.approx(math.log(3), abs=1e-6)  # odds of three to one
    assert first.high - first.score == pytest.approx(1.959964 / math.sqrt(4 * 0.75 * 0.25) / 2, abs=1e-5)
    assert [s.score for s in standings] == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-6)


def test_a_tie_and_both_bad_are_half_a_win_for_each():
    ties = [Vote("a", "b", PairVote.TIE), Vote("b", "a", PairVote.BOTH_BAD)]
    standings = rank(votes("a", "b", 2) + ties, prior=1e-9)
    assert lead(standings, "a", "b") == pytest.approx(math.log(3), abs=1e-6)  # three wins of four
    best = standings[0]
    assert (best.name, best.wins, best.losses, best.ties, best.both_bad) == ("a", 2, 0, 1, 1)


def test_a_published_table_has_its_published_scores():
    games = [v for i, row in enumerate(GAMES) for j, n in enumerate(row) for v in votes(TEAMS[i], TEAMS[j], n)]
    standings = rank(games, prior=1e-9)
    assert [round(lead(standings, team, "Baltimore"), 2) for team in TEAMS] == list(PUBLISHED)
    assert [s.name for s in standings] == list(TEAMS)
    shrunk = rank(games)
    assert [lead(shrunk, team, "Baltimore") for team in TEAMS] == pytest.approx(PUBLISHED, abs=0.07)


def test_the_prior_solves_its_own_equation():
    """One undefeated contestant, three votes: 3 (1 − σ(2t)) = prior (2 σ(t) − 1), solved here by halving."""
    low, high = 0.0, 20.0
    for _ in range(100):
        middle = (low + high) / 2
        chance, average = 1 / (1 + math.exp(-2 * middle)), 1 / (1 + math.exp(-middle))
        low, high = (middle, high) if 3 * (1 - chance) > 0.5 * (2 * average - 1) else (low, middle)
    assert lead(rank(votes("a", "b", 3)), "a", "b") == pytest.approx(2 * low, abs=1e-8)


def test_an_undefeated_contestant_is_first_and_unsure():
    standings = rank(votes("new", "old", 3) + votes("old", "worse", 40) + votes("worse", "old", 20))
    assert [s.name for s in standings] == ["new", "old", "worse"]
    unsure, _, sure = standings
    assert math.isfinite(unsure.score)
    assert unsure.high - unsure.low > 1.5 * (sure.high - sure.low)
    assert unsure.low < 0  # three wins prove little


def test_more_votes_on_an_undefeated_contestant_raise_its_score():
    few, many = (rank(votes("new", "old", count))[0] for count in (2, 200))
    assert 0 < few.score < many.score < 10
    assert many.low > 0 > few.low


def test_contestants_without_a_chain_of_votes_are_not_compared():
    standings = rank(votes("a", "b", 9) + votes("b", "c", 1) + votes("x", "y", 5))
    assert [(s.name, s.group) for s in standings] == [("a", 0), ("b", 0), ("c", 0), ("x", 1), ("y", 1)]
    assert lead(standings, "a", "c") > 0
    for group in (0, 1):
        assert sum(s.score for s in standings if s.group == group) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("ties", [0.0, 0.8])
def test_true_strengths_lie_in_their_intervals_as_often_as_promised(ties: float):
    strengths = {"a": 1.2, "b": 0.5, "c": 0.1, "d": -0.3, "e": -0.5, "f": -1.0}
    held = []
    for seed in range(60):
        found = {standing.name: standing for standing in rank(simulated(strengths, 400, seed, ties))}
        if not ties:  # with ties, half wins stand for another slope; the order stays
            held += [found[name].low <= strength <= found[name].high for name, strength in strengths.items()]
        assert found["a"].low > found["f"].high
    assert ties or 0.92 <= np.mean(held) <= 0.98


def test_a_hundred_contestants_take_a_moment_and_keep_their_order():
    rng = np.random.default_rng(0)
    strengths = {f"c{n:03d}": float(s) for n, s in enumerate(rng.normal(size=100))}
    scores = {standing.name: standing.score for standing in rank(simulated(strengths, 20_000, seed=1))}
    found = np.array([scores[name] for name in strengths])
    assert np.corrcoef(found, list(strengths.values()))[0, 1] > 0.98


def test_nothing_voted_on_is_an_empty_ranking_and_a_vote_on_itself_says_nothing():
    assert rank([]) == []
    assert rank([Vote("a", "a", "left")]) == []


def test_a_choice_that_is_none_is_told():
    with pytest.raises(AnswerError, match="got the choice 'top', wanted one of: left, right, tie, both_bad"):
        rank([Vote("a", "b", "top")])
    with pytest.raises(ValueError, match="wanted more than 0"):
        rank(votes("a", "b", 1), prior=0)


def test_points_are_those_of_chess():
    assert points(0) == 1000
    assert points(math.log(10)) == pytest.approx(1400)
