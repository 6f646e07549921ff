"""Tables and JSON of an evaluation: checkpoint → setting → figure with its interval."""

from itertools import pairwise

from model.evaluation.bootstrap import NO_DIFFERENCE, Figure, clear_sign, difference, interval, points
from model.evaluation.budgets import budget_differences
from model.trajectory import Sampling

HEADLINES = ("first draft", "final image", "verdict, balanced", "reasons for no, true")
PLAIN = ("images per prompt", "error where untouched", "verdict, AUROC", "images", "images until yes")  # no percentages

Results = dict[str, dict[str, Figure]]  # setting → name → figure


class Constant:
    """A figure without an interval."""

    def __init__(self, value: float | None, prompts: int):
        self.value, self.prompts = value, prompts


def setting(split: str, sampling: Sampling) -> str:
    if sampling.thinks_after_no:
        return f"{split}, thinking after a no"
    return f"{split}, {'thinking first' if sampling.thinks else 'without the thought'}"


def table(results: dict[str, Results]) -> str:
    """For every setting: rows are figures with their intervals, columns are checkpoints."""
    blocks = []
    for name in dict.fromkeys(name for result in results.values() for name in result):
        columns = {checkpoint: result.get(name, {}) for checkpoint, result in results.items()}
        prompts = next(figure.prompts for column in columns.values() for figure in column.values())
        lines = [f"{f'{name} ({prompts})':46}" + "".join(f"{checkpoint:>22}" for checkpoint in columns)]
        for row in dict.fromkeys(row for column in columns.values() for row in column):
            lines.append(f"{row:46}" + "".join(f"{cell(row, column.get(row)):>22}" for column in columns.values()))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def record(results: dict[str, Results]) -> str:
    """The two tables that sum it up: what training brought, and what the thought and the reflection bring."""
    first, last = (setting("GenEval-like", Sampling(thinks=thinks)) for thinks in (True, False))
    lines = ["| | " + " | ".join(HEADLINES) + " |", "|---" * (len(HEADLINES) + 1) + "|"]
    for checkpoint, rows in results.items():
        known = rows.get(first) or rows.get(last, {})
        lines.append(f"| {checkpoint} | " + " | ".join(percent(known.get(row)) for row in HEADLINES) + " |")
    *_, (checkpoint, rows) = results.items()
    lines += ["", f"| {checkpoint} | first draft | after reflection |", "|---|---|---|"]
    for name in (last, first):
        if name in rows:
            shares = (percent(rows[name][row]) for row in ("first draft", "final image"))
            lines.append(f"| {name.partition(', ')[2]} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def percent(figure: Figure | None) -> str:
    return "–" if figure is None or figure.value is None else f"{figure.value:.1%}"


def cell(row: str, figure: Figure | None) -> str:
    """“91.2 % 88.7–93.5”, or a dash where there was nothing to count."""
    if figure is None or figure.value is None:
        return "–"
    if row.split(": ")[-1] in PLAIN:
        return f"{figure.value:.3f}"
    low, high = interval(figure)
    return f"{figure.value:.1%} {100 * low:.1f}–{100 * high:.1f}"


def comparisons(results: dict[str, Results]) -> str:
    """What the redraws gain within a checkpoint."""
    lines = []
    for checkpoint, result in results.items():
        for name, rows in result.items():
            if "final image" in rows:
                gain = difference(rows["final image"], rows["first draft"])
                lines.append(f"{checkpoint}, {name}: final − first {points(gain)}")
            lines += [f"{checkpoint}, {name}, {what} {points(gain)}" for what, gain in budget_differences(rows)]
    return "\n".join(lines)


def changes(results: dict[str, Results]) -> str:
    """Each checkpoint against the one before it: every share of every setting, the paired difference in points, and
    whether it is one."""
    blocks, names = [], list(results)
    for before, after in pairwise(names):
        for name, rows in results[after].items():
            lines = []
            for row, figure in rows.items():
                old = results[before].get(name, {}).get(row)
                change = None if old is None or row.split(": ")[-1] in PLAIN else difference(figure, old)
                if old is not None and change is not None:
                    said = ("lower", NO_DIFFERENCE, "higher")[1 + (clear_sign(figure, old) or 0)]
                    lines.append(f"{row:46}{old.value:>9.1%}{figure.value:>9.1%}   {points(change):34}{said}")
            if lines:
                blocks.append("\n".join([f"{after} − {before}, {name}", *lines]))
    return "\n\n".join(blocks)


def to_json(results: dict[str, Results]) -> dict:
    """Nested plain values; a figure is its value and interval."""

    def plain(figure: Figure) -> dict:
        between = interval(figure) if not isinstance(figure, Constant) else None
        return {"value": figure.value, "interval": between, "prompts": figure.prompts}

    return {
        checkpoint: {name: {row: plain(figure) for row, figure in rows.items()} for name, rows in result.items()}
        for checkpoint, result in results.items()
    }
