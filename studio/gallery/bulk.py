"""Several drawings of the gallery at once: hidden, shown again, deleted, put into a project; for admins.

The choice is made in the browser (`gallery.js`), which sends ids as JSON: somebody's input.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr

from annotations.errors import AnnotationsError, redact_paths
from annotations.moderation.withholding import MOST, show_again, withhold
from annotations.schema.project import Role
from annotations.schema.question_targets import PAIR
from annotations.store.items import NewItem
from studio.auth.identity import PageHandlers
from studio.components.notices import error_notice, success_notice
from studio.components.page_options import PLAIN, QUICK
from studio.inference import served_copies

NONE_CHOSEN = "Choose drawings first."
CHOSEN = "(...values) => [window.galleryChosen(), ...values.slice(1)]"
CONFIRMED = "(...values) => [window.galleryConfirmed(), ...values.slice(1)]"


class BulkBar(NamedTuple):
    """What stands above the cards while several are chosen."""

    row: gr.Row
    chosen: gr.Textbox  # ids as JSON
    hide: gr.Button
    show: gr.Button
    delete: gr.Button
    project: gr.Dropdown
    add: gr.Button
    note: gr.HTML


class BulkHandlers(PageHandlers):
    """What can be done with the chosen drawings. Each handler checks who is asking, and returns a notice."""

    def may(self, request: gr.Request) -> bool:
        return self.identity_of(request).may(Role.ADMIN)

    def hide(self, chosen: str, request: gr.Request) -> str:
        by = self.require(Role.ADMIN, request).name

        def act(ids: list[str]) -> None:
            withhold(self.store, ids, by=by)
            self._without_copies(ids)

        return self._done(chosen, act, "hidden from everybody; “Hidden” above lists them")

    def show(self, chosen: str, request: gr.Request) -> str:
        self.require(Role.ADMIN, request)
        return self._done(chosen, lambda ids: show_again(self.store, ids), "shown again")

    def delete(self, chosen: str, request: gr.Request) -> str:
        by = self.require(Role.ADMIN, request).name

        def act(ids: list[str]) -> None:
            for id in ids:
                self.store.hide(id, by)
            self._without_copies(ids)

        return self._done(chosen, act, "deleted")

    def add(self, chosen: str, project: str | None, request: gr.Request) -> str:
        self.require(Role.ADMIN, request)
        if not project:
            return error_notice("Choose a project first.")
        return self._done(
            chosen,
            lambda ids: self.store.add_items(project, [NewItem(id) for id in ids]) and None,
            f"in the project {self._names().get(project, project)}",
        )

    def projects(self) -> list[tuple[str, str]]:
        """(name, id) of those that take single drawings."""
        return [(name, id) for id, name in self._names().items()]

    def _names(self) -> dict[str, str]:
        known = self.store.projects()
        return {each.id: each.name for each in known if each.subject != PAIR and each.archived_at is None}

    def _without_copies(self, ids: list[str]) -> None:
        for id in ids:
            served_copies.remove(self.store, id)

    def _done(self, chosen: str, act: Callable[[list[str]], None], what: str) -> str:
        if not (ids := ids_of(chosen)):
            return error_notice(NONE_CHOSEN)
        try:
            act(ids)
        except AnnotationsError as error:
            return error_notice(redact_paths(error))
        drawings = "1 drawing is" if len(ids) == 1 else f"{len(ids)} drawings are"
        return success_notice(f"{drawings} {what}.")


def ids_of(chosen: str | None) -> list[str]:
    """What a page sent as chosen; nothing for what is no list of ids."""
    try:
        values = json.loads(chosen or "[]")
    except (ValueError, RecursionError):
        return []
    ids = values if isinstance(values, list) else []
    return [*dict.fromkeys(id for id in ids if isinstance(id, str) and 0 < len(id) <= 64)][:MOST]


def bulk_bar() -> BulkBar:
    """The bar, which the page's script shows once somebody chooses."""
    note = gr.HTML(elem_id="gallery-bulk-note", **PLAIN)
    small = {"size": "sm", "scale": 0, "min_width": 110}
    with gr.Row(elem_id="gallery-bulk", visible=False) as row:
        gr.HTML('<span class="count" role="status"></span>', elem_id="gallery-count", **PLAIN)
        chosen = gr.Textbox(visible="hidden", label="Chosen", elem_id="gallery-chosen")
        hide = gr.Button("Hide", elem_id="gallery-hide", **small)
        show = gr.Button("Show again", elem_id="gallery-show", **small)
        delete = gr.Button("Delete", variant="stop", elem_id="gallery-delete", **small)
        project = gr.Dropdown(
            [], label="Project", container=False, show_label=False, scale=0, min_width=190, elem_id="gallery-project"
        )
        add = gr.Button("Add to project", elem_id="gallery-add", size="sm", scale=0, min_width=140)
    return BulkBar(row, chosen, hide, show, delete, project, add, note)


def changed_by(bar: BulkBar, handlers: BulkHandlers) -> list[Any]:
    """Let the bar's buttons act; the events after which the gallery is another."""
    bar.add.click(handlers.add, [bar.chosen, bar.project], bar.note, js=CHOSEN, **QUICK)
    acts = (
        (bar.hide, handlers.hide, CHOSEN),
        (bar.show, handlers.show, CHOSEN),
        (bar.delete, handlers.delete, CONFIRMED),
    )
    return [button.click(act, [bar.chosen], bar.note, js=js, **QUICK) for button, act, js in acts]
