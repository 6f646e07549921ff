"""The Datasets page: counts, export, earlier exports.

Knows the store's numbers, the exporter and the folder `exports` in the data folder; trains nothing, but writes the
command that does. All text of people and models enters HTML escaped.
"""

from __future__ import annotations

import shlex
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import pyarrow as pa
import pyarrow.parquet as pq

from annotations.errors import AnnotationsError, NotFoundError, without_places
from annotations.export.exporter import export
from annotations.export.manifest import Manifest, read_manifest, trajectories_of
from annotations.export.survey import survey
from annotations.schema.forms.rating import GOOD
from annotations.schema.project import Role
from annotations.store.statistics import Counts
from annotations.store.store import Store
from model.examples import JudgeExample
from studio.auth.identity import asking, require
from studio.auth.role_section import role_section
from studio.components.header import intro
from studio.components.render import image, own, text
from studio.inference.served_copies import EXPORTS, served_folder
from studio.settings import Settings

KIND = "judge_sft"
COUNTED_AT_ONCE = 1000  # annotations up to which the page counts without being asked
PLAIN = {"apply_default_css": False, "js_on_load": None}
SHOWN = 6  # rows of an export on the page


class View(NamedTuple):
    """What a handler gives back: a value or an update for every part of the page, in the order of `page`."""

    collected: Any
    ready: Any
    chosen: Any  # the menu of exports
    block: Any  # all that is said of the chosen export
    summary: Any
    rows: Any
    command: Any
    download: Any
    note: Any


# What there is


def exports_of(store: Store) -> dict[str, Manifest]:
    """The exports made so far, newest first, by the name of their folder."""
    manifests = {folder.name: read_manifest(folder) for folder in folder_of(store).glob(f"{KIND}-*")}
    return {name: manifest for name, manifest in sorted(manifests.items(), reverse=True) if manifest is not None}


def folder_of(store: Store) -> Path:
    return store.database.directory / "exports"


def command(folder: Path) -> str:
    """The lines that train on an export, and draw with what comes of it."""
    data, out = shlex.quote(str(folder)), f"runs/{folder.name}"
    return (
        f"python -m model.training.sft --data {data} --world --steps 200 --out {out}\n"
        f"AHA_STUDIO_CHECKPOINT={out} python app.py"
    )


def deleted(store: Store, folder: Path, manifest: Manifest) -> str:
    """Why an export is not to be shown or downloaded any more; empty where all its drawings are still there."""
    ids = trajectories_of(folder, manifest)
    gone = len(ids) - len(store.visible(ids))
    if not gone:
        return ""
    drawings = "a drawing that was" if gone == 1 else f"{gone:,} drawings that were"
    return f"This export holds {drawings} deleted since, so it is not handed out any more. Export again, without that."


def zip_of(folder: Path, manifest: Manifest) -> str:
    """The export as one file, where Gradio may serve it; made once. The hash keeps its address from being guessed."""
    file = served_folder() / EXPORTS / manifest.sha256 / f"{folder.name}.zip"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(path, f"{folder.name}/{path.relative_to(folder)}")
        partial.replace(file)
    return str(file)


# HTML


def figures(counts: Counts) -> str:
    """The numbers of what has been collected."""
    rows = (
        ("Trajectories", counts.trajectories, f"{counts.aha} with an aha moment"),
        ("Annotations", counts.annotations, f"by {people(counts.annotators)}"),
        ("Reflections annotated", counts.reflections, f"{counts.wrong_verdicts} with a wrong verdict"),
        ("Reasons corrected", counts.corrected, "in a person’s own words"),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{number:,}</dd><dd>{more}</dd></div>" for name, number, more in rows)
    return f'<dl class="figures">{cells}</dl>'


def people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def readiness(rows: int, left_out: Counter[str]) -> str:
    """How many rows an export would hold, and what is left out and why."""
    if not rows and not left_out:
        return (
            '<p class="lead">Nothing to export yet.</p>'
            '<p><a href="annotate">Annotate a reflection</a>: correct it, or call it right and rate its reason '
            f"{GOOD}.</p>"
        )
    reasons = "".join(f"<tr><td>{n:,}</td><td>{text(why)}</td></tr>" for why, n in left_out.most_common())
    table = f'<table class="left-out"><caption>Left out</caption>{reasons}</table>' if reasons else ""
    return f'<p class="lead"><b>{rows:,}</b> training {"example" if rows == 1 else "examples"}.</p>{table}'


def summary(manifest: Manifest) -> str:
    counts, out = manifest.counts, sum(manifest.left_out.values())
    facts = (
        ("Examples", f"{manifest.examples:,}"),
        ("Written by people", f"{counts.get('person', 0):,}"),
        ("Kept in the model’s words", f"{counts.get('sampled', 0):,}"),
        ("Decided by a reviewer", f"{counts.get('decided', 0):,}"),
        ("Yes / No", f"{counts.get('yes', 0):,} / {counts.get('no', 0):,}"),
        ("Left out", f"{out:,}"),
        ("Drawn by", ", ".join(map(own, manifest.checkpoints))),
    )
    cells = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts)
    return f'<dl class="manifest">{cells}</dl>'


def preview(folder: Path, manifest: Manifest, store: Store) -> str:
    """The first rows: the picture, the prompt, what the model said of it, what it should learn to say."""
    with pq.ParquetFile(folder / manifest.files[0].name) as file:
        first = next(file.iter_batches(batch_size=SHOWN)).to_pylist()
    head = "<tr><th>Picture</th><th>Prompt</th><th>The model said</th><th>It should say</th></tr>"
    body = "".join(_row(JudgeExample.from_row(row), store) for row in first)
    more = manifest.examples - len(first)
    foot = f'<p class="more">and {more:,} more</p>' if more > 0 else ""
    return f'<table class="rows"><thead>{head}</thead><tbody>{body}</tbody></table>{foot}'


def _row(example: JudgeExample, store: Store) -> str:
    try:
        reflection_text = store.trajectory(example.trajectory_id).segments[example.segment].text.strip()
    except (NotFoundError, IndexError, AttributeError):
        reflection_text = "deleted"
    own = (
        '<span class="own">the same: rated good</span>'
        if reflection_text == example.completion
        else text(example.completion)
    )
    if example.correction is not None and example.correction.strip() not in example.completion:
        own += f'<span class="written" dir="auto">as written: {text(example.correction)}</span>'
    picture = image(example.images[-1], "") or "unreadable picture"
    cells = "".join(f'<td dir="auto">{cell}</td>' for cell in (text(example.prompt), text(reflection_text), own))
    return f"<tr><td>{picture}</td>{cells}</tr>"


# Handlers


@dataclass(frozen=True)
class DatasetsHandlers:
    """The handlers of the page. Each checks who is asking."""

    store: Store
    settings: Settings

    def start(self, request: gr.Request) -> View:
        """The numbers, and the newest export where there is one. Many annotations are counted on demand only."""
        if not asking(request, self.settings, self.store).may(Role.ADMIN):
            return _nothing("")
        counts = self.store.counts()
        few = counts.annotations <= COUNTED_AT_ONCE
        ready = _ready(self.store) if few else "<p>Press Count to see what can be exported.</p>"
        return self._shown(next(iter(exports_of(self.store)), None))._replace(collected=figures(counts), ready=ready)

    def count(self, request: gr.Request) -> tuple[str, str]:
        require(Role.ADMIN, request, self.settings, self.store)
        return figures(self.store.counts()), _ready(self.store)

    def export(self, request: gr.Request, progress: gr.Progress = gr.Progress()) -> View:  # noqa: B008
        """Write a new export, and show it."""
        require(Role.ADMIN, request, self.settings, self.store)
        name = f"{KIND}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        try:
            made = export(self.store, KIND, folder_of(self.store) / name, _report(progress))
        except AnnotationsError as error:
            return _nothing(without_places(error))
        ready = readiness(made.examples, Counter(made.left_out))
        return self._shown(name)._replace(collected=figures(self.store.counts()), ready=ready)

    def choose(self, name: str | None, request: gr.Request) -> View:
        """Show another export."""
        require(Role.ADMIN, request, self.settings, self.store)
        return self._shown(name)

    def _shown(self, name: str | None) -> View:
        made = exports_of(self.store)
        menu = gr.update(choices=[(title(n, m), n) for n, m in made.items()], value=name, visible=len(made) > 1)
        if name not in made:
            return _nothing("")._replace(chosen=menu, block=gr.update(visible=False))
        folder, manifest = folder_of(self.store) / name, made[name]
        if why := deleted(self.store, folder, manifest):
            return _nothing(why)._replace(chosen=menu, block=gr.update(visible=False))
        try:
            rows = preview(folder, manifest, self.store)
            packed = zip_of(folder, manifest)
            if why := deleted(self.store, folder, manifest):  # while it was packed
                Path(packed).unlink(missing_ok=True)
                return _nothing(why)._replace(chosen=menu, block=gr.update(visible=False))
            download = gr.update(value=packed, visible=True)
        except (OSError, ValueError, pa.ArrowInvalid) as error:
            return _nothing(f"{folder.name} cannot be read: {without_places(error)}. Export again.")._replace(
                chosen=menu
            )
        return View(
            collected=gr.skip(),
            ready=gr.skip(),
            chosen=menu,
            block=gr.update(visible=True),
            summary=summary(manifest),
            rows=rows,
            command=command(folder),
            download=download,
            note="",
        )


def title(name: str, manifest: Manifest) -> str:
    """“21 November 2026, 08:54 UTC, 12 examples”."""
    moment = datetime.fromisoformat(manifest.created_at)
    examples = "1 example" if manifest.examples == 1 else f"{manifest.examples:,} examples"
    return f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC, {examples}"


def _ready(store: Store) -> str:
    found = survey(store, KIND)
    return readiness(found.rows, found.left_out)


def _nothing(note: str) -> View:
    """Everything as it is, and a line that says why."""
    return View(*[gr.skip()] * (len(View._fields) - 1), note=text(note))


def _report(progress: gr.Progress) -> Callable[[int, int], None]:
    return lambda done, total: progress((done, total), unit="annotations")


# Layout


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section(Role.ADMIN, "datasets", store, settings):
        _shelf(DatasetsHandlers(store, settings))


def _shelf(shelf: DatasetsHandlers) -> None:
    intro("Datasets", "What people said of the model’s drawings, as rows that a trainer reads.")
    with gr.Row(elem_id="datasets"):
        with gr.Column(scale=1, min_width=320):
            gr.HTML("<h2>Collected</h2>", **PLAIN)
            collected = gr.HTML(elem_id="datasets-collected", **PLAIN)
        with gr.Column(scale=1, min_width=320):
            gr.HTML("<h2>Ready to train on</h2>", **PLAIN)
            ready = gr.HTML(elem_id="datasets-ready", **PLAIN)
            with gr.Row():
                make = gr.Button("Export", variant="primary", elem_id="datasets-export")
                again = gr.Button("Count", elem_id="datasets-count")
            note = gr.HTML(elem_id="datasets-note", **PLAIN)
    with gr.Column(visible=False, elem_id="datasets-block") as block:
        gr.HTML("<h2>Exported</h2>", **PLAIN)
        chosen = gr.Dropdown([], show_label=False, label="Export", elem_id="datasets-chosen", interactive=True)
        facts = gr.HTML(elem_id="datasets-summary", **PLAIN)
        rows = gr.HTML(elem_id="datasets-rows", **PLAIN)
        line = gr.Textbox(label="Train on it", lines=2, interactive=False, buttons=["copy"], elem_id="datasets-command")
        download = gr.DownloadButton("Download as a zip", elem_id="datasets-download", size="md")
    view = View(collected, ready, chosen, block, facts, rows, line, download, note)
    outputs = list(view)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on(fn=shelf.start, outputs=outputs, **quiet)
    again.click(shelf.count, None, [collected, ready], api_visibility="private")
    make.click(shelf.export, None, outputs, show_progress_on=[note], api_visibility="private")
    chosen.input(shelf.choose, [chosen], outputs, **quiet)
