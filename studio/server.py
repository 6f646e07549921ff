"""The site on a port, with everything closed that nobody needs: no telemetry, no history, no files of the database."""

from __future__ import annotations

import gradio as gr

from annotations.people import sign_out_from_hub
from annotations.store import Store
from studio.checkpoints import Checkpoints
from studio.door import routes
from studio.hub import Hub
from studio.identity import is_local
from studio.layout import build
from studio.live import LINE
from studio.requests import middleware
from studio.settings import Settings, SettingsError
from studio.theme import look

OTHERS = 40  # threads for all that is no drawing


def start(settings: Settings, store: Store, checkpoints: Checkpoints, hub: Hub | None = None) -> gr.Blocks:
    """The site, which answers when this returns; `block_thread` waits for its end. Raises SettingsError."""
    if settings.names_people_of_hub and not is_local(settings):
        if hub is None:
            raise SettingsError(
                "annotators, reviewers or admins name people of the Hub, who can sign in on a Space only; "
                "leave them out, and make accounts: python -m annotations.people add NAME"
            )
        sign_out_from_hub(store)
    demo = build(settings, store, checkpoints)
    shown = look()
    shown["app_kwargs"]["middleware"] = middleware()
    if not is_local(settings):
        shown["app_kwargs"]["routes"] += routes(store, settings, hub if settings.names_people_of_hub else None)
    try:
        demo.launch(
            server_name=settings.host,
            server_port=settings.port,
            max_threads=LINE["concurrency_limit"] + OTHERS,  # who watches a drawing takes one
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=True,
            blocked_paths=[str(store.database.directory)],
            **shown,
        )
    except OSError as error:
        raise SettingsError(f"port {settings.port} is in use; choose another with AHA_STUDIO_PORT") from error
    return demo
