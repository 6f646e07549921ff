"""The Datasets page: what there is to export, exports in the background, earlier exports. Layout and wiring only."""

from __future__ import annotations

import gradio as gr

from annotations.export.jobs import ExportJobs
from annotations.export.registry import KINDS
from annotations.store.store import Store
from studio.auth.role_section import on_load_for, role_section
from studio.components.page_options import ANSWER, PLAIN, PRIVATE, QUIET
from studio.datasets.handlers import AGGREGATIONS, DatasetsHandlers, DatasetsView, ExportForm
from studio.header import intro
from studio.settings import Settings

EVERY = 1.0  # seconds between two looks at an export that is under way


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section("datasets", store, settings):
        _datasets(DatasetsHandlers(store, settings, ExportJobs(store)))


def _datasets(handlers: DatasetsHandlers) -> None:
    intro("Datasets", "What people said of the model’s drawings, as rows that trainers take.")
    collected = gr.HTML(elem_id="datasets-collected", **PLAIN)
    with gr.Row(elem_id="datasets"):
        with gr.Column(scale=1, min_width=320):
            form, export, stop, count = _form()
            progress = gr.HTML(elem_id="datasets-progress", **PLAIN)
            note = gr.HTML(elem_id="datasets-note", **ANSWER)
        with gr.Column(scale=1, min_width=320):
            gr.HTML("<h2>What it holds</h2>", **PLAIN)
            ready = gr.HTML(elem_id="datasets-ready", **PLAIN)
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
    view = [*DatasetsView(chosen, block, summary, rows, line, download, note)]
    menus = [form.projects, form.checkpoints, form.annotators, form.categories]
    on_load_for("datasets", handlers, [collected, *menus, ready, first, timer, stop, *view], **QUIET)
    changes = [field.input if isinstance(field, gr.Dropdown) else field.change for field in form]
    gr.on(changes, handlers.survey, [*form], [ready, first], trigger_mode="always_last", **QUIET)
    count.click(handlers.survey_all, [*form], [ready, first], show_progress_on=[ready], **PRIVATE)
    export.click(handlers.export, [*form], [progress, timer, stop], **QUIET)
    stop.click(handlers.stop, None, None, **QUIET)
    timer.tick(handlers.look, None, [progress, timer, stop, *view], **QUIET)
    send.click(handlers.push, [chosen, repository, token], [sent, token], show_progress_on=[sent], **PRIVATE)
    chosen.input(handlers.choose, [chosen], view, **QUIET)


def _form() -> tuple[ExportForm, gr.Button, gr.Button, gr.Button]:
    """The fields of what is exported, and the buttons below them."""
    usual = ExportForm()
    kinds = [(kind.title, kind.name) for kind in KINDS.values()]
    gr.HTML("<h2>What to export</h2>", **PLAIN)
    kind = gr.Dropdown(kinds, value=usual.kind, label="Kind of data set", elem_id="datasets-kind")
    with gr.Row():
        projects = _filter("Only of projects", "projects")
        checkpoints = _filter("Only drawn by", "checkpoints")
    with gr.Accordion("Filters", open=False, elem_id="datasets-filters"):
        with gr.Row():
            annotators = _filter("Only answers of", "annotators")
            categories = _filter("Only prompts of the category", "categories")
        with gr.Row():
            since = gr.Textbox(label="From", placeholder="2026-11-01", max_lines=1)
            until = gr.Textbox(label="Before", placeholder="2026-12-01", max_lines=1)
        own_words = gr.Checkbox(False, label="Only what a person wrote", container=False)
    with gr.Accordion("Agreement, thresholds, split", open=False, elem_id="datasets-rules"):
        with gr.Row():
            aggregation = gr.Dropdown(
                list(AGGREGATIONS), value=usual.aggregation, label="Where several people answered"
            )
            held_out = gr.Number(0, label="Held out, % of prompts", precision=0, minimum=0, maximum=50)
        with gr.Row():
            agreement = _share(usual.min_agreement, "Least agreement")
            difference = _share(usual.min_rating_difference, "Least difference of ratings")
        with gr.Row():
            good = _share(usual.good, "A rating is good from")
            bad = _share(usual.bad, "A rating is bad up to")
    with gr.Row():
        export = gr.Button("Export", variant="primary", elem_id="datasets-export")
        stop = gr.Button("Stop", variant="stop", visible=False, elem_id="datasets-stop")
        count = gr.Button("Count all", elem_id="datasets-count")
    filters = (projects, checkpoints, annotators, categories, since, until, own_words)
    fields = ExportForm(kind, *filters, aggregation, agreement, good, bad, difference, held_out)
    return fields, export, stop, count


def _filter(label: str, name: str) -> gr.Dropdown:
    """A menu of what to keep; empty: everything."""
    return gr.Dropdown([], multiselect=True, label=label, min_width=200, elem_id=f"datasets-{name}")


def _share(value: float | None, label: str) -> gr.Number:
    return gr.Number(value, label=label, minimum=0, maximum=1, step=0.05, min_width=140)
