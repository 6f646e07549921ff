"""The Annotate page: a form for reflections, a sheet for other questions.

Knows where everything stands and which handler of `studio.annotate.handlers` answers to what; nothing of the queue.
"""

from __future__ import annotations

import gradio as gr
from gradio.context import Context

from annotations.schema.annotation import REFLECTIONS
from annotations.schema.forms.rating import Rating
from annotations.schema.project import Role
from annotations.schema.questions import NO, REASON_RATING, THOUGHT_RATING, VERDICT_RIGHT, YES
from annotations.store.store import Store
from studio.annotate.handlers import AnnotateHandlers
from studio.annotate.held_items import on_closing
from studio.annotate.reflection_view import KEYS, SHEET_KEYS, keys_dialog
from studio.annotate.view import ASKED, View
from studio.auth.role_section import role_section
from studio.settings import Settings
from studio.theme import script

PLAIN = {"apply_default_css": False, "js_on_load": None}
SHEET = '<section class="sheet" hidden><div class="pictures"></div><div class="asked"></div></section>'
FILLED = "(project, token) => [project, token, document.querySelector('#annotate-sheet .sheet').filled]"
KEYBOARD = script("components/keys.js") + script("annotate/zoom.js") + script("annotate/annotate.js")
SETTLED = {"fn": None, "js": "() => window.ahaSettled?.()"}  # what was typed meanwhile is done now
ALIVE = 60  # seconds between two signs of life; a lease is held for ten minutes


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section(Role.ANNOTATOR, "annotate", store, settings):
        _table(AnnotateHandlers(store, settings))


def _table(desk: AnnotateHandlers) -> None:
    dialogs = keys_dialog("annotate-keys", KEYS) + keys_dialog("sheet-keys", SHEET_KEYS)
    gr.HTML(dialogs, apply_default_css=False, js_on_load=KEYBOARD)
    token = gr.Textbox(visible="hidden", elem_id="annotate-token", label="Item")
    # The menu's value would be refused by a server that has started anew since: it does not know who may choose what.
    place = gr.Textbox(visible="hidden", elem_id="annotate-place", label="Project")
    save = gr.Button("Keep", visible="hidden", elem_id="annotate-save")
    keep = gr.Button("Keep the sheet", visible="hidden", elem_id="sheet-save")
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
            min_width=180,
            elem_id="annotate-project",
        )
        progress = gr.HTML(elem_id="annotate-progress", **PLAIN)
        guide = gr.Button("Guidelines", elem_id="annotate-guide", size="sm", scale=0)
        undo = gr.Button("Undo", elem_id="annotate-undo", size="sm", scale=0)
        keys = gr.Button("Keys", elem_id="annotate-help", size="sm", scale=0)
    guidelines = gr.Markdown(elem_id="annotate-guidelines")
    learnt = gr.HTML(elem_id="annotate-learnt", **PLAIN)
    with gr.Row(elem_id="annotate", visible=False) as table:
        with gr.Column(scale=4, min_width=320, elem_id="annotate-seen"):
            picture = gr.HTML(elem_id="annotate-stage", **PLAIN)
        with gr.Column(scale=5, min_width=320, elem_id="annotate-form"):
            sheet = _sheet()
            claim = gr.HTML(elem_id="annotate-claim", **PLAIN)
            right = choice(VERDICT_RIGHT, [("Yes", YES), ("No", NO)], "annotate-right")
            rating = choice(REASON_RATING, list(Rating().values), "annotate-rating")
            reason = gr.Textbox(lines=2, max_lines=6, elem_id="annotate-reason", label="", info=" ")
            with gr.Row(elem_id="annotate-plan-block") as plan_block:
                plan = gr.Textbox(
                    lines=1, max_lines=4, elem_id="annotate-plan", label="The plan it drew from", scale=5, min_width=280
                )
                plan_rating = gr.Radio(
                    list(Rating().values),
                    label=ASKED[THOUGHT_RATING].title,
                    elem_id="annotate-plan-rating",
                    elem_classes="choice",
                    scale=4,
                    min_width=240,
                )
            note = gr.HTML(elem_id="annotate-note", **PLAIN)
            with gr.Row(elem_id="annotate-actions"):
                submit = gr.Button("Submit", variant="primary", elem_id="annotate-submit", scale=3)
                hand_in = gr.Button("Submit", variant="primary", elem_id="sheet-submit", scale=3)
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
    view = View(
        token, place, project, guidelines, heading, progress, learnt, picture, claim, right, rating, reason, plan_block,
        plan_rating, plan, sheet, why, table, note,
    )  # fmt: skip
    _listen(desk, view, {"submit": submit, "skip": skip, "undo": undo, "save": save, "hand_in": hand_in, "keep": keep})
    keys.click(None, js="() => window.ahaKeys()")
    guide.click(None, js="() => document.getElementById('annotate-guidelines').classList.toggle('shown')")


def _listen(desk: AnnotateHandlers, view: View, buttons: dict[str, gr.Button]) -> None:
    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    outputs, at = list(view), [view.place, view.token]
    form = [*at, view.verdict, view.rating, view.reason, view.plan_rating, view.plan]
    gr.on(fn=desk.start, outputs=outputs, **quick)
    submitted = buttons["submit"].click(desk.submit, form, outputs, **quick)
    buttons["save"].click(desk.save, form, [view.note], **quick)
    skipped = gr.on([buttons["skip"].click, view.why.submit], desk.skip, [*at, view.why], outputs, **quick)
    undone = buttons["undo"].click(desk.undo, [view.place], outputs, **quick)
    view.project.input(desk.choose, [view.project, view.token], outputs, **quick)
    view.verdict.input(desk.guide, [*at, view.verdict], [view.reason], **quick)
    handed_in = buttons["hand_in"].click(desk.hand_in, [*at, view.sheet], outputs, js=FILLED, **quick)
    for answered in (submitted, skipped, undone, handed_in):
        answered.then(**SETTLED)
    buttons["keep"].click(desk.keep, [*at, view.sheet], [view.note], js=FILLED, **quick)
    view.token.change(desk.prepare, at, None, **quick)
    gr.Timer(ALIVE).tick(desk.alive, at, [view.note], **quick)
    Context.root_block.unload(on_closing(desk.leave, desk.holding))


def _sheet() -> gr.HTML:
    """What is asked where it is no reflection; the names of each script are known to those after it."""
    scripts = script("components/keys.js") + script("annotate/marks.js") + script("annotate/sheet.js")
    return gr.HTML(None, html_template=SHEET, js_on_load=scripts, apply_default_css=False, elem_id="annotate-sheet")


def choice(name: str, choices: list, elem_id: str) -> gr.Radio:
    """A question whose answers stand side by side."""
    question = ASKED[name]
    return gr.Radio(choices, label=question.title, info=question.help, elem_id=elem_id, elem_classes="choice")
