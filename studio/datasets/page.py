"""The Datasets page: what there is to export, exports in the background, earlier exports. Layout and wiring only."""

from __future__ import annotations

import gradio as gr

from annotations.export.jobs import ExportJobs
from annotations.export.registry import KINDS
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.auth.role_section import role_section
from studio.components.header import intro
from studio.components.page_options import PLAIN, PRIVATE, QUIET
from studio.datasets.handlers import AGGREGATIONS, USUAL, Asked, DatasetsHandlers, View
from studio.settings import Settings

EVERY = 1.0  # seconds between two looks at an export that is under way


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section(Role.ADMIN, "datasets", store, settings):
        _datasets(DatasetsHandlers(store, settings, ExportJobs(store)))


def _datasets(handlers: DatasetsHandlers) -> None:
    intro("Datasets", "What people said of the model’s drawings, as rows that trainers take.")
    collected = gr.HTML(elem_id="datasets-collected", **PLAIN)
    with gr.Row(elem_id="datasets"):
        with gr.Column(scale=1, min_width=320):
            asked, export, stop, count = _form()
        with gr.Column(scale=1, min_width=320):
            gr.HTML("<h2>What it holds</h2>", **PLAIN)
            ready = gr.HTML(elem_id="datasets-ready", **PLAIN)
            progress = gr.HTML(elem_id="datasets-progress", **PLAIN)
            note = gr.HTML(elem_id="datasets-note", **PLAIN)
    first = gr.HTML(elem_id="datasets-first", **PLAIN)
    with gr.Column(visible=False, elem_id="datasets-block") as block:
        gr.HTML("<h2>Exported</h2>", **PLAIN)
        chosen = gr.Dropdown([], show_label=False, label="Export", elem_id="datasets-chosen", interactive=True)
        summary = gr.HTML(elem_id="datasets-summary", **PLAIN)
        rows = gr.HTML(elem_id="datasets-rows", **PLAIN)
        line = gr.Textbox(label="Use it", lines=2, interactive=False, buttons=["copy"], elem_id="datasets-command")
        download = gr.DownloadButton("Download as a zip", elem_id="datasets-download", size="md")
        with gr.Accordion("Push to the Hub", open=False, elem_id="datasets-push"):
            with gr.Row():
                repository = gr.Textbox(label="Repository", placeholder="name/reflections", max_lines=1)
                token = gr.Textbox(label="Your token, which is not kept", type="password", max_lines=1)
                send = gr.Button("Push, private", min_width=140, scale=0)
            sent = gr.HTML(**PLAIN)
    timer = gr.Timer(EVERY, active=False)
    view = [*View(chosen, block, summary, rows, line, download, note)]
    menus = [asked.projects, asked.checkpoints]
    gr.on(fn=handlers.start, outputs=[collected, *menus, ready, first, timer, stop, *view], **QUIET)
    changes = [field.input if isinstance(field, gr.Dropdown) else field.change for field in asked]
    gr.on(changes, handlers.survey, [*asked], [ready, first], trigger_mode="always_last", **QUIET)
    count.click(handlers.survey_all, [*asked], [ready, first], show_progress_on=[ready], **PRIVATE)
    export.click(handlers.export, [*asked], [progress, timer, stop], **QUIET)
    stop.click(handlers.stop, None, None, **QUIET)
    timer.tick(handlers.look, None, [progress, timer, stop, *view], **QUIET)
    send.click(handlers.push, [chosen, repository, token], [sent, token], show_progress_on=[sent], **PRIVATE)
    chosen.input(handlers.choose, [chosen], view, **QUIET)


def _form() -> tuple[Asked, gr.Button, gr.Button, gr.Button]:
    """The fields of what is asked for, and the buttons below them."""
    kinds = [(kind.title, kind.name) for kind in KINDS.values()]
    gr.HTML("<h2>What to export</h2>", **PLAIN)
    kind = gr.Dropdown(kinds, value=USUAL.kind, label="Kind of data set", elem_id="datasets-kind")
    with gr.Row():
        projects = gr.Dropdown([], multiselect=True, label="Only of projects", elem_id="datasets-projects")
        checkpoints = gr.Dropdown([], multiselect=True, label="Only drawn by", elem_id="datasets-checkpoints")
    with gr.Accordion("Agreement, days, splits", open=False, elem_id="datasets-more"):
        names = list(AGGREGATIONS)
        with gr.Row():
            aggregation = gr.Dropdown(names, value=USUAL.aggregation, label="Where several people answered")
            agreement = gr.Slider(0, 1, USUAL.min_agreement, step=0.05, label="Least agreement")
        with gr.Row():
            since = gr.Textbox(label="From", placeholder="2026-11-01", max_lines=1)
            until = gr.Textbox(label="Before", placeholder="2026-12-01", max_lines=1)
            held_out = gr.Number(0, label="Held out, % of prompts", precision=0, minimum=0, maximum=50)
        own_words = gr.Checkbox(False, label="Only what a person wrote", container=False)
    with gr.Row():
        export = gr.Button("Export", variant="primary", elem_id="datasets-export")
        stop = gr.Button("Stop", variant="stop", visible=False, elem_id="datasets-stop")
        count = gr.Button("Count all", elem_id="datasets-count")
    fields = Asked(kind, projects, checkpoints, since, until, aggregation, agreement, own_words, held_out)
    return fields, export, stop, count
