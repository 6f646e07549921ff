"""The Annotate page: a form for reflections, a sheet for other questions.

Layout, and wiring of buttons and keys to the methods of `studio.annotate.handlers`; nothing of the queue.
"""

import gradio as gr
from gradio.context import Context
from gradio.events import Dependency

from annotations.schema.annotation import REFLECTIONS
from annotations.store.leases import HEARTBEAT
from annotations.store.store import Store
from studio.annotate.handlers import AnnotateHandlers
from studio.annotate.held_items import on_closing
from studio.annotate.panels import PanelHandlers, panels
from studio.annotate.reflection_view import KEYS, SHEET_KEYS, keys_dialog
from studio.annotate.view import AnnotateView
from studio.auth.role_section import on_load_for, role_section
from studio.components.forms.sheet import filled_in, sheet_component
from studio.components.page_options import PLAIN, QUICK
from studio.inference.checkpoints import Checkpoints
from studio.settings import Settings
from studio.teaching.jobs import TeachingJobs
from studio.teaching.section import TeachHandlers, teach_button, teach_section
from studio.theme import script

KEYBOARD = script("components/keys.js", "components/forms/zoom.js", "annotate/annotate.js")
# What was typed meanwhile is done now (keys.js).
SETTLED = {"fn": None, "js": "() => { document.dispatchEvent(new Event('answered')); }"}
JUMP = "(place) => [place, document.getElementById('annotate-panel').command]"


def page(store: Store, settings: Settings, checkpoints: Checkpoints, lessons: TeachingJobs) -> None:
    """Build the page inside the current route."""
    with role_section("annotate", store, settings):
        handlers = AnnotateHandlers(store, settings, checkpoints.first.backend.domain)
        teaching = TeachHandlers(lessons, checkpoints, store, settings, apart=True)
        _layout(handlers, PanelHandlers(store, settings), teaching)


def _layout(handlers: AnnotateHandlers, panel_handlers: PanelHandlers, teaching: TeachHandlers) -> None:
    dialogs = keys_dialog("annotate-keys", KEYS) + keys_dialog("sheet-keys", SHEET_KEYS)
    gr.HTML(dialogs, apply_default_css=False, js_on_load=KEYBOARD)
    token = gr.Textbox(visible="hidden", elem_id="annotate-token", label="Item")
    # The menu's value would be refused by a server that has started anew since: it does not know who may choose what.
    place = gr.Textbox(visible="hidden", elem_id="annotate-place", label="Project")
    save = gr.Button("Keep", visible="hidden", elem_id="annotate-save")
    with gr.Row(elem_id="annotate-top"):
        heading = gr.HTML(elem_id="annotate-prompt", **PLAIN)
        project = gr.Dropdown(
            [("Reflections", REFLECTIONS)],
            value=REFLECTIONS,
            label="Project",
            container=False,
            filterable=False,
            visible=False,
            scale=0,
            min_width=150,
            elem_id="annotate-project",
        )
        progress = gr.HTML(elem_id="annotate-progress", **PLAIN)
        gr.Button("Guide", elem_id="annotate-guide", size="sm", scale=0)
        gr.Button("Mine", elem_id="annotate-mine", size="sm", scale=0)
        undo = gr.Button("Undo", elem_id="annotate-undo", size="sm", scale=0)
        gr.Button("Keys", elem_id="annotate-help", size="sm", scale=0)
        teach = teach_button()
    opened = panels(panel_handlers, place, token)
    learnt = gr.HTML(elem_id="annotate-learnt", **PLAIN)
    with gr.Row(elem_id="annotate", visible=False) as table:
        with gr.Column(scale=4, min_width=320, elem_id="annotate-seen"):
            picture = gr.HTML(elem_id="annotate-stage", **PLAIN)
        with gr.Column(scale=5, min_width=320, elem_id="annotate-form"):
            claim = gr.HTML(elem_id="annotate-claim", **PLAIN)
            sheet = sheet_component("annotate-sheet")
            note = gr.HTML(elem_id="annotate-note", **PLAIN)
            with gr.Row(elem_id="annotate-actions"):
                submit = gr.Button("Submit", variant="primary", elem_id="annotate-submit", scale=3)
                skip = gr.Button("Skip", elem_id="annotate-skip", scale=1, min_width=100)
                why = gr.Textbox(
                    show_label=False,
                    label="Why you skip it",
                    placeholder="Why skip? (⇧S)",
                    container=False,
                    max_lines=1,
                    scale=2,
                    min_width=120,
                    elem_id="annotate-why",
                )
                gr.Button("Flag", elem_id="annotate-flag", scale=1, min_width=90)
    view = AnnotateView(
        token, place, project, opened.guidelines, heading, progress, learnt, picture, claim, sheet, why, table, note
    )
    buttons = {"submit": submit, "skip": skip, "undo": undo, "save": save, "jump": opened.jump, "again": opened.again}
    answered = _listen(handlers, view, buttons)
    section = [*teach_section(teaching, teach)]
    gr.on(fn=teaching.opened, outputs=section, **QUICK)
    for each in answered:
        each.then(teaching.start, None, section, **QUICK)


def _listen(handlers: AnnotateHandlers, view: AnnotateView, buttons: dict[str, gr.Button]) -> list[Dependency]:
    """Wires the buttons; returns what submits, and what takes back."""
    outputs, at = list(view), [view.place, view.token]
    sent = {"inputs": [*at, view.sheet], "js": filled_in("annotate-sheet")}
    on_load_for("annotate", handlers, outputs, **QUICK)
    submitted = buttons["submit"].click(handlers.submit, outputs=outputs, **sent, **QUICK)
    buttons["save"].click(handlers.save, outputs=[view.note], **sent, **QUICK)
    skipped = gr.on([buttons["skip"].click, view.why.submit], handlers.skip, [*at, view.why], outputs, **QUICK)
    undone = buttons["undo"].click(handlers.undo, [view.place], outputs, **QUICK)
    view.project.input(handlers.choose, [view.project, view.token], outputs, **QUICK)
    chosen = gr.Textbox(visible="hidden", label="Drawing")
    jumped = buttons["jump"].click(handlers.jump, [view.place, chosen], outputs, js=JUMP, **QUICK)
    begun = buttons["again"].click(handlers.again, [view.place], outputs, **QUICK)
    for answered in (submitted, skipped, undone, jumped, begun):
        answered.then(**SETTLED)
    view.token.change(handlers.prepare, at, None, **QUICK)
    gr.Timer(HEARTBEAT).tick(handlers.alive, at, [view.note], **QUICK)
    Context.root_block.unload(on_closing(handlers.leave, handlers.holding))
    return [submitted, undone]
