"""The Training page: a new run, runs under way and done, one of them closer. Layout and wiring only."""

from __future__ import annotations

import gradio as gr

from annotations.store.store import Store
from model.backends.embedded_world import EMBEDDED_WORLD
from model.training.methods import METHODS
from studio.auth.role_section import on_load_for, role_section
from studio.components.page_options import ANSWER, PLAIN, QUIET
from studio.header import intro
from studio.inference.checkpoints import Checkpoints
from studio.settings import Settings
from studio.training.handlers import Menus, TrainingHandlers, TrainingView
from studio.training.run_form import MOST_STEPS, Asked

MIXED_IN = f"Mix in sequences of the {EMBEDDED_WORLD.name} (for checkpoints that draw its prompts)"
EVERY = 2.0  # seconds between two looks at what is under way


def page(checkpoints: Checkpoints, store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section("training", store, settings):
        _training(TrainingHandlers(store, settings, checkpoints))


def _training(handlers: TrainingHandlers) -> None:
    intro("Training", "What people corrected becomes a better checkpoint, in a process of its own.")
    with gr.Row(elem_id="training"):
        with gr.Column(scale=3, min_width=320):
            asked, purpose, expected, begin = _form()
        with gr.Column(scale=2, min_width=320):
            gr.HTML("<h2>Runs</h2>", **PLAIN)
            runs = gr.HTML(elem_id="training-runs", **PLAIN)
    view = _run(runs)
    shown = [*view]
    menus = [*Menus(asked.data, asked.checkpoint, purpose, asked.steps, asked.replays, asked.folder)]
    on_load_for("training", handlers, [*menus, expected, *shown], **QUIET)
    chosen = asked.method.input(handlers.choose_method, [asked.method], menus, **QUIET)
    chosen.then(handlers.estimate, [*asked], [expected], **QUIET)
    changes = [asked.data.input, asked.adapter.input, asked.folder.change, asked.checkpoint.input, asked.steps.change]
    gr.on(changes, handlers.estimate, [*asked], [expected], trigger_mode="always_last", **QUIET)
    begin.click(handlers.launch, [*asked], shown, **QUIET)
    view.timer.tick(handlers.look, [view.chosen, view.other], shown, **QUIET)
    view.other.input(handlers.compare, [view.chosen, view.other], shown, **QUIET)
    view.at.input(handlers.sample, [view.chosen, view.at], [view.samples], trigger_mode="always_last", **QUIET)
    acts = {view.stop: handlers.stop, view.resume: handlers.resume, view.draw: handlers.draw}
    for button, act in {**acts, view.take_off: handlers.take_off, view.delete: handlers.delete}.items():
        button.click(act, [view.chosen], shown, **QUIET)


def _form() -> tuple[Asked, gr.HTML, gr.HTML, gr.Button]:
    """The fields of a new run; what its method does, what it will take, and the button that starts it."""
    first = next(iter(METHODS.values()))
    gr.HTML("<h2>New run</h2>", **PLAIN)
    methods = [(method.title, method.name) for method in METHODS.values()]
    method = gr.Radio(methods, value=first.name, label="Method", elem_id="training-method")
    purpose = gr.HTML(elem_id="training-purpose", **PLAIN)
    with gr.Row():
        data = gr.Dropdown([], multiselect=True, label="Learns from", elem_id="training-data", min_width=240)
        checkpoint = gr.Dropdown([], label="Starts from", elem_id="training-checkpoint", min_width=160)
    with gr.Row():
        steps = gr.Number(
            first.steps,
            label="Steps",
            precision=0,
            minimum=1,
            maximum=MOST_STEPS,
            elem_id="training-steps",
            min_width=120,
        )
        name = gr.Textbox(label="Name", placeholder="sft-…", max_lines=1, elem_id="training-name", min_width=160)
    kinds = [("All weights", ""), ("An adapter (LoRA)", "lora"), ("An adapter (DoRA)", "dora")]
    adapter = gr.Radio(kinds, value="", label="Trains", elem_id="training-adapter")
    replays = gr.Checkbox(False, label=MIXED_IN, container=False)
    with gr.Accordion("A folder on the server, options of the method", open=False, elem_id="training-more"):
        folder = gr.Textbox(label="Folder with rows", placeholder="/data/rows", max_lines=1, elem_id="training-folder")
        options = gr.Textbox(
            label="Options", placeholder="--learning-rate 1e-4 --batch 16", max_lines=1, elem_id="training-options"
        )
    expected = gr.HTML(elem_id="training-estimate", **PLAIN)
    start = gr.Button("Start", variant="primary", elem_id="training-start")
    return Asked(method, data, folder, checkpoint, steps, replays, adapter, name, options), purpose, expected, start


def _run(runs: gr.HTML) -> TrainingView:
    """All that is said of one run."""
    note = gr.HTML(elem_id="training-note", **ANSWER)
    chosen = gr.Textbox(visible="hidden", elem_id="training-chosen", label="Run")
    with gr.Column(visible=False, elem_id="training-block") as block:
        head = gr.HTML(elem_id="training-head", **PLAIN)
        with gr.Row(elem_id="training-acts"):
            size = {"size": "md", "scale": 0, "min_width": 120}
            draw = gr.Button("Draw with it", variant="primary", elem_id="training-draw", **size)
            stop = gr.Button("Stop", variant="stop", elem_id="training-stop", **size)
            resume = gr.Button("Go on", elem_id="training-resume", **size)
            take_off = gr.Button("Take it off", elem_id="training-off", **size)
            delete = gr.Button("Delete", elem_id="training-delete", **size)
            other = gr.Dropdown(
                [], label="Beside it", show_label=True, elem_id="training-other", min_width=200, interactive=True
            )
        curves = gr.HTML(elem_id="training-curves", **PLAIN)
        evaluated = gr.HTML(elem_id="training-evaluated", **PLAIN)
        with gr.Column(visible=False, elem_id="training-sampled") as sampled:
            at = gr.Slider(0, 1, 0, step=1, label="Evaluation", elem_id="training-at")
            samples = gr.HTML(elem_id="training-samples", **PLAIN)
        compared = gr.HTML(elem_id="training-compared", **PLAIN)
        with gr.Accordion("What it learnt from", open=True, elem_id="training-provenance"):
            source = gr.HTML(**PLAIN)
        with gr.Accordion("The command, what it printed", open=False, elem_id="training-output"):
            copied = {"lines": 2, "interactive": False, "buttons": ["copy"], "elem_id": "training-command"}
            command = gr.Textbox(show_label=False, label="Command", **copied)
            output = gr.HTML(**PLAIN)
    timer = gr.Timer(EVERY, active=False)
    buttons = (stop, resume, draw, take_off, delete)
    return TrainingView(
        runs,
        chosen,
        block,
        head,
        *buttons,
        other,
        curves,
        compared,
        evaluated,
        sampled,
        at,
        samples,
        source,
        command,
        output,
        timer,
        note,
    )
