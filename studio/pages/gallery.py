"""What has been drawn so far, newest first; one of them can be watched again.

Knows the store and the timeline component; needs no checkpoint. Handlers first, layout below.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from annotations.errors import AnnotationsError
from annotations.store import Store
from annotations.trajectories import Cursor
from studio import render
from studio.masthead import intro
from studio.replays import replay
from studio.settings import Settings
from studio.theme import script
from studio.timeline import timeline

PAGE = 24  # cards that are shown at a time
EMPTY = '<p class="none">Nothing here yet. <a href="./">Draw something</a>.</p>'
NO_MATCH = '<p class="none">Nothing matches. Search for fewer words, or for all drawings.</p>'


def listing(store: Store, search: str, aha_only: bool, cursor: str = "") -> tuple[str, str, dict, dict]:
    """A page of cards from `cursor` on: their HTML, the next cursor, and updates of the buttons Newest and Older."""
    try:
        before = Cursor.parse(cursor) if cursor else None
        listed = store.trajectories(limit=PAGE + 1, before=before, aha=aha_only or None, search=search)
    except AnnotationsError as error:
        return f'<p class="none">{render.text(str(error))}</p>', "", gr.update(visible=True), gr.update(visible=False)
    page, more = listed[:PAGE], len(listed) > PAGE
    html = render.cards(page, lambda sha256: _picture(store, sha256))
    if not page:
        html = NO_MATCH if search.strip() or aha_only else EMPTY
    after = str(page[-1].cursor) if more else ""
    return html, after, gr.update(visible=before is not None), gr.update(visible=more)


def _picture(store: Store, sha256: str) -> bytes | None:
    try:
        return store.picture(sha256)
    except AnnotationsError:
        return None


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    intro("Gallery", "Everything the model has drawn here, newest first. Open one to watch it happen again.")
    viewer = timeline(elem_id="viewer")
    search, aha_only = _filters()
    cards = gr.HTML(elem_id="cards", js_on_load=script("gallery.js"), apply_default_css=False)
    cursor = gr.State("")
    with gr.Row(elem_classes="paging"):
        newest = gr.Button("Newest", size="sm", visible=False, scale=0)
        older = gr.Button("Older", size="sm", visible=False, scale=0)

    def shown(search: str, aha_only: bool) -> Any:
        return listing(store, search, aha_only)

    def turned(search: str, aha_only: bool, cursor: str) -> Any:
        return listing(store, search, aha_only, cursor)

    def opened(event: gr.EventData) -> render.Row:
        return replay(store, str(event.run), settings)

    def linked(request: gr.Request) -> render.Row:
        run = dict(request.query_params).get("run")
        return replay(store, run, settings) if run else {}

    options = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    kept, outputs = [search, aha_only], [cards, cursor, newest, older]
    gr.on([search.change, aha_only.change, newest.click], shown, kept, outputs, trigger_mode="always_last", **options)
    older.click(turned, [*kept, cursor], outputs, **options)
    cards.open(opened, None, viewer, **options)
    gr.on(None, lambda: listing(store, "", aha_only=False), [], outputs, **options)
    gr.on(None, linked, [], viewer, **options)


def _filters() -> tuple[gr.Textbox, gr.Checkbox]:
    with gr.Row(elem_classes="filters"):
        search = gr.Textbox(
            label="Search prompts",
            show_label=False,
            placeholder="Search prompts",
            container=False,
            scale=1,
            max_lines=1,
        )
        aha_only = gr.Checkbox(label="Aha moments only", container=False, scale=0, min_width=180)
    return search, aha_only
