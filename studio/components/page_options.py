"""Options of components and events, and updates of views, that the pages share."""

from typing import Any, TypeVar

import gradio as gr

from studio.components.notices import error_notice

PLAIN = {"apply_default_css": False, "js_on_load": None}  # of a gr.HTML: neither styles nor a script of Gradio's
# Of a gr.HTML that answers a button: it is brought into view when it says something else.
INTO_VIEW = """watch('value', () => {
  if (!props.value) return;
  const behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth';
  requestAnimationFrame(() => element.scrollIntoView({ block: 'nearest', behavior }));
});"""
ANSWER = PLAIN | {"js_on_load": INTO_VIEW}
PRIVATE = {"api_visibility": "private"}  # left out of the API's documentation; not a protection
QUIET = {"show_progress": "hidden"} | PRIVATE
QUICK = {"queue": False} | QUIET
UNLIMITED = {"concurrency_limit": None} | QUIET  # in the queue, and any number at once

View = TypeVar("View", bound=tuple)


def unchanged(view: type[View], **changes: Any) -> View:
    """Updates for the components of a named tuple `view`: these, and every other stays as it is."""
    return view(**dict.fromkeys(view._fields, gr.skip()) | changes)


def stay(view: type[View], words: str) -> View:
    """Everything as it is, and a line that says why."""
    return unchanged(view, note=error_notice(words) if words else "")
