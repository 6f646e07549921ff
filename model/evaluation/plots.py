"""Learning curves of runs and bar charts of checkpoints.

    python -m model.evaluation.plots model/weights/sft/log.jsonl model/weights/rl/log.jsonl --out curves.png
    python -m model.evaluate --compare sft rl --prompts 300 --json > results.json
    python -m model.evaluation.plots results.json --out bars.png

Learning curves are drawn from logs of training runs, bars and lines from what the evaluation printed.
"""

import argparse
import itertools
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model.evaluation.report import HEADLINES

# What is shown of a log, where it has it: the panel's title, and metrics with the names they get.
PANELS: dict[str, dict[str, str]] = {
    "loss": {"codes": "image codes", "text": "text", "verdict": "verdict"},
    "right": {
        "verdicts_right": "verdicts",
        "first_right": "first drafts",
        "final_right": "final images",
        "verdict_right": "verdicts",
    },
    "reward": {"r_gen": "drawing", "r_comp": "judging"},
    "policy": {"kl": "KL to the start, nats", "entropy": "entropy, nats"},
}
ROWS = (*HEADLINES, "edits right")
VERDICT = "verdict, balanced"
NUMBERED = re.compile(r"(edits|facts) (\d+): (.+)")
COLOURS = ("#3b4cc0", "#e0872d", "#3a9162", "#b8435a", "#7a5fa8", "#707070")


class LogError(ValueError):
    """A training log that cannot be read."""


def read_log(path: Path) -> pd.DataFrame:
    """One row per step; of steps that were done again after a resume, the last. Raises LogError."""
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise LogError(f"{path}: {error}; give a .jsonl that a training run wrote") from error
    if not rows or any("step" not in row for row in rows):
        raise LogError(f"{path} has a line without a step; give a .jsonl that a training run wrote")
    return pd.DataFrame(rows).drop_duplicates("step", keep="last").set_index("step").sort_index()


def curves(logs: Mapping[str, pd.DataFrame]) -> Figure:
    """A row of panels for every run, each metric as it was and as its mean over a twentieth of the run."""
    panels = {name: [title for title, known in PANELS.items() if _shown(log, known)] for name, log in logs.items()}
    figure = Figure(figsize=(3.6 * max(map(len, panels.values())), 2.8 * len(logs)), layout="constrained")
    axes = figure.subplots(len(logs), max(map(len, panels.values())), squeeze=False)
    for row, (name, log) in zip(axes, logs.items(), strict=True):
        for at in row[len(panels[name]) :]:
            at.set_axis_off()
        for at, title in zip(row, panels[name], strict=False):
            _panel(at, log, PANELS[title])
            at.set_title(f"{name}: {title}", loc="left", fontsize=10)
    return figure


def _panel(at: Axes, log: pd.DataFrame, known: Mapping[str, str]) -> None:
    shown = _shown(log, known)
    for metric, colour in zip(shown, COLOURS, strict=False):
        at.plot(log.index, log[metric], color=colour, alpha=0.2, linewidth=0.7)
        smooth = log[metric].rolling(max(1, len(log) // 20), min_periods=1).mean()
        at.plot(log.index, smooth, color=colour, label=known[metric])
    values = log[shown].stack().quantile([0.0, 0.98])
    at.set_ylim(min(0, values.iloc[0]), values.iloc[1] * 1.1 or 1)
    at.set_xlabel("step", fontsize=8)
    at.tick_params(labelsize=8)
    at.legend(frameon=False, fontsize=8)
    at.spines[["top", "right"]].set_visible(False)


def _shown(log: pd.DataFrame, known: Mapping[str, str]) -> list[str]:
    """The metrics of a panel that a run has; a task that it does not teach stays at 0."""
    return [metric for metric in known if metric in log and log[metric].any()]


def read_results(path: Path) -> dict:
    """What `python -m model.evaluate --json` printed: checkpoint → setting → figure. Raises LogError."""
    try:
        results = json.loads(path.read_text("utf-8"))
        [row["value"] for result in results.values() for rows in result.values() for row in rows.values()]
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise LogError(f"{path}: {error}; give what python -m model.evaluate --json printed") from error
    return results


Rows = Mapping[str, Mapping]  # row → {"value": …, "interval": [low, high], …}


def panels(results: Mapping[str, Mapping[str, Rows]]) -> Figure:
    """Of every setting a panel: for each headline a bar per checkpoint, with its interval; where rows are numbered
    (“edits 1: …”, “facts 2: …”) a line per checkpoint and row over the numbers."""
    shown = {
        setting: known
        for setting in dict.fromkeys(name for result in results.values() for name in result)
        if any(map(_numbered, known := [result.get(setting, {}) for result in results.values()]))
        or any(_headlines(rows) for rows in known)
    }
    figure = Figure(figsize=(6.8, 2.6 * len(shown)), layout="constrained")
    for at, (setting, known) in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown.items(), strict=True):
        draw = _lines if any(map(_numbered, known)) else _bars
        draw(at, dict(zip(results, known, strict=True)))
        at.set_ylim(0, 1)
        at.set_title(setting, loc="left", fontsize=10)
        at.tick_params(labelsize=8)
        at.spines[["top", "right"]].set_visible(False)
        if at.get_legend_handles_labels()[1]:
            at.legend(frameon=False, fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _bars(at: Axes, results: Mapping[str, Rows]) -> None:
    rows = list(dict.fromkeys(row for result in results.values() for row in _headlines(result)))
    width = 0.8 / len(results)
    for number, (checkpoint, result) in enumerate(results.items()):
        shown = [(x, result[row]) for x, row in enumerate(rows) if result.get(row, {}).get("value") is not None]
        left = [x + (number - (len(results) - 1) / 2) * width for x, _ in shown]
        heights = [figure["value"] for _, figure in shown]
        at.bar(left, heights, width * 0.92, color=COLOURS[number % len(COLOURS)], label=checkpoint)
        if shown:
            at.vlines(left, *zip(*(figure["interval"] for _, figure in shown), strict=True), color="#202020", lw=1)
    at.set_xticks(range(len(rows)), [row.removesuffix(f": {VERDICT}") for row in rows])


def _headlines(rows: Rows) -> list[str]:
    return [row for row in rows if row in ROWS or row.endswith(f": {VERDICT}")]


def _lines(at: Axes, results: Mapping[str, Rows]) -> None:
    """A colour for each row, a line style for each checkpoint; a band is the interval."""
    names = list(dict.fromkeys(name for result in results.values() for name in _numbered(result)))
    for (checkpoint, result), style in zip(results.items(), itertools.cycle(("-", "--", ":", "-."))):
        for name, colour in zip(names, itertools.cycle(COLOURS)):
            points = [(x, row) for x, row in _numbered(result).get(name, []) if row["value"] is not None]
            if points:
                numbers = [x for x, _ in points]
                low, high = zip(*(row["interval"] for _, row in points), strict=True)
                label = f"{name}, {checkpoint}" if len(results) > 1 else name
                at.plot(numbers, [row["value"] for _, row in points], style, color=colour, label=label, marker=".")
                at.fill_between(numbers, low, high, color=colour, alpha=0.12, linewidth=0)
    kind = next(NUMBERED.match(row)[1] for result in results.values() for row in result)
    at.set_xlabel(kind, fontsize=8)
    at.xaxis.set_major_locator(MaxNLocator(integer=True))


def _numbered(rows: Rows) -> dict[str, list[tuple[int, Mapping]]]:
    """Of rows such as “edits 1: repaired” the numbers and figures by what follows; shares alone."""
    series: dict[str, list[tuple[int, Mapping]]] = {}
    for row, figure in rows.items():
        if (match := NUMBERED.match(row)) and not match[3].startswith("images"):
            series.setdefault(match[3], []).append((int(match[2]), figure))
    return series


def picture(paths: Sequence[Path]) -> Figure:
    """Learning curves of logs (.jsonl), or the bars of one result (.json). Raises LogError."""
    if all(path.suffix == ".jsonl" for path in paths):
        return curves({name_of(path): read_log(path) for path in paths})
    if len(paths) > 1:
        raise LogError("give logs (.jsonl), or one result (.json)")
    return panels(read_results(paths[0]))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluation.plots", description="Learning curves, or bars of checkpoints."
    )
    parser.add_argument("files", nargs="+", type=Path, help="logs (.jsonl) of training runs, or a result (.json)")
    parser.add_argument("--out", type=Path, required=True, help="the picture: .png, .svg or .pdf")
    arguments = parser.parse_args()
    try:
        picture(arguments.files).savefig(arguments.out, dpi=150)
    except (LogError, OSError) as error:
        sys.exit(f"plots: {error}")


def name_of(path: Path) -> str:
    """A run's name: that of its log, or of the folder of a shipped checkpoint's log."""
    return path.parent.name if path.stem == "log" else path.stem


if __name__ == "__main__":
    main()
