"""The header of every page: title, navigation, introduction.

Links the pages of `page_list` that whoever asks may use; knows nothing of what they do.
"""

from html import escape

import gradio as gr

from annotations.auth.accounts import has_people
from annotations.store.store import Store
from studio.auth.identity import VISITOR, Identity, identity_of, is_local
from studio.components.page_options import PLAIN, QUICK
from studio.page_list import PAGES, PageEntry
from studio.settings import Settings

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
# A link that is focused while a part of it is in view is not scrolled to by browsers.
NEAREST = "{ block: 'nearest', inline: 'nearest' }"
INTO_VIEW = f"element.addEventListener('focusin', ({{ target }}) => target.scrollIntoView({NEAREST}))"
KEPT = " What you give and what comes of it is kept, and shown to everybody in the gallery; this browser can delete it."


def masthead(current: PageEntry, settings: Settings, store: Store) -> None:
    """Our own menu in place of Gradio's. Off this machine it is filled in for whoever has signed in."""
    gr.Navbar(visible=False)
    local = is_local(settings)
    html = menu(current, identity_of(None, settings, store), "")
    shown = gr.HTML(html, **PLAIN | {"js_on_load": INTO_VIEW}, elem_id="masthead")
    if local:
        return

    def start(request: gr.Request) -> str | dict:
        who = identity_of(request, settings, store)
        if who.name == VISITOR and not has_people(store) and not settings.names_people_of_hub:
            return gr.skip()
        return menu(current, who, SIGN_IN if who.name == VISITOR else SIGN_OUT.format(name=escape(who.name)))

    gr.on(fn=start, outputs=[shown], **QUICK)


def menu(current: PageEntry, who: Identity, account: str) -> str:
    """The pages that somebody may see."""
    links = "".join(_link(page, current) for page in PAGES if _is_in_menu(page, who))
    return MASTHEAD.format(mark=MARK, links=links, account=account)


def _is_in_menu(page: PageEntry, who: Identity) -> bool:
    return page.menu is not None and who.may(page.role) and not (page.until and who.may(page.until))


def _link(page: PageEntry, current: PageEntry) -> str:
    here = ' aria-current="page"' if page.path == (current.shown_as or current.path) else ""
    return f'<a href="{escape(page.path or "./")}"{here}>{escape(page.menu or "")}</a>'


def intro(title: str, text: str, *, brief: bool = False) -> None:
    """How a page begins, `brief` in little height. Both texts are ours, not a person's."""
    html = f'<div class="intro{" brief" * brief}"><h1>{escape(title)}</h1><p>{escape(text)}</p></div>'
    gr.HTML(html, **PLAIN)


def what_is_kept(settings: Settings) -> str:
    """The notice for visitors about what is kept of what they give."""
    return "" if is_local(settings) else KEPT
