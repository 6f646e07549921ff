"""What stands at the top of every page: the name, the menu, and what the page is for.

Knows the names and addresses of the pages and who may see them; nothing of what they do.
"""

from __future__ import annotations

from html import escape

import gradio as gr

from studio.identity import is_local
from studio.settings import Settings

FOR_VISITORS = (("Draw", "./"), ("Image", "image"), ("Compare", "compare"), ("Gallery", "gallery"))
FOR_LOCAL = (
    ("Annotate", "annotate"),
    ("Arena", "arena"),
    ("Review", "review"),
    ("Projects", "projects"),
    ("Datasets", "datasets"),
)

# Links are relative, so that the studio also works below a path of another server.
MASTHEAD = """
<header class="masthead">
  <a class="brand" href="./">{mark}<span>Aha Studio</span></a>
  <nav aria-label="Pages">{links}</nav>
</header>
"""
MARK = """<svg viewBox="0 0 8 8" shape-rendering="crispEdges" aria-hidden="true">
<rect width="8" height="8" fill="#2743c9"/><path fill="#ffd84d" d="M3 1h2v4h-2zM3 6h2v1h-2z"/></svg>"""
KEPT = " What you give and what comes of it is kept, and shown to everybody in the gallery; this browser can delete it."


def masthead(current: str, settings: Settings) -> None:
    """Our own menu in place of Gradio's."""
    gr.Navbar(visible=False)
    pages = FOR_VISITORS + (FOR_LOCAL if is_local(settings) else ())
    links = "".join(_link(name, path, current) for name, path in pages)
    gr.HTML(MASTHEAD.format(mark=MARK, links=links), js_on_load=None, apply_default_css=False)


def _link(name: str, path: str, current: str) -> str:
    here = ' aria-current="page"' if name == current else ""
    return f'<a href="{escape(path)}"{here}>{escape(name)}</a>'


def intro(title: str, text: str) -> None:
    """How a page begins. Both texts are ours, not a person's."""
    html = f'<div class="intro"><h1>{escape(title)}</h1><p>{escape(text)}</p></div>'
    gr.HTML(html, js_on_load=None, apply_default_css=False)


def what_is_kept(settings: Settings) -> str:
    """What visitors are told before they give anything."""
    return "" if is_local(settings) else KEPT
