"""Shows the content of a page, and runs what loads it, only for the role that `page_list` has for the page.

It decides what is seen and protects nothing: handlers are protected by `access` and by what each asks `identity`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Protocol

import gradio as gr

from annotations.schema.project import Role
from annotations.store.store import Store
from studio.access import ROLES
from studio.auth.identity import Identity, identity_of, is_local, refusal
from studio.components.page_options import PLAIN, QUICK
from studio.components.render import escaped
from studio.settings import Settings


@contextmanager
def role_section(path: str, store: Store, settings: Settings) -> Iterator[None]:
    """Components built inside the context are visible to the role of the page `path` only; others see a message, with
    a link to sign in that leads back to the page.
    """
    if is_local(settings):
        yield
        return
    role = ROLES[path]

    def show(request: gr.Request) -> tuple[Any, Any]:
        who = identity_of(request, settings, store)
        if who.may(role):
            return "", gr.update(visible=True)
        link = f'<p><a class="button" href="sign-in?to={path}">Sign in</a></p>' if who.role is Role.VISITOR else ""
        return f'<div class="refusal"><p>{escaped(refusal(who, role))}</p>{link}</div>', gr.update(visible=False)

    message = gr.HTML(elem_id="refusal", **PLAIN)
    with gr.Column(visible=False) as section:
        yield
    gr.on(fn=show, outputs=[message, section], **QUICK)


class Starting(Protocol):
    """Handlers of a page that has something to load."""

    def identity_of(self, request: gr.Request) -> Identity: ...

    def start(self, request: gr.Request) -> Any: ...


def on_load_for(path: str, handlers: Starting, outputs: Sequence[Any], **options: Any) -> None:
    """Run `handlers.start` when the page `path` is loaded by somebody in its role; for others the outputs stay as they
    are."""

    @wraps(handlers.start)
    def opened(request: gr.Request) -> Any:
        if handlers.identity_of(request).may(ROLES[path]):
            return handlers.start(request)
        return tuple(gr.skip() for _ in outputs) if len(outputs) > 1 else gr.skip()

    gr.on(fn=opened, outputs=list(outputs), **options)
