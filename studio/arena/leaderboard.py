"""Standings of a pair project as HTML: scores, intervals, votes.

Pure functions from what was answered to HTML; the arithmetic is that of `annotations.metrics.bradley_terry`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from annotations.metrics.bradley_terry import RankedContestant, Vote, points, rank
from annotations.schema.forms.preference import Preference
from annotations.schema.project_answers import ProjectAnswers
from annotations.schema.questions import Question
from model.trajectory import Trajectory
from studio.components.plots import PlottedInterval, intervals
from studio.components.render import isolated
from studio.projects.item_sources import WITHOUT_PLAN, way_of


def contestants(known: Iterable[Trajectory]) -> dict[str, str]:
    """Who drew each, by its id; “without a plan” is said only of those who also draw with one."""
    ways = {trajectory.id: way_of(trajectory) for trajectory in known}
    drawers = {id: way.removesuffix(WITHOUT_PLAN) for id, way in ways.items()}
    return {id: way if drawers[id] in ways.values() else drawers[id] for id, way in ways.items()}


def votes(answers: ProjectAnswers, question: Question, names: Mapping[str, str]) -> list[Vote]:
    """What people said of every pair; pairs of which a drawing was deleted since count no more."""
    preferences = [a.answers[question.name] for a in answers.submitted if question.name in a.answers]
    shown = [value for value in preferences if value["left"] in names and value["right"] in names]
    return [Vote(names[value["left"]], names[value["right"]], value["choice"]) for value in shown]


def leaderboard(answers: ProjectAnswers, known: Sequence[Trajectory]) -> str:
    """The ranking by every question that compares two."""
    names = contestants(known)
    boards = []
    for question in answers.project.questions:
        if isinstance(question.form, Preference) and (standings := rank(votes(answers, question, names))):
            boards.append(f"<section><h3>{isolated(question.title)}</h3>{leaderboard_table(standings)}</section>")
    if not boards:
        return '<p class="none">Nobody has compared anything yet; then who draws better will stand here.</p>'
    what = (
        "Bradley–Terry points, with 95 % intervals: 1000 is the mean, 400 more are odds of ten to one. Equal and both "
        "bad are half a win for each."
    )
    return f'<div class="dashboard"><p class="soft">{what}</p>{"".join(boards)}</div>'


def leaderboard_table(standings: Sequence[RankedContestant]) -> str:
    """Group by group: scores compare within a group only."""
    groups: dict[int, list[RankedContestant]] = {}
    for standing in standings:
        groups.setdefault(standing.group, []).append(standing)
    lows, highs = ([points(getattr(s, end)) for s in standings] for end in ("low", "high"))
    ends = 100.0 * math.floor(min(lows) / 100), 100.0 * math.ceil(max(highs) / 100)
    apart = '<p class="soft">Nobody has compared these with those above:</p>'
    return apart.join(intervals([_estimate(one) for one in group], ends, digits=0) for group in groups.values())


def _estimate(standing: RankedContestant) -> PlottedInterval:
    note = f"{standing.wins:,} won, {standing.losses:,} lost, {standing.ties:,} equal, {standing.both_bad:,} both bad"
    return PlottedInterval(standing.name, points(standing.score), points(standing.low), points(standing.high), note)
