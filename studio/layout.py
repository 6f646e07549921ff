"""The whole site: which pages there are, at which address, and who may see them.

Knows the pages by name and nothing of what they do. A page is built inside its route; no component crosses from one
to another.
"""

from __future__ import annotations

import gradio as gr

from annotations.store import Store
from studio import endpoints
from studio.checkpoints import Checkpoints
from studio.generator import AT_ONCE
from studio.identity import is_local
from studio.masthead import masthead
from studio.pages import annotate, arena, compare, datasets, draw, gallery, image, project, projects, review
from studio.settings import Settings

TITLE = "Aha Studio"


def build(settings: Settings, store: Store, checkpoints: Checkpoints) -> gr.Blocks:
    """All pages. Those that are not for visitors are neither linked nor open to them."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as demo:
        masthead("Draw", settings)
        draw.page(checkpoints, store, settings)
        endpoints.build(checkpoints, store, settings)
    with demo.route("Your image", "/image"):
        masthead("Image", settings)
        image.page(checkpoints, store, settings)
    with demo.route("Side by side", "/compare"):
        masthead("Compare", settings)
        compare.page(checkpoints, store, settings)
    with demo.route("Gallery", "/gallery"):
        masthead("Gallery", settings)
        gallery.page(store, settings)
    if is_local(settings):
        with demo.route("Annotate", "/annotate"):
            masthead("Annotate", settings)
            annotate.page(store, settings)
        with demo.route("Projects", "/projects"):
            masthead("Projects", settings)
            projects.page(store, settings)
        with demo.route("Project", "/project"):
            masthead("Projects", settings)
            project.page(store, checkpoints, settings)
        with demo.route("Review", "/review"):
            masthead("Review", settings)
            review.page(store, settings)
        with demo.route("Arena", "/arena"):
            masthead("Arena", settings)
            arena.page(store, settings)
        with demo.route("Datasets", "/datasets"):
            masthead("Datasets", settings)
            datasets.page(store, settings)
    return demo.queue(max_size=200, default_concurrency_limit=AT_ONCE)
