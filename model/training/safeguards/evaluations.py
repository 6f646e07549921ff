"""Evaluations of a run on fixed prompts: before, during and after it; the best checkpoint; the table at its end.

They lie beside the log of a run, in a folder of its own:

    better.evaluation/
      000000.json       after no step: the checkpoint that the run starts from; 000050.json after 50 steps, …
                        {"step": 50, "figures": {SETTING: {ROW: {"value": 0.83, "interval": [0.71, 0.94],
                        "counts": …}}}}; value and interval are null where there was nothing to count
      samples/000050/03-1.png     picture 1 (from 0, a draft, then its revision) of sample 3
      samples/index.json          {"000050": [{"sample": 3, "setting": SETTING, "prompt": "two cats", "pictures":
                        ["000050/03-0.png", "000050/03-1.png"], "said": ["No, there is one cat.", "Yes, …"], "right":
                        [false, true]}]}; sample 3 is the same prompt and seed after every step; "right" may be null
      table.json        {"criterion": "guarded", "before": 0, "best": 150, "last": 200, "steps": [0, 50, 100, 150, 200],
                        "rows": [{"setting", "row", "higher_is_better", "before", "best", "last": values or null,
                        "best_minus_before", "last_minus_before": [difference, low, high] or null, "change": "better",
                        "worse" or "same" (best against before, by the paired 95 % interval) or null}]}; written anew
                        after every evaluation
      table.md          the same, to read

In the log, the row of a step after which the run was evaluated has `evaluated_mean` (the mean of all rows, each so that
higher is better) and `evaluation`: {"step": 50, SETTING: {ROW: value}}. The row of step 0 has those before the run.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image as Picture

from model.atomic_files import write_whole
from model.backends.contract import CheckpointError
from model.evaluation.bootstrap import (
    FORMER_ROWS,
    NO_DIFFERENCE,
    clear_sign,
    difference,
    from_counts,
    interval,
    to_counts,
)
from model.evaluation.fixed_prompts import DIRECTIONS, Figures, Sample
from model.images import encode_png

Change = tuple[float, float, float]  # difference, and its paired interval


@dataclass(frozen=True)
class EvaluationSettings:
    """Choices of every method that is evaluated on fixed prompts."""

    evaluate_every: int = 50  # steps; 0: before the first and after the last step alone
    evaluate_prompts: int = 48  # fixed ones; 0: no evaluation
    best: str = "guarded"  # which checkpoint is kept


@dataclass
class Evaluations:
    """The figures of one run after some of its steps, and what follows from them."""

    folder: Path
    criterion: str
    writes: bool = True  # of several processes the first
    figures: dict[int, Figures] = field(default_factory=dict)  # by finished steps

    def begin(self, first: int) -> None:
        """Read what was evaluated up to `first` finished steps, and forget what came later. Raises CheckpointError."""
        for path in sorted(self.folder.glob("[0-9]*.json")):
            if int(path.stem) <= first and first > 0:
                self.figures[int(path.stem)] = _read(path)
            elif self.writes:
                path.unlink()
        if self.writes and self.folder.exists():
            index = self._index()
            for name in index.keys() - {f"{step:06d}" for step in self.figures}:
                shutil.rmtree(self.folder / "samples" / name, ignore_errors=True)
                del index[name]
            self._write("samples/index.json", index)

    def add(self, step: int, figures: Figures, samples: Sequence[Sample]) -> dict[str, Any]:
        """Keep what was found after `step` finished steps; returns it for the log."""
        self.figures[step] = figures
        if self.writes:
            self._write_step(step, figures, samples)
        values = {setting: {row: figure.value for row, figure in rows.items()} for setting, rows in figures.items()}
        mean = self.mean(step)
        return ({} if mean is None else {"evaluated_mean": mean}) | {"evaluation": {"step": step, **values}}

    def _write_step(self, step: int, figures: Figures, samples: Sequence[Sample]) -> None:
        plain = {
            setting: {
                row: {"value": figure.value, "interval": interval(figure), "counts": to_counts(figure)}
                for row, figure in rows.items()
            }
            for setting, rows in figures.items()
        }
        self._write(f"{step:06d}.json", {"step": step, "figures": plain})
        self._write_samples(step, samples)
        table = self.table()
        self._write("table.json", table)
        write_whole(self.folder / "table.md", markdown(table), mode=0o644)

    def mean(self, step: int) -> float | None:
        """Of the rows that have a value after every evaluated step, each so that higher is better."""
        shared = [
            (setting, row)
            for setting, rows in self.figures[step].items()
            for row in rows
            if all(self._value(other, setting, row) is not None for other in self.figures)
        ]
        values = [DIRECTIONS[row] * (self._value(step, setting, row) or 0.0) for setting, row in shared]
        return sum(values) / len(values) if values else None

    def _value(self, step: int, setting: str, row: str) -> float | None:
        figure = self.figures[step].get(setting, {}).get(row)
        return None if figure is None else figure.value

    @property
    def best(self) -> int | None:
        """The steps after which the kept checkpoint stood: of those evaluated the best by the criterion, never the
        checkpoint that the run began with; None before one was evaluated."""
        trained = [step for step in self.figures if step > 0]
        if not trained:
            return None
        if self.criterion == "last":
            return max(trained)
        return max(trained, key=self._merit)

    def _merit(self, step: int) -> tuple[float, ...]:
        """What is larger is better; of equals the later."""
        mean = self.mean(step)
        merit = (-float("inf") if mean is None else mean, step)
        if self.criterion == "mean":
            return merit
        lower = sum(change == "worse" for change in (self.change(0, step, *place) for place in self._places()))
        return (-lower, *merit)

    def _places(self) -> list[tuple[str, str]]:
        """(setting, row) of everything that was counted."""
        every = ((setting, row) for figures in self.figures.values() for setting in figures for row in figures[setting])
        return list(dict.fromkeys(every))

    def paired(self, before: int, after: int, setting: str, row: str) -> Change | None:
        """after − before on the same prompts, and its interval; None where either has no value."""
        new, old = (self.figures.get(step, {}).get(setting, {}).get(row) for step in (after, before))
        return None if new is None or old is None else difference(new, old)

    def change(self, before: int, after: int, setting: str, row: str) -> str | None:
        """Whether the difference is clear, and on which side: “better”, “worse”, else “same”."""
        new, old = (self.figures.get(step, {}).get(setting, {}).get(row) for step in (after, before))
        sign = None if new is None or old is None else clear_sign(new, old)
        return None if sign is None else ("same", "better", "worse")[sign * DIRECTIONS[row]]

    def table(self) -> dict[str, Any]:
        """What is written as table.json."""
        best = self.best if self.best is not None else max(self.figures)
        last = max(self.figures)
        rows = [
            {
                "setting": setting,
                "row": row,
                "higher_is_better": DIRECTIONS[row] > 0,
                "before": self._value(0, setting, row) if 0 in self.figures else None,
                "best": self._value(best, setting, row),
                "last": self._value(last, setting, row),
                "best_minus_before": self.paired(0, best, setting, row),
                "last_minus_before": self.paired(0, last, setting, row),
                "change": self.change(0, best, setting, row),
            }
            for setting, row in self._places()
        ]
        steps = sorted(self.figures)
        return {"criterion": self.criterion, "before": 0, "best": best, "last": last, "steps": steps, "rows": rows}

    def _write_samples(self, step: int, samples: Sequence[Sample]) -> None:
        settings = list(dict.fromkeys(sample.setting for sample in samples))
        entries: list[dict[str, Any]] = []
        for sample in sorted(samples, key=lambda each: (settings.index(each.setting), each.number)):
            number = len(entries)
            names: list[str] = []
            for at, picture in enumerate(sample.pictures):
                names.append(f"{step:06d}/{number:02d}-{at}.png")
                path = self.folder / "samples" / names[-1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode_png(Picture.fromarray(picture)))
            about = {"setting": sample.setting, "prompt": sample.prompt, "said": sample.said, "right": sample.right}
            entries.append({"sample": number, **about, "pictures": names})
        self._write("samples/index.json", {**self._index(), f"{step:06d}": entries})

    def _index(self) -> dict[str, Any]:
        path = self.folder / "samples" / "index.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else {}

    def _write(self, name: str, value: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n", mode=0o644)


def _read(path: Path) -> Figures:
    try:
        figures = json.loads(path.read_text("utf-8"))["figures"]
        return {
            setting: {FORMER_ROWS.get(row, row): from_counts(each["counts"]) for row, each in rows.items()}
            for setting, rows in figures.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged, or no evaluation of a run; move it away") from error


def markdown(table: Mapping[str, Any]) -> str:
    """The table as Markdown: of every row before, best, last, best − before with its interval; better and worse."""
    lines = [
        f"Kept: after {table['best']} of {table['last']} steps, by the criterion “{table['criterion']}”.",
        "",
        "| | before | best | last | best − before (95 % interval) | |",
        "|---|---|---|---|---|---|",
    ]
    for setting in dict.fromkeys(row["setting"] for row in table["rows"]):
        lines.append(f"| **{setting}** | | | | | |")
        for row in table["rows"]:
            if row["setting"] == setting:
                values = " | ".join(_shown(row["row"], row[name]) for name in ("before", "best", "last"))
                lines.append(f"| {row['row']} | {values} | {_points(row)} | {_called(row['change'])} |")
    for change in ("better", "worse"):
        names = [f"{row['row']} ({row['setting']})" for row in table["rows"] if row["change"] == change]
        lines += ["", f"{change.capitalize()}: {'; '.join(names) or 'nothing'}."]
    return "\n".join(lines) + "\n"


def _called(change: str | None) -> str:
    return NO_DIFFERENCE if change == "same" else change or ""


def _shown(row: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if row == "held-out loss" else f"{value:.1%}"


def _points(row: Mapping[str, Any]) -> str:
    change = row["best_minus_before"]
    if change is None:
        return "–"
    if row["row"] == "held-out loss":
        return "{:+.3f} ({:+.3f} to {:+.3f})".format(*change)
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * each for each in change))
