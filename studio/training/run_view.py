"""HTML of the Training page: the list of runs, one run, two runs compared, what it learnt from.

All text of people, files and processes enters escaped.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from annotations.export.registry import KINDS
from annotations.schema.questions import QUESTIONS
from model.training.runs.metric_descriptions import NO_METRICS
from model.training.runs.settings import by_present_names
from studio.auth.pseudonyms import Names
from studio.components.quantities import duration, people, size
from studio.components.render import escaped, isolated
from studio.training.curves import metric_name, metric_title, read_metrics, seconds_per_step
from studio.training.evaluations import last_values
from studio.training.provenance import LearntAnnotation
from studio.training.run_form import RunEstimate
from studio.training.runs import RunStatus, TrainingRun, killed_words, read_json

SHOWN = 24  # annotations that a checkpoint learnt from
NO_RUNS = '<p class="none">No run yet. Export a data set, choose it here, and press Start.</p>'
TITLES = {question.name: question.title for question in QUESTIONS}


def estimate_html(expected: RunEstimate, steps: int) -> str:
    """What a run will take."""
    rate = expected.seconds_per_step
    facts = [
        ("Rows to learn from", "–" if expected.rows is None else f"{expected.rows:,}"),
        ("Time", "measured in its first steps" if rate is None else f"about {duration(rate * steps)}"),
        ("Memory", "–" if expected.memory is None else f"about {size(expected.memory)}"),
        ("On the disk", f"about {size(expected.disk)}" if expected.disk else "–"),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<dl class="estimate">{cells}</dl>'


def list_html(runs: Sequence[TrainingRun], chosen: str) -> str:
    """Every run as a link."""
    rows = "".join(_row(run, run.name == chosen) for run in runs)
    return f'<ol class="runs">{rows}</ol>' if rows else NO_RUNS


def _row(run: TrainingRun, chosen: bool) -> str:
    here = ' aria-current="true"' if chosen else ""
    drawing = '<span class="tag">draws</span>' if run.offered else ""
    return (
        f'<li{here}><a href="training?run={escaped(run.name)}"><b>{isolated(run.name)}</b>{drawing}'
        f"<span>{badge(run.state)}{escaped(progress_words(run))}</span></a></li>"
    )


def badge(state: RunStatus) -> str:
    return f'<span class="state {state}">{state}</span>'


def steps_done(run: TrainingRun) -> int:
    rows = read_metrics(run.metrics)
    return int(rows[-1]["step"]) + 1 if rows else 0


def progress_words(run: TrainingRun) -> str:
    """“34 of 200 steps, 2 min left”."""
    done, state = steps_done(run), run.state
    words = f"{done:,} of {run.request.steps:,} steps"
    rate = seconds_per_step(run.metrics)
    if state is RunStatus.RUNNING and rate:
        words += f", {duration(rate * (run.request.steps - done))} left"
    return words


def head_html(run: TrainingRun) -> str:
    """Name, state, how far it is, what was asked for."""
    request = run.request
    facts = [
        ("Method", request.method),
        ("From", request.checkpoint),
        ("Learns from", ", ".join(request.data) or "its own drawings, or its world"),
        ("Begun", moment(request.created_at)),
        ("By", request.started_by),
        ("On the disk", size(run.size())),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{isolated(value)}</dd></div>" for name, value in facts if value)
    bar = f'<progress max="{request.steps}" value="{steps_done(run)}"></progress>' if run.state.live else ""
    return (
        f"<h2>{isolated(run.name)}</h2>"
        f'<p class="standing">{badge(run.state)} {escaped(progress_words(run))}{bar}</p>'
        f'{_failure(run)}<dl class="manifest">{cells}</dl>'
    )


def _failure(run: TrainingRun) -> str:
    if run.state is not RunStatus.FAILED:
        return ""
    code = run.exit_code
    unsaid = "It ended without a word: it was killed, or the machine was started again."
    why = unsaid if code is None else killed_words(code)
    last = "\n".join(run.last_lines())
    return f'<p class="export-error" role="alert">{why}</p><pre class="output">{escaped(last)}</pre>'


def moment(iso: str) -> str:
    """“29 November 2026, 20:15 UTC”."""
    at = datetime.fromisoformat(iso)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def command_of(run: TrainingRun) -> str:
    """The training command as it is typed."""
    return shlex.join(["python", *run.request.command])


def output_html(run: TrainingRun) -> str:
    lines = run.last_lines(40)
    return f'<pre class="output">{escaped(chr(10).join(lines))}</pre>' if lines else ""


# --- comparing two runs -------------------------------------------------------------------------------------------


def comparison_html(run: TrainingRun, other: TrainingRun) -> str:
    """Settings that differ, and what both measured last."""
    first, second = settings_of(run), settings_of(other)
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    differ = [(escaped(metric_title(name)), first.get(name), second.get(name)) for name in names]
    ends = [_last(each) | last_values(each) for each in (run, other)]
    measured = [(metric_name(name), ends[0].get(name), ends[1].get(name)) for name in {**ends[0], **ends[1]}]
    titles = (run.name, other.name)
    return (
        f"<h3>What differs</h3>{_table(titles, differ)}" if differ else "<p>Both were asked for the same.</p>"
    ) + f"<h3>At the end</h3>{_table(titles, measured)}"


def _table(titles: Sequence[str], rows: Sequence[tuple[str, Any, Any]]) -> str:
    """`rows`: the HTML of a name, and a value of each run."""
    head = "".join(f"<th>{isolated(title)}</th>" for title in titles)
    body = "".join(f"<tr><th>{name}</th><td>{_cell(a)}</td><td>{_cell(b)}</td></tr>" for name, a, b in rows)
    return f'<table class="answers compared"><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else isolated(str(value))


def settings_of(run: TrainingRun) -> dict[str, Any]:
    """What defines a run: its method's settings as provenance has them, what it starts and learns from."""
    provenance = read_json(run.out / "provenance.json") or {}
    request = run.request
    asked = {"method": request.method, "from": request.checkpoint, "steps": request.steps}
    return asked | {"learns from": ", ".join(request.data) or "–"} | by_present_names(provenance.get("settings", {}))


def _last(run: TrainingRun) -> dict[str, float]:
    """The last value of every metric."""
    values: dict[str, float] = {}
    for row in read_metrics(run.metrics):
        numbers = ((name, value) for name, value in row.items() if isinstance(value, int | float))
        values |= {name: value for name, value in numbers if name not in NO_METRICS}
    return values


# --- provenance ---------------------------------------------------------------------------------------------------


def provenance_html(
    line: Sequence[tuple[str, Mapping[str, Any]]],
    manifests: Sequence[Mapping[str, Any]],
    counted: tuple[int, int],
    shown: Sequence[LearntAnnotation],
    names: Names,
) -> str:
    """What a checkpoint descends from, its data sets, and the annotations in them; `counted`: revisions, drawings."""
    chain = "".join(f"<li>{isolated(name)} <span>{_recipe(about)}</span></li>" for name, about in line)
    sets = "".join(_data_set(manifest) for manifest in manifests if manifest)
    revisions, drawings = counted
    lead = f"<p>{revisions:,} annotations of {drawings:,} drawings.</p>" if revisions else ""
    rows = "".join(_annotation(each, names) for each in shown)
    table = f'<table class="answers learnt"><tbody>{rows}</tbody></table>' if rows else ""
    more = revisions - len(shown)
    rest = f'<p class="more">and {more:,} more</p>' if table and more > 0 else ""
    return f'<ol class="ancestors">{chain}</ol>{sets}{lead}{table}{rest}'


def _recipe(about: Mapping[str, Any]) -> str:
    parts = [str(about[name]) for name in ("recipe",) if about.get(name)]
    parts += [f"{about['step']:,} steps"] if isinstance(about.get("step"), int) else []
    parts += [f"{about['examples']:,} rows"] if isinstance(about.get("examples"), int) else []
    return escaped(" · ".join(parts))


def _data_set(manifest: Mapping[str, Any]) -> str:
    kind = manifest.get("kind", "")
    title = KINDS[kind].title if kind in KINDS else kind
    count = manifest.get("annotators")
    who = f", by {people(count)}" if isinstance(count, int) else ""
    made = escaped(moment(manifest["created_at"]))
    return f"<p><b>{escaped(title)}</b>: {manifest.get('examples', 0):,} rows{who}, {made}</p>"


def _annotation(each: LearntAnnotation, names: Names) -> str:
    annotation = each.annotation
    titled = [(TITLES.get(name, name), str(value)) for name, value in annotation.answers.items()]
    answers = "<br>".join(f"<i>{isolated(title)}</i> {isolated(value)}" for title, value in titled)
    link = f"review?trajectory={escaped(annotation.trajectory_id)}"
    return (
        f'<tr><td><a href="{link}">{isolated(each.prompt)}</a></td><td>{answers}</td>'
        f"<td>{isolated(names(annotation.annotator))}</td><td>revision {annotation.id}</td></tr>"
    )
