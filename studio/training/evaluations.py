"""Evaluations of a run on fixed prompts as HTML: what got better and what worse, and drawings of the same prompts.

Reads the files that `model.training` writes beside a run's log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model.evaluation.bootstrap import FORMER_ROWS, NO_DIFFERENCE
from studio.components.render import escaped, image, isolated
from studio.training.runs import TrainingRun, read_json

LOSS = "held-out loss"  # the only row that is no share
MOST_SAMPLES = 12


def table_of(run: TrainingRun) -> dict[str, Any] | None:
    """The evaluation's table, with rows under the names of today; None where the run was not evaluated."""
    table = read_json(run.evaluation / "table.json")
    for row in (table or {}).get("rows", ()):
        row["row"] = FORMER_ROWS.get(row["row"], row["row"])
    return table


def table_html(run: TrainingRun) -> str:
    """Before, best and last of everything that was counted, and the paired interval of the difference."""
    table = table_of(run)
    if not table or not table.get("rows"):
        return ""
    rows = table["rows"]
    groups = "".join(_group(setting, rows) for setting in dict.fromkeys(row["setting"] for row in rows))
    kept = f"<p>Kept: the checkpoint after {table['best']:,} of {table['last']:,} steps.</p>"
    head = "<tr><td></td><th>before</th><th>best</th><th>last</th><th>best − before</th><td></td></tr>"
    return f'{kept}<table class="answers evaluated"><thead>{head}</thead><tbody>{groups}</tbody></table>'


def _group(setting: str, rows: Sequence[Mapping[str, Any]]) -> str:
    made = [f'<tr><th colspan="6" class="setting">{escaped(setting)}</th></tr>']
    for row in rows:
        if row["setting"] == setting:
            values = "".join(f"<td>{share(row['row'], row[name])}</td>" for name in ("before", "best", "last"))
            change = row["change"] or ""
            called = NO_DIFFERENCE if change == "same" else change
            made.append(
                f"<tr><th>{escaped(row['row'])}</th>{values}<td>{_points(row)}</td>"
                f'<td class="change {escaped(change)}">{escaped(called)}</td></tr>'
            )
    return "".join(made)


def share(row: str, value: float | None) -> str:
    """“83.3 %”, or a loss."""
    if value is None:
        return "–"
    return f"{value:.3f}" if row == LOSS else f"{100 * value:.1f} %"


def _points(row: Mapping[str, Any]) -> str:
    change = row["best_minus_before"]
    if change is None:
        return "–"
    scale, digits = (1, 3) if row["row"] == LOSS else (100, 1)
    value, low, high = (f"{scale * each:+.{digits}f}" for each in change)
    return f'{value} <span class="soft">{low} to {high}</span>'


def last_values(run: TrainingRun) -> dict[str, float]:
    """What was evaluated last, by row and setting."""
    rows = (table_of(run) or {}).get("rows", [])
    return {f"{row['row']} ({row['setting']})": row["last"] for row in rows if row.get("last") is not None}


def sampled_steps(run: TrainingRun) -> list[str]:
    """After which steps there are drawings: “000050”."""
    return sorted(read_json(run.evaluation / "samples" / "index.json") or {})


def samples_html(run: TrainingRun, at: int) -> str:
    """The drawings after the step of this number among `sampled_steps`; the last where there are fewer."""
    index = read_json(run.evaluation / "samples" / "index.json") or {}
    if not (steps := sorted(index)):
        return ""
    step = steps[max(0, min(at, len(steps) - 1))]
    samples = "".join(_sample(run, each) for each in index[step][:MOST_SAMPLES])
    title = "before the first step" if int(step) == 0 else f"after {int(step):,} steps"
    return f'<p class="after-step">The same prompts and seeds {title}</p><ul class="samples">{samples}</ul>'


def _sample(run: TrainingRun, sample: Mapping[str, Any]) -> str:
    folder = run.evaluation / "samples"
    right = sample.get("right") or []
    parts = []
    for number, name in enumerate(sample["pictures"]):
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            continue
        shown = image(path.read_bytes(), f"Drawing of “{sample['prompt']}”") or ""
        reflection = sample["said"][number] if number < len(sample["said"]) else ""
        mark = {True: "right", False: "wrong"}.get(right[number] if number < len(right) else None, "")
        parts.append(f'<figure class="{mark}">{shown}<figcaption>{isolated(reflection)}</figcaption></figure>')
    return f"<li><p>{isolated(sample['prompt'])}</p><div>{''.join(parts)}</div></li>"
