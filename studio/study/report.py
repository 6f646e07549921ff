"""The results of a study: tables with paired intervals, gains per 100 answers, a plot, JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Plot

from model.evaluation.bootstrap import Figure, difference, interval
from studio.study.arms import Arm, Figures

SHOWN = ("final image", "verdict, balanced")  # in the plot
COLOURS = {"corrections": "#3b4cc0", "control": "#707070", "critic": "#e0872d"}


@dataclass
class Results:
    """Figures of the checkpoint that the study starts from, and of every arm after every stage."""

    start: Figures
    arms: dict[Arm, dict[str, Figures]] = field(default_factory=dict)

    def control(self, arm: Arm) -> Arm | None:
        """The control of an arm: of its seed, of its size or else the largest."""
        others = [other for other in self.arms if other.source == "control" and other.seed == arm.seed]
        return max(others, key=lambda other: (other.size == arm.size, other.size), default=None)


def lines(results: Results) -> Iterator[str]:
    """For every split, arm, stage and row: the value, and the differences from the start, the stage before and the
    control."""
    for split, rows in results.start.items():
        yield f"{split} ({next(iter(rows.values())).prompts} held-out prompts, without a plan)"
        yield f"  {'':34}{'value':>18}{'− start':>26}{'− stage before':>26}{'− control':>26}{'per 100':>9}"
        for row, before in rows.items():
            yield f"  {row:34}{share(before):>18}"
            for arm, stages in results.arms.items():
                for stage, earlier in zip(stages, (None, *stages), strict=False):
                    yield _line(results, arm, stage, earlier, split, row)


def _line(results: Results, arm: Arm, stage: str, earlier: str | None, split: str, row: str) -> str:
    stages, start = results.arms[arm], results.start[split][row]
    value, control = stages[stage][split][row], results.control(arm)
    previous = stages[earlier][split][row] if earlier is not None else None
    compared = None if control in (None, arm) else results.arms[control].get(stage, {}).get(split, {}).get(row)
    gain = difference(value, start)
    each = f"{100 * gain[0] / arm.size * 100:+.2f}" if gain and arm.source == "corrections" else ""
    name = f"    {arm.source} {arm.size}, seed {arm.seed}, {stage}"
    since = points(difference(value, previous)) if previous is not None else ""
    against = points(difference(value, compared)) if compared is not None else ""
    return f"{name:36}{share(value):>18}{points(gain):>26}{since:>26}{against:>26}{each:>9}"


def share(figure: Figure) -> str:
    between = interval(figure)
    if figure.value is None or between is None:
        return "–"
    return f"{figure.value:.1%} {100 * between[0]:.1f}–{100 * between[1]:.1f}"


def points(change: tuple[float, float, float] | None) -> str:
    """A difference in points with its interval."""
    return "–" if change is None else "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in change))


def to_json(results: Results, about: Mapping[str, Any]) -> dict[str, Any]:
    def plain(figures: Figures) -> dict[str, Any]:
        return {
            split: {row: {"value": figure.value, "interval": interval(figure)} for row, figure in rows.items()}
            for split, rows in figures.items()
        }

    arms = []
    for arm, stages in results.arms.items():
        control = results.control(arm)
        for stage, figures in stages.items():
            others = {} if control in (None, arm) else results.arms[control].get(stage, {})
            change = {
                split: {
                    row: {
                        "minus_start": difference(figure, results.start[split][row]),
                        "minus_control": difference(figure, others[split][row]) if others else None,
                    }
                    for row, figure in rows.items()
                }
                for split, rows in figures.items()
            }
            arms.append(vars(arm) | {"stage": stage, "figures": plain(figures), "differences": change})
    return dict(about) | {"start": plain(results.start), "arms": arms}


def plot(results: Results, path: Path) -> None:
    """A row for every figure of SHOWN, a column for every split: values over the number of answers, by source, seed and
    stage; the dashed line is the checkpoint that the study started from."""
    splits = list(results.start)
    picture = Plot(figsize=(4.2 * len(splits), 2.8 * len(SHOWN)), layout="constrained")
    axes = picture.subplots(len(SHOWN), len(splits), squeeze=False)
    for row, across in zip(SHOWN, axes, strict=True):
        for split, at in zip(splits, across, strict=True):
            start = results.start[split][row].value
            if start is not None:
                at.axhline(start, color="#202020", linewidth=0.8, linestyle="--", label="start")
            for (source, stage, seed), values in _curves(results, split, row).items():
                style = "-" if stage == "sft" else ":"
                label = f"{source}, {stage}" if seed == min(arm.seed for arm in results.arms) else None
                at.plot(*zip(*values, strict=True), style, marker=".", color=COLOURS.get(source), label=label)
            at.set_xscale("log")
            at.set_title(f"{split}: {row}", loc="left", fontsize=9)
            at.set_xlabel("answered items (simulated annotators)", fontsize=8)
            at.tick_params(labelsize=8)
            at.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False, fontsize=7)
    picture.savefig(path, dpi=150)


def _curves(results: Results, split: str, row: str) -> dict[tuple[str, str, int], list[tuple[int, float]]]:
    by_key: dict[tuple[str, str, int], list[tuple[int, float]]] = {}
    for arm, stages in sorted(results.arms.items(), key=lambda pair: pair[0].size):
        for stage, figures in stages.items():
            value = figures[split][row].value
            if value is not None:
                by_key.setdefault((arm.source, stage, arm.seed), []).append((arm.size, value))
    return by_key
