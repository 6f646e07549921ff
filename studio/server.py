"""Launches the site on a port: Gradio's launch options, and the order of the middleware."""

import gc
import os
import sys
import time
from collections import OrderedDict
from datetime import timedelta
from functools import partial

import gradio as gr
from anyio import to_thread
from starlette.types import ASGIApp

from annotations.auth.accounts import sign_out_from_hub
from annotations.processes.messages import ProcessMessages
from annotations.processes.periodic import run_periodically
from annotations.store.store import Store
from model.images import give_back
from studio.auth.hub_login import Hub
from studio.auth.identity import is_local
from studio.auth.session_cookie import cookie_in, person_of
from studio.auth.sign_in_routes import routes
from studio.http.addresses import ForwardedHeaders
from studio.http.compression import CompressedAnswers
from studio.http.early_responses import DrainRequestBody
from studio.http.error_pages import ErrorPages
from studio.http.limits import MB, LimitError, Limits
from studio.http.middleware import ExceptionLog, RateLimiter, RequestGuard, SecurityHeaders
from studio.http.page_cache import Look, PageCache
from studio.http.request_errors import middleware
from studio.http.temp_files import process_folder, remove_old
from studio.http.trailers import without_trailers
from studio.inference import served_copies
from studio.inference.checkpoints import Checkpoints
from studio.inference.live_drawings import LiveDrawings
from studio.inference.live_events import DRAW_QUEUE
from studio.pages import build
from studio.settings import Settings, SettingsError
from studio.sharing.share_links import ShareLinks
from studio.site import SessionStates, StudioApp, share_config
from studio.theme import error_styles, head, look, styles

OTHERS = 40  # threads for all that is no drawing
SWITCH = 0.001  # seconds for which a thread keeps others from running, the one that answers requests among them
GIVES_BACK = timedelta(seconds=20)  # between two times that freed memory is given back to the system
SWEEPS = timedelta(minutes=5)  # between two removals of old files
REMEMBERED_FOR = 15.0  # seconds
MAX_REMEMBERED = 5000


def start(settings: Settings, store: Store, checkpoints: Checkpoints, hub: Hub | None = None) -> gr.Blocks:
    """The site, which answers when this returns; `block_thread` waits for its end. Raises SettingsError."""
    if settings.names_people_of_hub and not is_local(settings):
        if hub is None:
            raise SettingsError(
                "annotators, reviewers or admins name people of the Hub, who can sign in on a Space only; "
                "leave them out, and make accounts: python -m annotations.people add NAME"
            )
        sign_out_from_hub(store)
    sys.setswitchinterval(SWITCH)
    folder = process_folder()
    demo = build(settings, store, checkpoints)
    share_config(demo)
    shown = look()
    forms = [] if is_local(settings) else routes(store, settings, hub if settings.names_people_of_hub else None)
    app = StudioApp(partial(protected, settings, store), routes=[*shown.pop("routes"), *forms], middleware=middleware())
    reach_itself()
    try:
        demo.launch(
            server_name=settings.host,
            server_port=settings.port,
            max_threads=DRAW_QUEUE["concurrency_limit"] + OTHERS,  # who watches a drawing takes one
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=True,
            max_file_size=settings.max_upload * MB,
            root_path=settings.root_path or "",
            blocked_paths=[str(store.database.directory)],
            _app=app,
            _frontend=False,  # whether it can be reached is known when `launch` returns
            **shown,
        )
    except OSError as error:
        raise SettingsError(f"port {settings.port} is in use; choose another with AHA_STUDIO_PORT") from error
    demo.server.config.encoded_headers = []  # which server answers, in every answer
    demo.server.config.http_protocol_class = without_trailers(demo.server.config.http_protocol_class)
    LiveDrawings.of(store)  # stores what other studios have left unfinished
    run_periodically(partial(remove_old, folder), SWEEPS, "sweep")
    run_periodically(give_back, GIVES_BACK, "memory")
    return demo


def freeze_memory() -> None:
    """What is in memory is taken to stay for good, and not looked through for garbage again: that is half a million
    objects, for which every thread would wait a third of a second.
    """
    gc.collect()
    gc.freeze()


def protected(settings: Settings, store: Store, app: ASGIApp, sessions: SessionStates) -> ASGIApp:
    """Gradio's application, with what stands before it; the outermost last."""
    messages = ProcessMessages.of(store)
    limits = Limits(shared=messages.shared) if settings.limits and not is_local(settings) else None
    if limits is not None:
        messages.share("limits", limits.usage_delta, limits.merge_remote_usage)
    removals = served_copies.Removals.of(store)
    messages.share("removed", removals.removals_delta, removals.apply_remote_removals)
    cached = PageCache(CompressedAnswers(ExceptionLog(app)), settings, Look(styles, head()))
    pages = ShareLinks(cached, settings, store)
    app = RateLimiter(pages, settings, limits, AccountCookies(store), sessions)
    guarded = ErrorPages(RequestGuard(app, settings), settings, error_styles())
    return DrainRequestBody(ForwardedHeaders(SecurityHeaders(guarded, settings), settings))


def reach_itself() -> None:
    """Requests of the studio to itself go through no proxy of the environment; uvicorn, which would believe what any
    program on this machine says of addresses, leaves that to `ForwardedHeaders`."""
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        os.environ[name] = ",".join(dict.fromkeys([*hosts, "localhost", "127.0.0.1"]))


class AccountCookies:
    """Whether a Cookie header opens an active account, remembered for a while; for the rate limits only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    async def __call__(self, cookies: str, limits: Limits, address: str) -> bool:
        if not (token := cookie_in(cookies)):
            return False
        is_account, until = self._remembered.get(token, (False, 0.0))
        if time.monotonic() < until:
            return is_account
        if not is_account:
            try:
                limits.take("cookies", address)
            except LimitError:
                return False
        is_account = await to_thread.run_sync(person_of, self._store, token) is not None
        self._remembered[token] = (is_account, time.monotonic() + REMEMBERED_FOR)
        self._remembered.move_to_end(token)
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return is_account
