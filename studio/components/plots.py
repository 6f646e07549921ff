"""Small plots as SVG and HTML: bars, intervals, curves, columns.

Pure functions; positions are percentages, so that a plot is as wide as its place. Every number stands beside its mark
in words, so that no one needs to see the plot.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from typing import NamedTuple

TINTS = ("var(--accent)", "#c98a1b", "#2f8f5b", "#b0476f", "#7a6bb8", "#7d7361")  # of stacked columns


class PlottedInterval(NamedTuple):
    """A number with its interval, None where it has none."""

    name: str
    value: float
    low: float | None
    high: float | None
    note: str = ""


def bars(counts: Mapping[str, int]) -> str:
    """How often each was counted, as bars of shares of all."""
    of = max(1, sum(counts.values()))
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td class="track"><i style="width:{100 * count / of:.1f}%"></i></td>'
        f'<td class="number">{count:,}</td><td class="number soft">{100 * count / of:.0f} %</td></tr>'
        for name, count in counts.items()
    )
    return f'<table class="plot bars">{rows}</table>'


def intervals(rows: Sequence[PlottedInterval], ends: tuple[float, float], *, digits: int = 2) -> str:
    """Every number as a dot on one scale, its interval as a line; the ends of the scale below."""

    def at(value: float) -> float:
        return 100 * (min(max(value, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])

    made = []
    for row in rows:
        whisker, label = "", f"{row.value:.{digits}f}"
        if row.low is not None and row.high is not None:
            whisker = f'<line x1="{at(row.low):.2f}%" x2="{at(row.high):.2f}%" y1="50%" y2="50%"/>'
            label += f' <span class="soft">{row.low:.{digits}f} to {row.high:.{digits}f}</span>'
        zero = f'<line class="zero" x1="{at(0):.2f}%" x2="{at(0):.2f}%" y1="0" y2="100%"/>' if ends[0] < 0 else ""
        dot = f'<circle cx="{at(row.value):.2f}%" cy="50%" r="4.5"/>'
        note = f'<span class="soft">{escape(row.note)}</span>' if row.note else ""
        made.append(
            f"<tr><th>{escape(row.name)}{note}</th>"
            f'<td class="track"><svg aria-hidden="true">{zero}{whisker}{dot}</svg></td>'
            f'<td class="number">{label}</td></tr>'
        )
    scale = f"<span>{ends[0]:g}</span><span>{ends[1]:g}</span>"
    axis = f'<tr class="axis"><td></td><td class="track"><div>{scale}</div></td><td></td></tr>'
    return f'<table class="plot intervals">{"".join(made)}{axis}</table>'


def curve(points: Sequence[PlottedInterval], ends: tuple[float, float]) -> str:
    """A number over time, left to right, its interval as a band; the names are those of the moments."""
    if len(points) < 2:
        return ""

    def x(index: int) -> float:
        return 100 * index / (len(points) - 1)

    def y(value: float) -> float:
        return 100 - 100 * (min(max(value, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])

    line = " ".join(f"{x(i):.2f},{y(point.value):.2f}" for i, point in enumerate(points))
    upper = [f"{x(i):.2f},{y(p.value if p.high is None else p.high):.2f}" for i, p in enumerate(points)]
    lower = [f"{x(i):.2f},{y(p.value if p.low is None else p.low):.2f}" for i, p in enumerate(points)]
    band = " ".join([*upper, *reversed(lower)])
    label = "; ".join(f"{point.name}: {point.value:.2f}" for point in points)
    zero = f'<line x1="0" x2="100" y1="{y(0):.2f}" y2="{y(0):.2f}"/>' if ends[0] < 0 else ""
    return (
        f'<figure class="plot curve"><span class="end">{ends[1]:g}</span><span class="end">{ends[0]:g}</span>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{zero}'
        f'<polygon points="{band}"/><polyline points="{line}"/></svg>'
        f"<figcaption><span>{escape(points[0].name)}</span><span>{escape(points[-1].name)}</span></figcaption></figure>"
    )


def columns(days: Mapping[str, Mapping[str, int]]) -> str:
    """What was counted day by day, in the order given; the people of a day stand on each other, and below who they
    are.
    """
    people = list(dict.fromkeys(name for counts in days.values() for name in counts))
    tint = dict(zip(people, cycle(TINTS), strict=False))
    most = max((sum(counts.values()) for counts in days.values()), default=0) or 1
    stacks = "".join(
        f'<li title="{escape(day)}: {sum(counts.values()):,}">'
        + "".join(
            f'<i style="background:{tint[name]};height:{100 * counts[name] / most:.2f}%"></i>'
            for name in people
            if counts.get(name)
        )
        + "</li>"
        for day, counts in days.items()
    )
    keys = "".join(f'<li><i style="background:{tint[name]}"></i>{escape(name)}</li>' for name in people)
    first, last = next(iter(days), ""), next(reversed(days), "") if len(days) > 1 else ""
    return (
        f'<figure class="plot columns" style="max-width:{64 * max(4, len(days))}px">'
        f'<span class="end">{most:,}</span><ol>{stacks}</ol>'
        f"<figcaption><span>{escape(first)}</span><span>{escape(last)}</span></figcaption>"
        f'<ul class="keys">{keys}</ul></figure>'
    )


class Series(NamedTuple):
    """A curve with its name: places (step, value) in ascending order."""

    name: str
    points: Sequence[tuple[int, float]]


def lines(series: Sequence[Series], end: int) -> str:
    """Curves over each other, from 0 to `end`, on the scale that their values span."""
    values = [value for curve in series for _, value in curve.points]
    if not values:
        return ""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or max(abs(high), 1e-9) * 0.1
    low, high = low - room, high + room

    def place(step: int, value: float) -> str:
        return f"{100 * min(step / max(end, 1), 1):.2f},{100 - 100 * (value - low) / (high - low):.2f}"

    drawn = "".join(
        f'<polyline style="stroke:{tint}" points="{" ".join(place(*point) for point in _drawable(curve.points))}"/>'
        for curve, tint in zip(series, cycle(TINTS), strict=False)
    )
    label = "; ".join(f"{curve.name}: {curve.points[-1][1]:.4g}" for curve in series if curve.points)
    return (
        f'<figure class="plot curve lines"><span class="end">{high - room:.3g}</span>'
        f'<span class="end">{low + room:.3g}</span>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{drawn}</svg>'
        f"<figcaption><span>0</span><span>{end:,}</span></figcaption></figure>"
    )


def line_keys(names: Sequence[str]) -> str:
    """Which of the curves of `lines` is which."""
    marks = zip(names, cycle(TINTS), strict=False)
    return "".join(f'<li><i style="background:{tint}"></i>{escape(name)}</li>' for name, tint in marks)


def _drawable(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """A line needs two ends: a single point is drawn as a short one."""
    return points if len(points) > 1 else [(max(points[0][0] - 1, 0), points[0][1]), *points]
