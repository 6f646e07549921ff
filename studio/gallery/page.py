"""The Gallery page: stored trajectories, newest first, with replay.

Knows the store and the timeline component; needs no checkpoint. Handlers first, layout below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from functools import partial

import gradio as gr

from annotations.backup import last
from annotations.errors import AnnotationsError, redact_paths
from annotations.moderation.reports import LONGEST_NOTE, report
from annotations.moderation.withholding import withheld, withheld_picture
from annotations.store.listing import Cursor, TrajectorySummary
from annotations.store.store import Store
from model.trajectory import Origin
from studio.auth.identity import is_local
from studio.components import render
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, QUICK
from studio.components.quantities import duration
from studio.components.timeline.component import timeline
from studio.gallery.bulk import BulkHandlers, bulk_bar, changed_by
from studio.gallery.filters import (
    ALL,
    ANY_CHECKPOINT,
    ANY_PROMPT,
    HIDDEN,
    KINDS,
    LONGEST_SEARCH,
    PROMPTS,
    WHOLE,
    GalleryFilter,
)
from studio.header import intro
from studio.inference.live_events import PageVisit, forget
from studio.inference.replays import replay
from studio.settings import Settings
from studio.theme import script

PAGE = 24  # cards that are shown at a time
EMPTY = '<p class="none">Nothing here yet. <a href="./">Draw something</a>.</p>'
NO_MATCH = '<p class="none">Nothing matches. Search for fewer words, or for all drawings.</p>'


def listing(
    store: Store, choice: GalleryFilter, cursor: str = "", *, moderates: bool = False
) -> tuple[str, str, dict, dict]:
    """A page of cards from `cursor` on: their HTML, the next cursor, and updates of the buttons Newest and Older.
    `moderates`: who asks may see what is hidden.
    """
    if choice.kind == HIDDEN:
        listed = withheld(store) if moderates else []
        html = render.cards(listed, partial(withheld_picture, store), choice.address(), NO_MATCH)
        return html, "", gr.update(visible=False), gr.update(visible=False)
    try:
        before = Cursor.parse(cursor) if cursor else None
        listed = store.trajectories(limit=PAGE + 1, before=before, keep=choice.filter())
    except AnnotationsError as error:
        return (
            f'<p class="none">{render.escaped(redact_paths(error))}</p>',
            "",
            gr.update(visible=True),
            gr.update(visible=False),
        )
    page, more = listed[:PAGE], len(listed) > PAGE
    none = "" if page else EMPTY if choice == WHOLE else NO_MATCH
    html = render.cards(page, store.picture_or_none, choice.address(cursor), none, _overruled(store, page))
    after = str(page[-1].cursor) if more else ""
    return html, after, gr.update(visible=before is not None), gr.update(visible=more)


def _overruled(store: Store, listed: Sequence[TrajectorySummary]) -> set[str]:
    """Ids of the trajectories whose last verdict a person wrote, which only a branch has."""
    branches = store.trajectories_by_id([each.id for each in listed if each.parent_id and each.answers])
    last = {id: trajectory.reflections[-1] for id, trajectory in branches.items()}
    return {id for id, each in last.items() if any(token.origin is Origin.PERSON for token in each.tokens[:1])}


def narrow(store: Store, seen: str, choice: GalleryFilter, *, moderates: bool = False) -> tuple:
    """(what is seen now, its listing); nothing new where the choice is `seen` already, as after the page filled in
    its widgets.
    """
    if choice.address() == seen:
        return (gr.skip(),) * 5
    return choice.address(), *listing(store, choice, moderates=moderates)


def begin(store: Store, settings: Settings, address: Mapping[str, str], *, moderates: bool = False) -> tuple:
    """(what is seen, its listing, the widgets of a Choice, how old the backup is) as the page's address wants them."""
    names = store.checkpoints()
    choice = GalleryFilter.of(address)
    if choice.checkpoint not in names:
        choice = replace(choice, checkpoint=ANY_CHECKPOINT)
    search, kind, category, _ = astuple(choice)
    shown = gr.update(choices=[*KINDS, HIDDEN], value=kind) if moderates else kind
    drawn_by = gr.update(choices=[ANY_CHECKPOINT, *names], value=choice.checkpoint, visible=len(names) > 1)
    listed = listing(store, choice, address.get("before", ""), moderates=moderates)
    widgets = search, shown, category, drawn_by
    return choice.address(), *listed, *widgets, backed_up(store, settings, datetime.now(UTC))


def shown(store: Store, run: str, settings: Settings) -> render.Row:
    """One of them, to be watched again, and deleted by the person at the machine."""
    return replay(store, run, settings) | {"deletable": is_local(settings)}


def reported(store: Store, run: str, note: str, by: str) -> str:
    """A notice about a visitor's report."""
    try:
        report(store, run, by=by, note=note or "")
    except AnnotationsError as error:
        return error_notice(redact_paths(error))
    return success_notice("Thank you. Whoever runs this studio will look at it.")


def backed_up(store: Store, settings: Settings, now: datetime) -> str:
    """How old the last backup is, where backups are made."""
    if not settings.backup:
        return ""
    done = last(store.database.directory)
    if done is None:
        return '<p class="soft">No backup has been made yet.</p>'
    age = duration((now - done).total_seconds())
    return f'<p class="soft">The last backup was made {age} ago.</p>'


@dataclass(frozen=True)
class GalleryHandlers:
    """Handlers of the page's events; their names are those of the access table."""

    store: Store
    settings: Settings
    bulk: BulkHandlers

    def begun(self, request: gr.Request) -> tuple:
        moderates = self.bulk.may(request)
        return begin(self.store, self.settings, dict(request.query_params), moderates=moderates)

    def narrowed(self, request: gr.Request, seen: str, *chosen: str) -> tuple:
        return narrow(self.store, seen, GalleryFilter(*chosen), moderates=self.bulk.may(request))

    def newest_first(self, request: gr.Request, *chosen: str) -> tuple:
        return listing(self.store, GalleryFilter(*chosen), moderates=self.bulk.may(request))

    def turned(self, cursor: str, *chosen: str) -> tuple:
        return listing(self.store, GalleryFilter(*chosen), cursor)

    def moderated(self, request: gr.Request) -> tuple:
        """(the bar for several drawings, the button that begins with them, the projects) for admins."""
        if not self.bulk.may(request):
            return (gr.skip(),) * 3
        return gr.update(visible=True), gr.update(visible=True), gr.update(choices=self.bulk.projects())

    def opened(self, event: gr.EventData) -> tuple:
        return self._seen(str(event.run))

    def linked(self, request: gr.Request) -> tuple:
        return self._seen(dict(request.query_params).get("run") or "")

    def _seen(self, run: str) -> tuple:
        """(the viewer, which run it shows, the form of a report, a notice)"""
        viewer = shown(self.store, run, self.settings) if run else {}
        return viewer, run, gr.update(visible=bool(run), open=False), ""

    def told(self, run: str, note: str, request: gr.Request) -> str:
        return reported(self.store, run, note, PageVisit.of(request, self.settings).owner)

    def forgotten(self, event: gr.EventData, request: gr.Request) -> tuple:
        message = forget(event, PageVisit.of(request, self.settings), self.store, self.settings)
        address = dict(request.query_params)
        choice, before = GalleryFilter.of(address), address.get("before", "")
        return message, *listing(self.store, choice, before, moderates=self.bulk.may(request))


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    intro("Gallery", "Everything the model has drawn here, newest first. Open one to watch it happen again.")
    viewer = timeline(elem_id="viewer")
    run = gr.State("")
    reporting, why, send, sent = _report()
    bulk = BulkHandlers(store, settings)
    handlers = GalleryHandlers(store, settings, bulk)
    widgets, several = _filters()
    bar = bulk_bar()
    cards = gr.HTML(elem_id="cards", js_on_load=script("gallery/gallery.js"), apply_default_css=False)
    cursor, seen = gr.State(""), gr.State("")
    with gr.Row(elem_classes="paging"):
        newest = gr.Button("Newest", size="sm", visible=False, scale=0)
        older = gr.Button("Older", size="sm", visible=False, scale=0)

    backups = gr.HTML(elem_classes="backups", **PLAIN)

    outputs, changes = [cards, cursor, newest, older], [widget.change for widget in widgets]
    gr.on(changes, handlers.narrowed, [seen, *widgets], [seen, *outputs], trigger_mode="always_last", **QUICK)
    newest.click(handlers.newest_first, widgets, outputs, **QUICK)
    older.click(handlers.turned, [cursor, *widgets], outputs, **QUICK)
    cards.open(handlers.opened, None, [viewer, run, reporting, sent], **QUICK)
    send.click(handlers.told, [run, why], sent, **QUICK)
    viewer.forget(handlers.forgotten, None, [viewer, *outputs], **QUICK)
    for acted in changed_by(bar, bulk):
        acted.then(handlers.newest_first, widgets, outputs, **QUICK)
    gr.on(None, handlers.moderated, [], [bar.row, several, bar.project], **QUICK)
    gr.on(None, handlers.begun, [], [seen, *outputs, *widgets, backups], **QUICK)
    gr.on(None, handlers.linked, [], [viewer, run, reporting, sent], **QUICK)


def _report() -> tuple[gr.Accordion, gr.Textbox, gr.Button, gr.HTML]:
    """(the form of a report, what is wrong, the button that sends it, a notice)"""
    with gr.Accordion("Report this drawing", open=False, visible=False, elem_id="gallery-report") as reporting:
        with gr.Row(equal_height=True):
            why = gr.Textbox(label="What is wrong with it", max_lines=1, max_length=LONGEST_NOTE)
            send = gr.Button("Report it", scale=0, min_width=130)
        sent = gr.HTML(**PLAIN)
    return reporting, why, send, sent


def _filters() -> tuple[list[gr.Textbox | gr.Dropdown], gr.Button]:
    """(the widgets of a Choice, in its order; the button to choose several)"""
    plain = {"show_label": False, "container": False}
    menu = plain | {"scale": 0, "min_width": 190}
    with gr.Row(elem_classes="filters"):
        hint = "Search prompts"
        widgets = [
            gr.Textbox(label=hint, placeholder=hint, scale=1, max_lines=1, max_length=LONGEST_SEARCH, **plain),
            gr.Dropdown(list(KINDS), value=ALL, label="Show", elem_id="kind", **menu),
            gr.Dropdown(list(PROMPTS), value=ANY_PROMPT, label="Asked for", elem_id="category", **menu),
            gr.Dropdown([ANY_CHECKPOINT], value=ANY_CHECKPOINT, label="Drawn by", visible=False, **menu),
        ]
        several = gr.Button("Select", size="sm", scale=0, min_width=90, visible=False, elem_id="gallery-select")
    return widgets, several
