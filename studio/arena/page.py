"""The Arena page: blind comparison of two drawings of one prompt.

Layout, and wiring of buttons and keys to the methods of `studio.arena.handlers`.
"""

import gradio as gr
from gradio.context import Context

from annotations.store.leases import HEARTBEAT
from annotations.store.store import Store
from studio.annotate.held_items import HeldItems, on_closing
from studio.annotate.page import SETTLED
from studio.arena.handlers import ArenaHandlers, ArenaView
from studio.auth.role_section import on_load_for, role_section
from studio.components.forms.sheet import sheet_component
from studio.components.page_options import PLAIN, QUICK
from studio.header import intro
from studio.settings import Settings
from studio.theme import script

# What is written in answer to the text questions, by their names, as JSON.
WORDS = (
    "JSON.stringify(Object.fromEntries([...document.querySelectorAll('#arena-words textarea')]"
    ".map((box) => [box.name, box.value])))"
)


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section("arena", store, settings):
        _arena(store, settings)


def _arena(store: Store, settings: Settings) -> None:
    handlers = ArenaHandlers(store, settings, HeldItems(store))
    showing = gr.State(None)
    with gr.Column(elem_id="arena"):
        with gr.Row(elem_id="arena-top"):
            head = gr.HTML(
                elem_id="arena-prompt",
                js_on_load=script("components/keys.js", "arena/arena.js"),
                apply_default_css=False,
            )
            progress = gr.HTML(elem_id="arena-progress", **PLAIN)
            chosen = gr.Dropdown([], label="Project", show_label=False, container=False, visible=False, scale=0)
        with gr.Column(visible=False) as workspace:
            sheet = sheet_component("arena-sheet")
        answer = gr.Button("Answer", visible="hidden", elem_id="arena-answer")
        laid_by = {"html_template": "<div></div>", "js_on_load": script("arena/words.js")}
        words = gr.HTML(None, elem_id="arena-words", apply_default_css=False, **laid_by)
        with gr.Row(elem_id="arena-more"):
            none = gr.Button("No answer", size="sm", scale=0, min_width=110, elem_id="arena-none", visible=False)
            skip = gr.Button("Skip", size="sm", scale=0, min_width=90, elem_id="arena-skip")
            undo = gr.Button("Undo", size="sm", scale=0, min_width=90, elem_id="arena-undo")
            note = gr.HTML(elem_id="arena-note", **PLAIN)
    with gr.Column(elem_id="arena-board"):
        intro("Who leads", "From all votes of this project so far. Look here after voting, lest it persuade you.")
        count = gr.Button("Count the votes", scale=0, min_width=160, elem_id="arena-count")
        leaders = gr.HTML(**PLAIN)
    view = [*ArenaView(showing, chosen, progress, head, sheet, workspace, none, words, note)]
    on_load_for("arena", handlers, view, **QUICK)
    chosen.input(handlers.choose, [chosen, showing], view, **QUICK)
    choice = "document.querySelector('#arena-sheet .sheet').value"
    acted = [
        button.click(
            handlers.answer, [showing, sheet, words], view, js=f"showing => [showing, {sent}, {WORDS}]", **QUICK
        )
        for button, sent in ((answer, choice), (none, "''"))
    ]
    acted.append(skip.click(handlers.skip, [showing], view, **QUICK))
    acted.append(undo.click(handlers.undo, [chosen, showing], view, **QUICK))
    for event in acted:
        event.then(**SETTLED)
    count.click(handlers.leaders, [chosen], [leaders], **QUICK)
    gr.Timer(HEARTBEAT).tick(handlers.alive, [showing], [note], **QUICK)
    Context.root_block.unload(on_closing(handlers.leave, handlers.holding))
