"""The Moderation page: what people reported, drawings hidden many at once, words that are not drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import gradio as gr

from annotations.errors import AnnotationsError, without_places
from annotations.moderation.blocked_words import LONGEST, MOST_WORDS, block, blocked_words
from annotations.moderation.reports import Reported, dismiss, open_reports
from annotations.moderation.withholding import show_again, withheld, withhold
from annotations.schema.project import Role
from annotations.store.listing import EVERYTHING
from annotations.store.store import Store
from studio.auth.identity import require
from studio.auth.role_section import on_load_for, role_section
from studio.components import render
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, QUIET
from studio.gallery.filters import LONGEST_SEARCH
from studio.header import intro
from studio.inference import served_copies
from studio.settings import Settings

SHOWN = 24  # drawings that are chosen among at a time
NOTHING_REPORTED = "Nothing is reported."


class View(NamedTuple):
    """What the page shows."""

    reports: Any
    reported: Any  # the choice among what is reported
    found: Any  # the choice among what was searched for
    hidden: Any  # the choice among what can be shown again
    again: Any  # what stands around that choice
    cards: Any
    words: Any
    note: Any


@dataclass(frozen=True)
class ModerationHandlers:
    """The handlers of the page. Each checks who is asking."""

    store: Store
    settings: Settings

    def start(self, request: gr.Request) -> View:
        self._admin(request)
        return self._shown("", "")

    def search(self, words: str, request: gr.Request) -> View:
        self._admin(request)
        return self._shown(words, "")

    def hide(self, reported: Sequence[str], searched: Sequence[str], words: str, request: gr.Request) -> View:
        """Hide what is chosen in either list."""
        by, chosen = self._admin(request), [*dict.fromkeys([*(reported or ()), *(searched or ())])][: 5 * SHOWN]
        if not chosen:
            return self._shown(words, error_notice("Choose drawings first."))
        try:
            withhold(self.store, [str(id) for id in chosen], by=by)
            for id in chosen:
                served_copies.remove(self.store, str(id))
        except AnnotationsError as error:
            return self._shown(words, error_notice(without_places(error)))
        drawings = "1 drawing is" if len(chosen) == 1 else f"{len(chosen)} drawings are"
        return self._shown(words, success_notice(f"{drawings} hidden from everybody, until they are shown again."))

    def show_again(self, hidden: Sequence[str], words: str, request: gr.Request) -> View:
        self._admin(request)
        if not hidden:
            return self._shown(words, error_notice("Choose drawings first."))
        try:
            show_again(self.store, [str(id) for id in hidden])
        except AnnotationsError as error:
            return self._shown(words, error_notice(without_places(error)))
        return self._shown(words, success_notice("What you chose is shown again."))

    def dismiss(self, reported: Sequence[str], words: str, request: gr.Request) -> View:
        """Nothing is wrong with what is chosen."""
        by = self._admin(request)
        dismiss(self.store, [str(id) for id in reported or ()][: 5 * SHOWN], by=by)
        return self._shown(words, success_notice("What you chose is no longer listed."))

    def block(self, text: str, words: str, request: gr.Request) -> View:
        """Words as lines."""
        by, lines = self._admin(request), (text or "").splitlines()
        if len(lines) > MOST_WORDS or any(len(line) > LONGEST for line in lines):
            return self._shown(words, error_notice(f"at most {MOST_WORDS} lines of {LONGEST} characters"))
        blocked = block(self.store, lines, by=by)
        return self._shown(
            words, success_notice(f"{len(blocked)} blocked. Prompts with one are not drawn from now on.")
        )

    def _admin(self, request: gr.Request) -> str:
        return require(Role.ADMIN, request, self.settings, self.store).name

    def _shown(self, words: str, note: str) -> View:
        reports = open_reports(self.store)
        search = replace(EVERYTHING, search=(words or "")[:LONGEST_SEARCH])
        listed = self.store.trajectories(limit=SHOWN, keep=search)
        hidden = withheld(self.store)
        again = [(_label(each.prompt, at), each.id) for at, each in enumerate(hidden, 1)]
        by_report = [(_label(each.prompt, at), each.trajectory_id) for at, each in enumerate(reports, 1)]
        return View(
            self._reports(reports),
            gr.update(choices=by_report, value=[], visible=bool(reports)),
            gr.update(choices=[(_label(each.prompt, at), each.id) for at, each in enumerate(listed, 1)], value=[]),
            gr.update(choices=again, value=[]),
            gr.update(visible=bool(hidden)),
            render.cards(listed, self.store.picture_or_none, none='<p class="none">Nothing matches.</p>'),
            "\n".join(blocked_words(self.store)),
            note,
        )

    def _reports(self, reports: Sequence[Reported]) -> str:
        return "".join(map(self._report, reports)) or f'<p class="soft">{NOTHING_REPORTED}</p>'

    def _report(self, each: Reported) -> str:
        png = self.store.picture_or_none(each.cover) if each.cover else None
        picture = (png and render.image(png, "The reported drawing")) or ""
        times = "once" if each.times == 1 else f"{each.times} times"
        notes = "".join(f"<p>{render.isolated(note)}</p>" for note in each.notes)
        return (
            f'<article class="reported">{picture}<div><a href="gallery?run={render.escaped(each.trajectory_id)}">'
            f"{render.isolated(each.prompt)}</a> "
            f'<span class="soft">reported {times}, last on {render.day(each.at)}</span>{notes}</div></article>'
        )


def _label(prompt: str, number: int) -> str:
    return f"{number}. {prompt if len(prompt) <= 60 else f'{prompt[:60]}…'}"


def page(store: Store, settings: Settings) -> None:
    """Build the page inside the current route."""
    with role_section(Role.ADMIN, "moderation", store, settings):
        _moderation(ModerationHandlers(store, settings))


def _moderation(handlers: ModerationHandlers) -> None:
    intro("Moderation", "What people reported, and what is not to be drawn or seen here.")
    note = gr.HTML(elem_id="moderation-note", **PLAIN)
    reports = gr.HTML(elem_id="moderation-reports", **PLAIN)
    reported = gr.CheckboxGroup([], label="Reported", visible=False, elem_id="moderation-reported")
    gr.HTML("<h2>Drawings</h2>", elem_classes="moderation-title", **PLAIN)
    words = gr.Textbox(label="Prompt has", max_lines=1, max_length=LONGEST_SEARCH, elem_id="moderation-search")
    searched = gr.CheckboxGroup(
        [], label="The newest that match, in the order of their pictures below", elem_id="moderation-found"
    )
    with gr.Row():
        hide = gr.Button("Hide what is chosen", variant="stop", scale=0, min_width=200, elem_id="moderation-hide")
        keep = gr.Button("Nothing is wrong with it", scale=0, min_width=240, elem_id="moderation-dismiss")
    cards = gr.HTML(elem_id="moderation-cards", **PLAIN)
    with gr.Column(visible=False) as again:
        gr.HTML("<h2>Hidden</h2>", elem_classes="moderation-title", **PLAIN)
        hidden = gr.CheckboxGroup([], label="The last hidden first", elem_id="moderation-hidden")
        show = gr.Button("Show again what is chosen", scale=0, min_width=220, elem_id="moderation-show")
    gr.HTML("<h2>Blocked words</h2>", elem_classes="moderation-title", **PLAIN)
    blocked = gr.Textbox(label="One in each line", lines=4, elem_id="moderation-words")
    store_ = gr.Button("Store", scale=0, min_width=140, elem_id="moderation-block")
    shown = [*View(reports, reported, searched, hidden, again, cards, blocked, note)]
    quick = QUIET | {"concurrency_limit": None}
    on_load_for(Role.ADMIN, handlers.start, shown, handlers.store, handlers.settings, **quick)
    words.change(handlers.search, [words], shown, trigger_mode="always_last", **quick)
    hide.click(handlers.hide, [reported, searched, words], shown, **quick)
    show.click(handlers.show_again, [hidden, words], shown, **quick)
    keep.click(handlers.dismiss, [reported, words], shown, **quick)
    store_.click(handlers.block, [blocked, words], shown, **quick)
