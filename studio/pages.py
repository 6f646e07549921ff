"""Builds the site: every page on its route, with title and header; roles are in `auth.access`.

Knows the pages by name and nothing of what they do. A page is built inside its route; no component crosses from one
to another.
"""

from __future__ import annotations

from functools import partial

import gradio as gr

from annotations.schema.project import Role
from annotations.store.store import Store
from studio.annotate import page as annotate
from studio.api import endpoints
from studio.arena import page as arena
from studio.auth import page as sign_in
from studio.auth.identity import asking, is_local, refusal
from studio.compare import page as compare
from studio.components.header import masthead
from studio.datasets import page as datasets
from studio.draw import page as draw
from studio.gallery import page as gallery
from studio.image import page as image
from studio.inference.checkpoints import Checkpoints
from studio.inference.engine_thread import AT_ONCE
from studio.projects import page as projects
from studio.projects import project_page as project
from studio.review import page as review
from studio.settings import Settings
from studio.site import Site

TITLE = "Aha Studio"
FILES = (600, 3600)  # seconds: how often files are removed that Gradio has stored for pages, and how old they are then


def build(settings: Settings, store: Store, checkpoints: Checkpoints) -> gr.Blocks:
    """All pages. To those that are not for visitors only people in the role are let in, and linked."""
    may = None if is_local(settings) else partial(told_outside, settings, store)
    with Site(may, title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=FILES) as demo:
        masthead("Draw", settings, store)
        draw.page(checkpoints, store, settings)
        endpoints.build(checkpoints, store, settings)
    with demo.route("Your image", "/image"):
        masthead("Image", settings, store)
        image.page(checkpoints, store, settings)
    with demo.route("Side by side", "/compare"):
        masthead("Compare", settings, store)
        compare.page(checkpoints, store, settings)
    with demo.route("Gallery", "/gallery"):
        masthead("Gallery", settings, store)
        gallery.page(store, settings)
    with demo.route("Annotate", "/annotate"):
        masthead("Annotate", settings, store)
        annotate.page(store, settings)
    with demo.route("Arena", "/arena"):
        masthead("Arena", settings, store)
        arena.page(store, settings)
    with demo.route("Review", "/review"):
        masthead("Review", settings, store)
        review.page(store, settings)
    with demo.route("Projects", "/projects"):
        masthead("Projects", settings, store)
        projects.page(store, settings)
    with demo.route("Project", "/project"):
        masthead("Projects", settings, store)
        project.page(store, checkpoints, settings)
    with demo.route("Datasets", "/datasets"):
        masthead("Datasets", settings, store)
        datasets.page(store, settings)
    if not is_local(settings):
        with demo.route("Sign in", "/sign-in"):
            masthead("Sign in", settings, store)
            sign_in.page(store, settings)
    return demo.queue(default_concurrency_limit=AT_ONCE, api_open=False)  # nobody passes by the queue


def told_outside(settings: Settings, store: Store, request: gr.Request | None, role: Role) -> str | None:
    """What somebody is told who is not in a role; None where they are."""
    who = asking(request, settings, store)
    return None if who.may(role) else refusal(who, role)
