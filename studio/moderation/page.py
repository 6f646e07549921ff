"""The Moderation page: what people reported, drawings hidden many at once, words that are not drawn."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import gradio as gr

from annotations.errors import AnnotationsError, redact_paths
from annotations.moderation.blocked_words import LONGEST, MOST_WORDS, block, blocked_words
from annotations.moderation.reports import Reported, dismiss, open_reports
from annotations.moderation.withholding import show_again, withheld, withheld_picture, withhold
from annotations.schema.project import Role
from annotations.store.listing import EVERYTHING, TrajectorySummary
from annotations.store.store import Store
from studio.auth.identity import PageHandlers
from studio.auth.role_section import on_load_for, role_section
from studio.components import render
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, UNLIMITED
from studio.gallery.bulk import NONE_CHOSEN, ids_of
from studio.gallery.filters import LONGEST_SEARCH
from studio.header import intro
from studio.inference import served_copies
from studio.settings import Settings

SHOWN = 24  # drawings that are chosen among at a time
HIDE = "Hide what is chosen"
NOTHING_REPORTED = '<p class="soft">Nothing is reported.</p>'
NOTHING_MATCHES = '<p class="soft">Nothing matches.</p>'
# The ids that are ticked in the list of that elem_id, as JSON, in the place of a handler's first value.
TICKED = (
    "(_, ...others) => "
    "[JSON.stringify([...document.querySelectorAll('#{} :checked')].map((box) => box.value)), ...others]"
)


class ModerationView(NamedTuple):
    """What the page shows."""

    reports: Any
    found: Any  # what was searched for
    hidden: Any  # what can be shown again
    around_reports: Any  # the buttons of each list
    around_hidden: Any
    last_reports: Any  # numbers of the last reports that are listed, by drawing
    words: Any
    words_read: Any  # as they were stored when the page read them
    note: Any


class ModerationHandlers(PageHandlers):
    """The handlers of the page. Each checks who is asking."""

    def start(self, request: gr.Request) -> ModerationView:
        self.require(Role.ADMIN, request)
        return self._with_words(self._shown("", ""))

    def search(self, words: str, request: gr.Request) -> ModerationView:
        self.require(Role.ADMIN, request)
        return self._shown(words, "")

    def hide(self, chosen: str, words: str, request: gr.Request) -> ModerationView:
        """Hide what is ticked: ids as JSON, as below."""
        by, ids = self.require(Role.ADMIN, request).name, ids_of(chosen)
        if not ids:
            return self._shown(words, error_notice(NONE_CHOSEN))
        try:
            withhold(self.store, ids, by=by)
            for id in ids:
                served_copies.remove(self.store, id)
        except AnnotationsError as error:
            return self._shown(words, error_notice(redact_paths(error)))
        drawings = "1 drawing is" if len(ids) == 1 else f"{len(ids)} drawings are"
        return self._shown(words, success_notice(f"{drawings} hidden from everybody, until they are shown again."))

    def show_again(self, chosen: str, words: str, request: gr.Request) -> ModerationView:
        self.require(Role.ADMIN, request)
        if not (ids := ids_of(chosen)):
            return self._shown(words, error_notice(NONE_CHOSEN))
        try:
            show_again(self.store, ids)
        except AnnotationsError as error:
            return self._shown(words, error_notice(redact_paths(error)))
        return self._shown(words, success_notice("What you chose is shown again."))

    def dismiss(self, chosen: str, words: str, seen: dict[str, int], request: gr.Request) -> ModerationView:
        """Nothing is wrong with what is ticked. What was reported again since it was `seen` stays listed."""
        by = self.require(Role.ADMIN, request).name
        if not (ids := ids_of(chosen)):
            return self._shown(words, error_notice(NONE_CHOSEN))
        again = dismiss(self.store, {id: seen.get(id, 0) for id in ids}, by=by)
        if again:
            return self._shown(words, error_notice("What was reported again meanwhile is listed still; look again."))
        return self._shown(words, success_notice("What you chose is no longer listed."))

    def block(self, text: str, words: str, read: Sequence[str], request: gr.Request) -> ModerationView:
        """Words as lines; what others changed of them since they were `read` stays."""
        by, lines = self.require(Role.ADMIN, request).name, (text or "").splitlines()
        if len(lines) > MOST_WORDS or any(len(line) > LONGEST for line in lines):
            return self._shown(words, error_notice(f"at most {MOST_WORDS} lines of {LONGEST} characters"))
        blocked = block(self.store, lines, by=by, read=read)
        note = success_notice(f"{len(blocked)} blocked. Prompts with one are not drawn from now on.")
        return self._with_words(self._shown(words, note))

    def _with_words(self, view: ModerationView) -> ModerationView:
        blocked = blocked_words(self.store)
        return view._replace(words="\n".join(blocked), words_read=tuple(blocked))

    def _shown(self, words: str, note: str) -> ModerationView:
        """The lists; the blocked words stay as somebody may be writing them."""
        reports, hidden = open_reports(self.store), withheld(self.store)
        search = replace(EVERYTHING, search=(words or "")[:LONGEST_SEARCH])
        listed = self.store.trajectories(limit=SHOWN, keep=search)
        return ModerationView(
            "".join(map(self._report, reports)) or NOTHING_REPORTED,
            _choices([_choice(each, self.store.picture_or_none(each.cover or "")) for each in listed]),
            _choices([_choice(each, withheld_picture(self.store, each.cover or "")) for each in hidden]),
            gr.update(visible=bool(reports)),
            gr.update(visible=bool(hidden)),
            {each.trajectory_id: each.last for each in reports},
            gr.skip(),
            gr.skip(),
            note,
        )

    def _report(self, each: Reported) -> str:
        picture = _picture(self.store.picture_or_none(each.cover or ""), "The reported drawing")
        times = "once" if each.times == 1 else f"{each.times} times"
        notes = "".join(f"<p>{render.isolated(note)}</p>" for note in each.notes)
        return (
            f'<article class="reported"><label class="choice">{_box(each.trajectory_id, each.prompt)}{picture}</label>'
            f'<div><a href="gallery?run={render.escaped(each.trajectory_id)}">{render.isolated(each.prompt)}</a> '
            f'<span class="soft">reported {times}, last on {render.day(each.at)}</span>{notes}</div></article>'
        )


def _choices(choices: Sequence[str]) -> str:
    return f'<ul class="choices">{"".join(choices)}</ul>' if choices else NOTHING_MATCHES


def _choice(each: TrajectorySummary, png: bytes | None) -> str:
    """A drawing with the box that chooses it, both in one label."""
    shown = f"{_picture(png, '')}<span>{render.isolated(each.prompt)}</span>"
    return f'<li><label class="choice">{_box(each.id, each.prompt)}{shown}</label></li>'


def _box(trajectory_id: str, prompt: str) -> str:
    named = f'aria-label="{render.escaped(prompt)}"'
    return f'<input type="checkbox" value="{render.escaped(trajectory_id)}" {named}>'


def _picture(png: bytes | None, alt: str) -> str:
    shown = render.image(png, alt) if png else None
    return shown or '<span class="no-picture">no picture</span>'


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section("moderation", store, settings):
        _moderation(ModerationHandlers(store, settings))


def _moderation(handlers: ModerationHandlers) -> None:
    intro("Moderation", "What people reported, and what is not to be drawn or seen here.")
    note = gr.HTML(elem_id="moderation-note", **PLAIN)
    chosen = gr.Textbox(visible=False)  # of a list, filled in when a button is pressed
    reports = gr.HTML(elem_id="moderation-reports", **PLAIN)
    with gr.Row(visible=False) as around_reports:
        hide_reported = gr.Button(HIDE, variant="stop", scale=0, min_width=200, elem_id="moderation-hide-reported")
        keep = gr.Button("Nothing is wrong with it", scale=0, min_width=240, elem_id="moderation-dismiss")
    gr.HTML("<h2>Drawings</h2>", elem_classes="moderation-title", **PLAIN)
    with gr.Row(equal_height=True, elem_classes="moderation-bar"):
        words = gr.Textbox(
            label="Prompt has",
            info="The newest that match",
            max_lines=1,
            max_length=LONGEST_SEARCH,
            elem_id="moderation-search",
        )
        hide = gr.Button(HIDE, variant="stop", scale=0, min_width=200, elem_id="moderation-hide")
    found = gr.HTML(elem_id="moderation-found", **PLAIN)
    with gr.Column(visible=False) as around_hidden:
        gr.HTML("<h2>Hidden</h2><p>The last hidden first.</p>", elem_classes="moderation-title", **PLAIN)
        hidden = gr.HTML(elem_id="moderation-hidden", **PLAIN)
        show = gr.Button("Show again what is chosen", scale=0, min_width=220, elem_id="moderation-show")
    gr.HTML("<h2>Blocked words</h2>", elem_classes="moderation-title", **PLAIN)
    blocked = gr.Textbox(label="One in each line", lines=4, elem_id="moderation-words")
    store_ = gr.Button("Store", scale=0, min_width=140, elem_id="moderation-block")
    seen, read = gr.State({}), gr.State(())
    shown = [*ModerationView(reports, found, hidden, around_reports, around_hidden, seen, blocked, read, note)]
    on_load_for("moderation", handlers, shown, **UNLIMITED)
    words.change(handlers.search, [words], shown, trigger_mode="always_last", **UNLIMITED)
    for button, act, among, more in (
        (hide_reported, handlers.hide, reports, []),
        (keep, handlers.dismiss, reports, [seen]),
        (hide, handlers.hide, found, []),
        (show, handlers.show_again, hidden, []),
    ):
        button.click(act, [chosen, words, *more], shown, js=TICKED.format(among.elem_id), **UNLIMITED)
    store_.click(handlers.block, [blocked, words, read], shown, **UNLIMITED)
