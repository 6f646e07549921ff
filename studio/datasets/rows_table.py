"""HTML of the Datasets page: figures, what an export holds and leaves out, rows as they will be read.

All text of people and models enters escaped.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from annotations.export.jobs import ExportProgress
from annotations.export.kind import ExportKind
from annotations.export.manifest import Manifest
from annotations.export.preview import Survey
from annotations.export.registry import KINDS
from annotations.export.writing.writers import load_line
from annotations.store.statistics import StoreCounts
from studio.components.quantities import people, size
from studio.components.render import escaped, image, isolated

SHOWN = 4  # rows on the page
LONGEST_TEXT = 300  # characters of a value
FIRST = ("prompt", "completion", "chosen", "rejected", "label")  # columns that are shown before others


def figures(counts: StoreCounts) -> str:
    """The numbers of what has been collected."""
    rows = (
        ("Trajectories", counts.trajectories, f"{counts.aha} with an aha moment"),
        ("Annotations", counts.annotations, f"by {people(counts.annotators)}"),
        ("Reflections annotated", counts.reflections, f"{counts.wrong_verdicts} with a wrong verdict"),
        ("Reasons corrected", counts.corrected, "in a person’s own words"),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{number:,}</dd><dd>{more}</dd></div>" for name, number, more in rows)
    return f'<dl class="figures">{cells}</dl>'


def survey_html(kind: ExportKind, found: Survey) -> str:
    """How many rows an export would hold, how large it is, and what is left out and why."""
    if not found.rows and not found.left_out:
        return (
            f'<p class="lead">Nothing to export yet.</p><p>To make a row, {escaped(kind.advice)}. '
            '<a href="annotate">Annotate</a>.</p>'
        )
    reasons = "".join(f"<tr><td>{n:,}</td><td>{escaped(why)}</td></tr>" for why, n in found.left_out.most_common())
    table = f'<table class="left-out"><caption>Left out</caption>{reasons}</table>' if reasons else ""
    least = "" if found.complete else "At least "
    rows = "row" if found.rows == 1 else "rows"
    lead = f"{least}<b>{found.rows:,}</b> {rows} from {found.trajectories:,} drawings, about {size(found.bytes)}."
    return f'<p class="lead">{lead}</p>{table}'


def progress_html(progress: ExportProgress) -> str:
    """How far the export is that is under way, or why it ended; empty where there is nothing to say."""
    if progress.running:
        total = max(progress.total, 1)
        return (
            f'<label class="export-progress"><progress max="{total}" value="{progress.done}"></progress>'
            f"{escaped(KINDS[progress.kind].title)}: {progress.done:,} of {progress.total:,} drawings. "
            "It goes on when this page is closed.</label>"
        )
    return error_html(progress.error) if progress.error else ""


def unfinished_html(kinds: Sequence[str]) -> str:
    """Which exports were broken off, and what to do."""
    titles = ", ".join(f"“{KINDS[kind].title}”" for kind in kinds)
    return f'<p role="status">Not finished: {escaped(titles)}. Export the same again, and it goes on where it was.</p>'


def error_html(words: str) -> str:
    return f'<p class="export-error" role="alert">{escaped(words)}</p>'


def made_html(manifest: Manifest) -> str:
    """That an export is made, and where it is shown."""
    rows = "1 row" if manifest.examples == 1 else f"{manifest.examples:,} rows"
    return (
        f'<p class="done" role="status">Exported: {rows}. <a href="datasets#datasets-block">See and download them</a>, '
        "below.</p>"
    )


def manifest_html(manifest: Manifest) -> str:
    """What a finished export holds."""
    splits: dict[str, int] = {}
    for file in manifest.files:
        splits[file.split] = splits.get(file.split, 0) + file.rows
    facts = [
        ("Rows", f"{manifest.examples:,}"),
        *((name.replace("_", " ").capitalize(), f"{n:,}") for name, n in manifest.counts.items()),
    ]
    if len(splits) > 1:
        facts += [(f"Split {name}", f"{count:,}") for name, count in splits.items()]
    if manifest.agreement is not None:
        facts.append(("Mean agreement", f"{manifest.agreement:.2f}"))
    facts.append(("Left out", f"{sum(manifest.left_out.values()):,}"))
    cells = "".join(f"<div><dt>{escaped(key)}</dt><dd>{value}</dd></div>" for key, value in facts)
    names = f"<div><dt>Drawn by</dt><dd>{', '.join(map(isolated, manifest.checkpoints))}</dd></div>"
    return f'<dl class="manifest">{cells}{names if manifest.checkpoints else ""}</dl>'


def title(manifest: Manifest) -> str:
    """“Reflections to learn, 21 November 2026, 08:54:12 UTC, 12 rows”."""
    moment = datetime.fromisoformat(manifest.created_at)
    kind = KINDS[manifest.kind].title if manifest.kind in KINDS else manifest.kind
    rows = "1 row" if manifest.examples == 1 else f"{manifest.examples:,} rows"
    return f"{kind}, {moment.day} {moment:%B %Y, %H:%M:%S} UTC, {rows}"


def command(folder: Path, manifest: Manifest) -> str:
    """The lines that train on an export, or load it."""
    data, out = shlex.quote(str(folder)), f"runs/{folder.name}"
    if manifest.kind == "judge_sft":
        return (
            f"python -m model.training.sft --data {data} --steps 50 --out {out}\n"
            f"AHA_STUDIO_CHECKPOINT={out} python app.py"
        )
    if manifest.kind not in KINDS:
        return f"ls {data}"
    return f"from datasets import load_dataset\nrows = {load_line(KINDS[manifest.kind], manifest.files, f'{folder}/')}"


def rows_of_export(folder: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """The first rows. Raises OSError, ValueError and pyarrow's errors for a damaged file."""
    file = folder / manifest.files[0].name
    if file.suffix == ".parquet":
        with pq.ParquetFile(file) as opened:
            return next(opened.iter_batches(batch_size=SHOWN)).to_pylist()
    if file.suffix == ".tar":
        return []
    with file.open(encoding="utf-8", errors="replace") as lines:
        first = [line for _, line in zip(range(SHOWN), lines, strict=False)]
    return [json.loads(line) if file.suffix == ".jsonl" else {"text": line.rstrip("\n")} for line in first]


def rows_html(rows: Sequence[Mapping[str, Any]], total: int) -> str:
    """Rows as a reader gets them: the pictures, then every column with its value."""
    if not rows:
        return ""
    body = "".join(_row(row) for row in rows)
    more = total - len(rows)
    foot = f'<p class="more">and {more:,} more</p>' if more > 0 else ""
    return f'<table class="rows"><tbody>{body}</tbody></table>{foot}'


def _row(row: Mapping[str, Any]) -> str:
    pictures = [png for value in row.values() for png in _pictures(value)]
    shown = "".join(image(png, "") or "unreadable picture" for png in pictures[:SHOWN])
    names = sorted(row, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    cells = [(name, _said(row[name])) for name in names]
    main = "".join(_cell(name, value) for name, value in cells if value and name in FIRST)
    beside = [_cell(name, value) for name, value in cells if value and name not in FIRST]
    more = f"<details><summary>{len(beside)} more columns</summary><dl>{''.join(beside)}</dl></details>"
    return f"<tr><td>{shown}</td><td><dl>{main}</dl>{more}</td></tr>"


def _cell(name: str, value: str) -> str:
    return f'<div><dt>{escaped(name)}</dt><dd dir="auto">{escaped(value)}</dd></div>'


def _pictures(value: Any) -> list[bytes]:
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return [value["bytes"]]
    if isinstance(value, bytes):
        return [value]
    return [png for each in value for png in _pictures(each)] if isinstance(value, list | tuple) else []


def _said(value: Any) -> str:
    """A value in words; messages as turns, pictures left to their column."""
    if value is None or _pictures(value) or value in ([], ""):
        return ""
    if isinstance(value, list) and all(isinstance(each, Mapping) and "role" in each for each in value):
        value = " · ".join(f"{each['role']}: {_words(each['content'])}" for each in value)
    elif isinstance(value, float):
        value = f"{value:.4g}"
    elif not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}…"


def _words(content: Any) -> str:
    parts = content if isinstance(content, list) else [{"text": content}]
    return " ".join("[image]" if part.get("text") is None else str(part["text"]) for part in parts)
