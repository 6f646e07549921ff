"""Builds the site: every page of `page_list` on its route, with title and header.

Knows the function that builds each page and nothing of what pages do. A page is built inside its route; no component
crosses from one to another.
"""

from collections.abc import Callable
from functools import partial

import gradio as gr

from annotations.schema.project import Role
from annotations.store.store import Store
from model.backends.registry import open_backend
from studio.annotate import page as annotate
from studio.api import endpoints
from studio.arena import page as arena
from studio.auth import page as sign_in
from studio.auth.identity import identity_of, is_local, refusal
from studio.calibration import page as calibration
from studio.compare import page as compare
from studio.datasets import page as datasets
from studio.draw import page as draw
from studio.gallery import page as gallery
from studio.header import masthead
from studio.image import page as image
from studio.inference.checkpoints import Checkpoints
from studio.inference.request_queue import AT_ONCE
from studio.moderation import page as moderation
from studio.page_list import PAGES
from studio.people import page as people
from studio.projects import page as projects
from studio.projects import project_page as project
from studio.results import page as results
from studio.review import page as review
from studio.settings import Settings
from studio.site import Site
from studio.teaching.jobs import TeachingJobs
from studio.training import page as training
from studio.training.run_form import checkpoints_of

SIGN_IN = "sign-in"
FILES = (600, 3600)  # seconds: how often files are removed that Gradio has stored for pages, and how old they are then


def build(settings: Settings, store: Store, checkpoints: Checkpoints) -> gr.Blocks:
    """All pages; the menu links only those that whoever asks may use."""
    opener = partial(open_backend, device=settings.device, dtype=settings.dtype)
    lessons = TeachingJobs(store, opener, partial(checkpoints_of, store, settings))
    lessons.recover()
    checkpoints.in_menus = checkpoints.names  # of runs, too, which were added since
    may = None if is_local(settings) else partial(refusal_for_role, settings, store)
    builders: dict[str, Callable[[], None]] = {
        "": partial(draw.page, checkpoints, store, settings, lessons),
        "image": partial(image.page, checkpoints, store, settings),
        "compare": partial(compare.page, checkpoints, store, settings),
        "gallery": partial(gallery.page, store, settings),
        "annotate": partial(annotate.page, store, settings, checkpoints, lessons),
        "arena": partial(arena.page, store, settings),
        "results": partial(results.page, store, settings),
        "review": partial(review.page, store, settings, checkpoints),
        "projects": partial(projects.page, store, settings),
        "project": partial(project.page, store, checkpoints, settings),
        "datasets": partial(datasets.page, store, settings),
        "calibration": partial(calibration.page, store, settings),
        "training": partial(training.page, checkpoints, store, settings),
        "people": partial(people.page, store, settings),
        "moderation": partial(moderation.page, store, settings),
        "sign-in": partial(sign_in.page, store, settings),
    }
    first, *others = PAGES
    with Site(may, title=first.title, analytics_enabled=False, fill_width=True, delete_cache=FILES) as demo:
        masthead(first, settings, store)
        builders[first.path]()
        endpoints.build(checkpoints, store, settings)
        for entry in others:
            if entry.path == SIGN_IN and is_local(settings):
                continue  # nobody signs in on their own machine
            demo.begin_page(entry.title, entry.path)
            masthead(entry, settings, store)
            builders[entry.path]()
    return demo.queue(default_concurrency_limit=AT_ONCE, api_open=False)  # nobody passes by the queue


def refusal_for_role(settings: Settings, store: Store, request: gr.Request | None, role: Role) -> str | None:
    """The refusal for somebody who is not in a role; None where they are."""
    who = identity_of(request, settings, store)
    looks_only = who.role is Role.GUEST and role is Role.VISITOR  # where something would be drawn or stored
    return None if who.may(role) and not looks_only else refusal(who, role)
