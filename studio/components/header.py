"""The header of every page: title, navigation, introduction.

Knows the names and addresses of the pages and who may see them; nothing of what they do.
"""

from __future__ import annotations

from html import escape

import gradio as gr

from annotations.auth.accounts import has_people
from annotations.schema.project import Role
from annotations.store.store import Store
from studio.auth.identity import NOBODY, Identity, asking, is_local
from studio.settings import Settings

FOR_VISITORS = (("Draw", "./"), ("Image", "image"), ("Compare", "compare"), ("Gallery", "gallery"))
FOR = (
    (Role.ANNOTATOR, "Annotate", "annotate"),
    (Role.ANNOTATOR, "Arena", "arena"),
    (Role.REVIEWER, "Review", "review"),
    (Role.REVIEWER, "Projects", "projects"),
    (Role.ADMIN, "Datasets", "datasets"),
)

# Links are relative, so that the studio also works below a path of another server.
MASTHEAD = """
<header class="masthead">
  <a class="brand" href="./">{mark}<span>Aha Studio</span></a>
  <nav aria-label="Pages">{links}</nav>{account}
</header>
"""
MARK = """<svg viewBox="0 0 8 8" shape-rendering="crispEdges" aria-hidden="true">
<rect width="8" height="8" fill="#2743c9"/><path fill="#ffd84d" d="M3 1h2v4h-2zM3 6h2v1h-2z"/></svg>"""
SIGN_IN = '<div class="account"><a href="sign-in">Sign in</a></div>'
SIGN_OUT = """
<form class="account" method="post" action="leave"><bdi>{name}</bdi><button>Sign out</button></form>"""
KEPT = " What you give and what comes of it is kept, and shown to everybody in the gallery; this browser can delete it."


def masthead(current: str, settings: Settings, store: Store) -> None:
    """Our own menu in place of Gradio's. Off this machine it is filled in for whoever has signed in."""
    gr.Navbar(visible=False)
    local = is_local(settings)
    shown = gr.HTML(
        menu(current, asking(None, settings, store), ""), js_on_load=None, apply_default_css=False, elem_id="masthead"
    )
    if local:
        return

    def start(request: gr.Request) -> str | dict:
        who = asking(request, settings, store)
        if who == NOBODY and not has_people(store) and not settings.names_people_of_hub:
            return gr.skip()
        return menu(current, who, SIGN_IN if who == NOBODY else SIGN_OUT.format(name=escape(who.name)))

    gr.on(fn=start, outputs=[shown], show_progress="hidden", api_visibility="private", queue=False)


def menu(current: str, who: Identity, account: str) -> str:
    """The pages that somebody may see."""
    pages = FOR_VISITORS + tuple((name, path) for role, name, path in FOR if who.may(role))
    links = "".join(_link(name, path, current) for name, path in pages)
    return MASTHEAD.format(mark=MARK, links=links, account=account)


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
