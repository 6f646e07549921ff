"""Who is asking, and what they may do. Every handler that is not for visitors asks here first.

Knows settings and requests; no store. Gradio's handlers can be called directly, past any page, so leaving a page out
of the menu protects nothing: only a refusal in the handler does.
"""

from __future__ import annotations

import gradio as gr

from studio.settings import Mode, Settings

VISITOR = "visitor"
REFUSAL = "This is not open to visitors. Run the studio on your own machine (mode: local) to annotate and to export."


def is_local(settings: Settings) -> bool:
    """Whether whoever can connect is the person at the machine."""
    return settings.mode is Mode.LOCAL


def require_local(request: gr.Request | None, settings: Settings) -> None:
    """Refuse everybody but the person at the machine. Raises gr.Error."""
    if not is_local(settings):
        raise gr.Error(REFUSAL, print_exception=False)


def annotator_name(request: gr.Request | None, settings: Settings) -> str:
    """The name that annotations are stored under. Raises gr.Error for visitors."""
    require_local(request, settings)
    return getattr(request, "username", None) or settings.annotator


def owner_name(request: gr.Request | None, settings: Settings) -> str:
    """The name that drawings are stored under: visitors share one."""
    return annotator_name(request, settings) if is_local(settings) else VISITOR
