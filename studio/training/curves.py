"""Metrics of a run, from its log of JSON lines: rate, curves, evaluations. Pure functions of a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from model.training.runs.metric_descriptions import NO_METRICS, metric_description
from studio.components.plots import Series, line_keys, lines
from studio.components.render import escaped

MOST_POINTS = 160  # of a curve; more are averaged
WARM = 2  # steps that are left out of the rate
LAST = ("gradient_norm", "learning_rate", "tokens_per_second", "shared", "padding")  # shown after all others


class Point(NamedTuple):
    """A metric after a step."""

    step: int
    value: float


def read_metrics(path: Path) -> Sequence[Mapping[str, float]]:
    """The rows of a log, in order; none where there is no file, and without a last one that is being written."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return _rows(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=32)
def _rows(path: Path, size: int, changed: int) -> tuple[Mapping[str, float], ...]:
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return tuple(rows)


def seconds_per_step(path: Path) -> float | None:
    """As measured in a run, its first steps left out; None where there are too few."""
    rows = [row for row in read_metrics(path) if isinstance(row.get("seconds"), int | float)]
    times = [(row["step"], row["seconds"]) for row in rows]
    ascending = [
        (after[1] - before[1]) / (after[0] - before[0])
        for before, after in pairwise(times)
        if after[0] > before[0] and after[1] > before[1]  # not over a resume
    ][WARM:]
    return sum(ascending) / len(ascending) if ascending else None


def curves_of(rows: Iterable[Mapping[str, float]]) -> dict[str, list[Point]]:
    """Every metric over the steps; of reinforcement learning the rewards first, and what says little last."""
    curves: dict[str, list[Point]] = {}
    for row in rows:
        step = int(row["step"]) + 1
        for name, value in row.items():
            if name not in NO_METRICS and isinstance(value, int | float):
                curves.setdefault(name, []).append(Point(step, float(value)))
    return dict(sorted(curves.items(), key=lambda named: _rank(named[0])))


def _rank(name: str) -> int:
    if name in LAST:
        return 3
    return 0 if name in ("loss", "kl", "evaluated_mean") or "reward" in name else 1


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most MOST_POINTS, each the mean of its neighbours."""
    size = -(-len(points) // MOST_POINTS)
    groups = [points[at : at + size] for at in range(0, len(points), size)] if points else []
    return [Point(group[-1].step, sum(point.value for point in group) / len(group)) for group in groups]


def curves_html(runs: Mapping[str, Sequence[Mapping[str, float]]], steps: int) -> str:
    """A plot for every metric, with a curve for every run, by its name."""
    each = {name: curves_of(rows) for name, rows in runs.items()}
    metrics = list(dict.fromkeys(metric for curves in each.values() for metric in curves))
    plots = "".join(
        _plot(metric, {name: curves.get(metric, []) for name, curves in each.items()}, steps) for metric in metrics
    )
    keys = f'<ul class="keys">{line_keys([*runs])}</ul>' if len(runs) > 1 else ""
    return f'{keys}<div class="curves">{plots}</div>' if plots else ""


def _plot(metric: str, curves: Mapping[str, Sequence[Point]], steps: int) -> str:
    last = " · ".join(f"{curve[-1].value:.4g}" for curve in curves.values() if curve)
    series = [Series(name, thinned(curve)) for name, curve in curves.items() if curve]
    return f"<section><h4>{metric_name(metric)} <b>{last}</b></h4>{lines(series, steps)}</section>"


def metric_name(metric: str) -> str:
    """A metric's title as HTML, with what it measures on hover and for screen readers."""
    title, known = escaped(metric_title(metric)), metric_description(metric)
    if known is None:
        return title
    return f'<abbr title="{escaped(known)}">{title}</abbr><span class="sr-only">: {escaped(known)}</span>'


def metric_title(metric: str) -> str:
    """“gradient norm”."""
    return metric.replace("_", " ").replace("/", " / ")
