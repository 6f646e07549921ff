"""What has been drawn so far, newest first; one of them can be watched again.

Knows the store and the timeline component; needs no checkpoint. Handlers first, layout below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from annotations.backup import last
from annotations.errors import AnnotationsError
from annotations.store import Store
from annotations.trajectories import EVERYTHING, Cursor, Filter
from studio import render
from studio.masthead import intro
from studio.replays import replay
from studio.settings import Settings
from studio.theme import script
from studio.timeline import timeline

PAGE = 24  # cards that are shown at a time
EMPTY = '<p class="none">Nothing here yet. <a href="./">Draw something</a>.</p>'
NO_MATCH = '<p class="none">Nothing matches. Search for fewer words, or for all drawings.</p>'


# What the gallery can be narrowed to, by the words of its menu.
KINDS = {
    "Everything": EVERYTHING,
    "Aha moments": Filter(aha=True),
    "Last verdict yes": Filter(verdict="yes"),
    "Last verdict no": Filter(verdict="no"),
    "Annotated": Filter(annotated=True),
    "Going on from another": Filter(branch=True),
}
ALL = next(iter(KINDS))
ANY = "Any checkpoint"


@dataclass(frozen=True)
class Choice:
    """What a visitor wants to see, as the widgets say it."""

    search: str = ""
    kind: str = ALL
    checkpoint: str = ANY

    def filter(self) -> Filter:
        checkpoint = None if self.checkpoint == ANY else self.checkpoint
        return replace(KINDS.get(self.kind, EVERYTHING), checkpoint=checkpoint, search=self.search)


def listing(store: Store, choice: Choice, cursor: str = "") -> tuple[str, str, dict, dict]:
    """A page of cards from `cursor` on: their HTML, the next cursor, and updates of the buttons Newest and Older."""
    try:
        before = Cursor.parse(cursor) if cursor else None
        listed = store.trajectories(limit=PAGE + 1, before=before, keep=choice.filter())
    except AnnotationsError as error:
        return f'<p class="none">{render.text(str(error))}</p>', "", gr.update(visible=True), gr.update(visible=False)
    page, more = listed[:PAGE], len(listed) > PAGE
    html = render.cards(page, lambda sha256: _picture(store, sha256))
    if not page:
        html = EMPTY if choice == Choice() else NO_MATCH
    after = str(page[-1].cursor) if more else ""
    return html, after, gr.update(visible=before is not None), gr.update(visible=more)


def backed_up(store: Store, settings: Settings, now: datetime) -> str:
    """How old the last backup is, where backups are made."""
    if not settings.backup:
        return ""
    done = last(store.database.directory)
    if done is None:
        return "<p>No backup has been made yet.</p>"
    minutes = round((now - done).total_seconds() / 60)
    age = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
    return f"<p>The last backup was made {age} ago.</p>"


def _picture(store: Store, sha256: str) -> bytes | None:
    try:
        return store.picture(sha256)
    except AnnotationsError:
        return None


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    intro("Gallery", "Everything the model has drawn here, newest first. Open one to watch it happen again.")
    viewer = timeline(elem_id="viewer")
    widgets = _filters()
    cards = gr.HTML(elem_id="cards", js_on_load=script("gallery.js"), apply_default_css=False)
    cursor = gr.State("")
    with gr.Row(elem_classes="paging"):
        newest = gr.Button("Newest", size="sm", visible=False, scale=0)
        older = gr.Button("Older", size="sm", visible=False, scale=0)

    backups = gr.HTML(elem_classes="backups", js_on_load=None, apply_default_css=False)

    def shown(*chosen: str) -> Any:
        return listing(store, Choice(*chosen))

    def turned(cursor: str, *chosen: str) -> Any:
        return listing(store, Choice(*chosen), cursor)

    def begun() -> Any:
        names = store.checkpoints()
        backups = backed_up(store, settings, datetime.now(UTC))
        return *listing(store, Choice()), gr.update(choices=[ANY, *names], visible=len(names) > 1), backups

    def opened(event: gr.EventData) -> render.Row:
        return replay(store, str(event.run), settings)

    def linked(request: gr.Request) -> render.Row:
        run = dict(request.query_params).get("run")
        return replay(store, run, settings) if run else {}

    options = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    outputs, changes = [cards, cursor, newest, older], [widget.change for widget in widgets]
    gr.on([*changes, newest.click], shown, widgets, outputs, trigger_mode="always_last", **options)
    older.click(turned, [cursor, *widgets], outputs, **options)
    cards.open(opened, None, viewer, **options)
    gr.on(None, begun, [], [*outputs, widgets[-1], backups], **options)
    gr.on(None, linked, [], viewer, **options)


def _filters() -> list[gr.Textbox | gr.Dropdown]:
    """The widgets of a Choice, in its order."""
    plain = {"show_label": False, "container": False}
    with gr.Row(elem_classes="filters"):
        hint = "Search prompts"
        return [
            gr.Textbox(label=hint, placeholder=hint, scale=1, max_lines=1, **plain),
            gr.Dropdown(list(KINDS), value=ALL, label="Show", scale=0, min_width=190, elem_id="kind", **plain),
            gr.Dropdown([ANY], value=ANY, label="Drawn by", scale=0, min_width=190, visible=False, **plain),
        ]
